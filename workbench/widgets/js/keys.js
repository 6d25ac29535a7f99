// The keyboard: which key does what, and how keys stay out of the notebook around the stepper.

export const KEYS = [
  ["→ or j, ← or k", "one step forward, back"],
  ["Shift+→, Shift+←", "step over calls"],
  ["u, Shift+u", "out of the function, back to its call"],
  ["l, Shift+l", "next, previous source line"],
  ["n, Shift+n", "next, previous breakpoint hit"],
  ["f, Shift+f", "next, previous fault"],
  ["c, Shift+c", "next, previous cast"],
  ["a, Shift+a", "next, previous allocation or free"],
  ["i, Shift+i", "next, previous finding of the sanitizer"],
  ["d, Shift+d", "next, previous difference from the other run"],
  ["p, Shift+p", "next, previous step of the same CPU"],
  ["0 to 9", "select r0 to r9: why this value?"],
  ["s", "select what this step touches"],
  ["], [", "next, previous write of the selection"],
  ["b", "set or clear a breakpoint here"],
  ["w", "watch the selected memory"],
  ["m", "set or clear a bookmark on this step"],
  ["e", "what if: change a value here, run on"],
  ["g", "go to a step"], ["Home, End", "first, last step"],
  ["Space", "play or pause"], ["?", "show or hide this list"], ["Esc", "leave the stepper"],
];

/** Keys of the moves that go both ways: with Shift, or the second of a pair, backwards. */
const MOVES = {
  step: ["ArrowRight j", "ArrowLeft k"], over: ["Shift+ArrowRight", "Shift+ArrowLeft"], out: ["u", "U"],
  line: ["l", "L"], breakpoint: ["n", "N"], fault: ["f", "F"], cast: ["c", "C"], alloc: ["a", "A"],
  finding: ["i", "I"], difference: ["d", "D"], cpu: ["p", "P"], write: ["]", "["],
};

/** `act` holds a function for each other action that the view has; returns key -> function. */
export function keyMap(act) {
  const map = {
    Home: act.first, End: act.last, g: act.askStep, b: act.toggleBreakpoint, w: act.toggleWatch, m: act.toggleBookmark,
    s: act.selectAccess, e: act.askWhatIf, " ": act.togglePlay, "?": act.toggleHelp,
  };
  for (const [name, pair] of Object.entries(MOVES)) {
    pair.forEach((keys, i) => { for (const key of keys.split(" ")) map[key] = () => act.move(name, i ? -1 : 1); });
  }
  for (let r = 0; r <= 9 && act.selectRegister; r++) map[r] = () => act.selectRegister(r);
  return map;
}

/** One key press: keys with Ctrl, Alt or Meta and keys typed into a field stay what they are. */
export function onKey(event, root, keys, closeHelp) {
  if (event.ctrlKey || event.altKey || event.metaKey) return passSave(event, root);
  const text = event.target.matches("input[type=text]"), field = text || event.target.matches("select");
  if (event.key === "Escape") {
    event.preventDefault();
    if (text) leaveField(event.target, root, false);
    else if (!closeHelp()) release(root);
    return;
  }
  if (text && event.key === "Enter") {
    event.preventDefault();
    leaveField(event.target, root, true);
  }
  const native = event.target.matches("button, input[type=checkbox]") && event.key === " ";
  const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
  if (field || native || !Object.hasOwn(keys, name)) return;
  event.preventDefault();
  keys[name]();
}

/** JupyterLab ignores keys from in here, on purpose; saving is what a reader still means by Ctrl+S. */
function passSave(event, root) {
  if (event.key !== "s" || event.altKey || !root.parentElement) return;
  event.stopPropagation();
  const copy = new KeyboardEvent("keydown", event);
  if (!root.parentElement.dispatchEvent(copy)) event.preventDefault();
}

/** Back to the stepper, with the typed text (leaving a field reports its change) or without it. */
function leaveField(field, root, keep) {
  if (!keep) field.value = field.defaultValue;
  root.focus();
}

/** Give the focus back to what surrounds the stepper (in JupyterLab, the notebook). */
function release(root) {
  root.ownerDocument.activeElement?.blur();
  root.parentElement?.closest(".jp-Notebook, [tabindex]")?.focus();
}

/** A click may remove the button that was clicked, and the focus with it: keep it inside. */
export function keepFocus(root) {
  root.addEventListener("click", () => {
    if (!root.contains(root.ownerDocument.activeElement)) root.focus({ preventScroll: true });
  });
}
