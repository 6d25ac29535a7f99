// The stepper: moves through a recorded run in the browser, without asking Python.
// It is the widget's module in JupyterLab and, with a ten-line model, the exported page's.

import { openPayload } from "./js/payload.js";
import { faultSteps, nearest, nextAtPc, openRun } from "./js/replay.js";
import { Memory } from "./js/memory.js";
import { explain } from "./js/explain.js";
import { debounce, h, setText } from "./js/dom.js";
import { createTimeline } from "./js/timeline.js";
import { createControls, createHelp, createJumps } from "./js/controls.js";
import { createListing } from "./js/listing.js";
import { createRegisters } from "./js/registers.js";
import { createBytes } from "./js/bytes.js";

const ANNOUNCE_MS = 300; // pause after which a screen reader hears of it

/** anywidget's entry point; returns what undoes it. */
function render({ model, el }) {
  let close = () => {}, gone = false;
  const open = async () => {
    close();
    close = () => {};
    el.replaceChildren(h("div", { class: "stp stp-message", role: "status" }, "Opening the recorded run …"));
    try {
      const run = openRun(await openPayload(model.get("data")));
      if (!gone) close = mount(run, model, el);
    } catch (error) {
      el.replaceChildren(h("div", { class: "stp stp-message", role: "alert" }, error.message));
    }
  };
  model.on("change:data", open);
  open();
  return () => { gone = true; model.off("change:data", open); close(); };
}

function mount(run, model, el) {
  if (!run.n) {
    el.replaceChildren(h("div", { class: "stp stp-message", role: "status" }, emptyText(run)));
    return () => {};
  }
  const stepper = createStepper(run, model);
  el.replaceChildren(stepper.root);
  stepper.start();
  return stepper.close;
}

const emptyText = ({ meta: { stop } }) => `No step was recorded${stop.reason ? `: ${stop.reason}` : "."}`;

function createStepper(run, model) {
  let t = clamp(model.get("t"));
  let playing = 0;
  const memory = new Memory(run);
  const announce = debounce(() => setText(live, spoken(run, t, sentence.textContent)), ANNOUNCE_MS);

  function clamp(step) {
    return Math.max(0, Math.min(run.n - 1, Math.trunc(Number(step)) || 0));
  }

  /** Set a trait and send it. Each set is sent at once: Jupyter keeps one message on its way and joins
   * the rest, whereas a value that waits here would be overwritten by the echo of an earlier one. */
  function tell(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  /** Show step `to`, and tell the model. */
  function go(to) {
    if (to < 0 || to >= run.n || to === t) return;
    t = to;
    draw();
    tell("t", t);
  }

  const jump = (name, sign) => { pause(); go(jumpTarget(name, sign)); };
  function jumpTarget(name, sign) {
    const steps = { fault: faultSteps(run), cast: run.casts, alloc: run.pageEvents }[name];
    return steps ? nearest(steps, t, sign) : nextAtPc(run, model.get("breakpoints"), t, sign);
  }

  function toggleBreakpoint(pc = run.columns.pc[t]) {
    const old = model.get("breakpoints");
    const pcs = old.includes(pc) ? old.filter((p) => p !== pc) : [...old, pc].sort((a, b) => a - b);
    tell("breakpoints", pcs);
  }

  /** Next execution of a row, or the previous one if there is none. */
  function pick(pc) {
    const next = nextAtPc(run, [pc], t, 1);
    go(next >= 0 ? next : nextAtPc(run, [pc], t, -1));
  }

  function play() {
    let last = Infinity, due = 0; // the first frame's time may lie before this call
    controls.setPlaying(true);
    const frame = (now) => {
      due += (Math.max(0, now - last) / 1000) * controls.speed();
      last = now;
      const steps = Math.floor(due);
      due -= steps;
      if (steps && !advance(steps)) return pause();
      playing = requestAnimationFrame(frame);
    };
    playing = requestAnimationFrame(frame);
  }

  /** Move on by `steps`, but no further than a breakpoint; false where play has to end. */
  function advance(steps) {
    const stop = nextAtPc(run, model.get("breakpoints"), t, 1);
    const to = Math.min(t + steps, run.n - 1);
    const hit = stop >= 0 && stop <= to;
    go(hit ? stop : to);
    return !hit && to < run.n - 1;
  }

  function pause() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = 0;
    controls.setPlaying(false);
    announce();
  }

  const act = {
    forward: () => { pause(); go(t + 1); },
    back: () => { pause(); go(t - 1); },
    first: () => { pause(); go(0); },
    last: () => { pause(); go(run.n - 1); },
    togglePlay: () => (playing ? pause() : play()),
    goTo: (text) => { pause(); go(clamp(text)); controls.go.value = t; },
    toggleHelp: () => { help.hidden = !help.hidden; if (help.hidden) root.focus(); },
  };
  const controls = createControls(run, act), jumps = createJumps(run, jump), help = createHelp(act.toggleHelp);
  const timeline = createTimeline(run, (step) => { pause(); go(step); });
  const panes = [createListing(run, toggleBreakpoint, pick), createRegisters(run), createBytes(run, memory)];
  const sentence = h("span"), stamp = h("span", { class: "stp-stamp" });
  const live = h("div", { class: "stp-hidden", "aria-live": "polite", role: "status" });
  const root = h("div", {
    class: "stp", tabindex: 0, role: "group", "aria-label": `Stepper: ${run.meta.name}. Press ? for keys.`,
    "data-lm-suppress-shortcuts": "true", "data-n": run.n,
  },
  h("div", { class: "stp-bar" }, heading(run), controls.element),
  timeline.element, jumps.element,
  h("p", { class: "stp-say" }, stamp, sentence),
  h("div", { class: "stp-panes" }, ...panes.map((pane) => pane.element)), help, live);

  function draw() {
    const pc = run.columns.pc[t];
    root.dataset.step = t;
    root.dataset.pc = pc;
    setText(sentence, explain(run, memory, t));
    setText(stamp, `step ${t} · pc ${pc}`);
    controls.update(t);
    timeline.update(t, `step ${t}, instruction ${pc}`);
    for (const pane of panes) pane.update(t);
    if (!playing) announce();
  }

  function drawBreakpoints() {
    const pcs = model.get("breakpoints");
    for (const part of [panes[0], jumps, timeline]) part.setBreakpoints(pcs);
  }

  const closeHelp = () => { const open = !help.hidden; if (open) act.toggleHelp(); return open; };
  const keys = keyMap(act, jump, toggleBreakpoint, () => { controls.go.focus(); controls.go.select(); });
  root.addEventListener("keydown", (event) => onKey(event, root, keys, closeHelp));
  const onStep = () => { if (clamp(model.get("t")) !== t) { pause(); go(clamp(model.get("t"))); } };
  const stopWatching = watchLooks(root, timeline.repaint);
  model.on("change:t", onStep);
  model.on("change:breakpoints", drawBreakpoints);
  return {
    root,
    start() { draw(); drawBreakpoints(); },
    close() {
      pause();
      announce.cancel();
      stopWatching();
      model.off("change:t", onStep);
      model.off("change:breakpoints", drawBreakpoints);
    },
  };
}

