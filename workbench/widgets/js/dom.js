// Small helpers to build elements. Text always goes through textContent, never through HTML.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  first: "M3 3v10M13 3 6 8l7 5z", back: "M12 3 4 8l8 5z", play: "M4 3l9 5-9 5z", pause: "M5 3v10M11 3v10",
  next: "M4 3l8 5-8 5z", last: "M13 3v10M3 3l7 5-7 5z",
  over: "M2 9a6 5 0 0 1 11-2M13.5 3v4h-4M8 13h.01", overBack: "M14 9A6 5 0 0 0 3 7M2.5 3v4h4M8 13h.01",
  out: "M8 11V3M4.5 6.5 8 3l3.5 3.5M8 14.5h.01",
};
const OUTLINES = new Set(["over", "overBack", "out"]);

/** h("div", {class: "x", onclick: f}, child, "text") -> element. */
export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** The same for drawings: svg("rect", {x: 1}) -> element. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** One of the drawn icons, hidden from screen readers (its button has the label). */
export function icon(name) {
  const path = svg("path", { d: ICONS[name], fill: OUTLINES.has(name) ? "none" : null });
  return svg("svg", { class: "stp-icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}

/** A button with a label, which is its tooltip too. */
export function button(label, onclick, ...children) {
  return h("button", { type: "button", title: label, "aria-label": label, onclick }, ...children);
}

/** Change text or class only if it differs: writing the same value still costs layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

/** Call `f` once the calls have paused for `wait` ms; `.cancel()` forgets it. */
export function debounce(f, wait) {
  let timer = 0;
  const debounced = () => { clearTimeout(timer); timer = setTimeout(f, wait); };
  debounced.cancel = () => clearTimeout(timer);
  return debounced;
}
