// The arena's objects as tables: one for the variables, one for each type of structure.

import { createFinder } from "./objects.js";
import { addressText } from "./places.js";
import { h } from "./dom.js";

/** Builds the pane; a click on a value selects its bytes, and so asks where it came from. */
export function createStructs(session) {
  const { run, memory } = session, find = createFinder(run, memory);
  const element = h("div", { class: "stp-scroll stp-structs", tabindex: 0, role: "region", "aria-label": "Structures" });
  let shown = null, cells = [], rows = new Map(); // rows: by what they say, so that those that stay are kept

  function draw({ objects, more }) {
    const kept = rows, groups = grouped(objects);
    cells = [];
    rows = new Map();
    const row = (key, make) => {
      const made = kept.get(key) ?? make();
      rows.set(key, made);
      cells.push(...made.cells);
      return made.element;
    };
    const tables = [...groups].map(([name, found]) => (name === "variables" ? variables(found[0], row) : structures(name, found, row)));
    const note = more ? "There are more; these are the nearest to the roots." : objects.length ? "" : "No object of the arena can be reached.";
    element.replaceChildren(...tables, h("p", { class: "stp-why-end" }, note));
  }

  function line(title, fields) {
    const made = fields.map(({ start, size, text }) => ({ start, size, element: h("td", { onclick: () => session.select({ start, size }) }, text) }));
    return { element: h("tr", {}, h("th", { scope: "row" }, title), ...made.map((cell) => cell.element)), cells: made };
  }

  function variables({ fields }, row) {
    const lines = fields.map((field) => row(`${field.name} ${field.start} ${field.text}`, () => line(field.name, [field])));
    return h("table", {}, h("caption", {}, "variables"), h("tbody", {}, ...lines));
  }

  function structures(name, found, row) {
    const names = found.reduce((a, b) => (a.fields.length >= b.fields.length ? a : b)).fields.map((field) => field.name);
    const lines = found.map(({ address, fields }) =>
      row(`${name} ${address} ${fields.map(({ text }) => text)}`, () => line(addressText(run, address), fields)));
    return h("table", {}, h("caption", {}, name ? `struct ${name}` : "blocks of words"),
      h("thead", {}, h("tr", {}, ...["address", ...names].map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, ...lines));
  }

  function update() {
    const found = find(session.t), touched = touchedBy(session);
    if (found !== shown) draw(found);
    shown = found;
    reveal(element, markTouched(cells, touched));
  }

  return { element, update };
}

/** Give those of [{start, size, element}] that the step touches their class; returns the first of them. */
export function markTouched(cells, touched) {
  let first = null;
  for (const { start, size, element } of cells) {
    const here = touched(start, size);
    if (here) first ??= element;
    if (here !== element.classList.contains("stp-touched")) element.classList.toggle("stp-touched", here);
  }
  return first;
}

/** (start, size) -> does the step in view touch these bytes? */
export function touchedBy({ run: { columns: { address, size } }, t }) {
  const start = address[t], end = start + BigInt(size[t]);
  return (at, length) => size[t] > 0 && at < end && at + BigInt(length) > start;
}

/** Scroll the pane, and only the pane, to the value that the step touches. */
function reveal(pane, cell) {
  if (!cell) return;
  const row = cell.getBoundingClientRect(), view = pane.getBoundingClientRect();
  if (row.top < view.top || row.bottom > view.bottom) pane.scrollTop += row.top - view.top - view.height / 2;
}

function grouped(objects) {
  const groups = new Map();
  for (const object of objects) groups.set(object.name, [...(groups.get(object.name) ?? []), object]);
  return groups;
}