function heading(run) {
  const { meta, arena } = run;
  const flags = (arena?.flags ?? []).filter((flag) => flag !== "MMAPABLE");
  const more = meta.total_steps > run.n ? [`first ${run.n} of ${meta.total_steps} steps`] : [];
  return h("div", { class: "stp-title" }, h("strong", {}, meta.name),
    ...[meta.engine, ...flags, ...more].filter(Boolean).map((text) => h("span", { class: "stp-tag" }, text)));
}

const spoken = (run, t, text) => `step ${t}, instruction ${run.columns.pc[t]}. ${text}`;

function keyMap(act, jump, toggleBreakpoint, askStep) {
  const to = (name, sign) => () => jump(name, sign);
  return {
    ArrowRight: act.forward, j: act.forward, ArrowLeft: act.back, k: act.back, Home: act.first, End: act.last,
    f: to("fault", 1), F: to("fault", -1), c: to("cast", 1), C: to("cast", -1), a: to("alloc", 1), A: to("alloc", -1),
    n: to("breakpoint", 1), N: to("breakpoint", -1), b: () => toggleBreakpoint(), g: askStep,
    " ": act.togglePlay, "?": act.toggleHelp,
  };
}

/** One key press: keys with Ctrl, Alt or Meta and keys typed into a field stay what they are. */
function onKey(event, root, keys, closeHelp) {
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
  if (field || native || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
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

/** Repaint the canvas when its size or the theme changes; returns what stops that. */
function watchLooks(root, repaint) {
  const soon = () => requestAnimationFrame(repaint); // a theme is switched with the page hidden
  const size = new ResizeObserver(repaint), theme = new MutationObserver(soon);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  size.observe(root);
  theme.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name"] });
  dark.addEventListener("change", repaint);
  return () => { size.disconnect(); theme.disconnect(); dark.removeEventListener("change", repaint); };
}

export default { render };
