// The arena's objects as tables: one for the variables, one for each type of structure.

import { findObjects } from "./objects.js";
import { addressText } from "./places.js";
import { h } from "./dom.js";

/** Builds the pane; a click on a value selects its bytes, and so asks where it came from. */
export function createStructs(session) {
  const { run, memory } = session;
  const element = h("div", { class: "stp-scroll stp-structs", tabindex: 0, role: "region", "aria-label": "Structures" });

  function update() {
    const { objects, more } = findObjects(run, memory, session.t), touched = touchedBy(session);
    const groups = Map.groupBy ? Map.groupBy(objects, ({ name }) => name) : grouped(objects);
    const tables = [...groups].map(([name, rows]) => (name === "variables" ? variables(rows[0]) : structures(name, rows)));
    const note = more ? "There are more; these are the nearest to the roots." : objects.length ? "" : "No object of the arena can be reached.";
    element.replaceChildren(...tables, h("p", { class: "stp-why-end" }, note));

    function cell({ start, size, text }) {
      const name = touched(start, size) ? "stp-touched" : "";
      return h("td", { class: name, onclick: () => session.select({ start, size }) }, text);
    }
    function variables({ fields }) {
      return h("table", {}, h("caption", {}, "variables"), h("tbody", {}, ...fields.map((field) => h("tr", {}, h("th", { scope: "row" }, field.name), cell(field)))));
    }
    function structures(name, rows) {
      const names = rows.reduce((a, b) => (a.fields.length >= b.fields.length ? a : b)).fields.map((field) => field.name);
      return h("table", {}, h("caption", {}, name ? `struct ${name}` : "blocks of words"),
        h("thead", {}, h("tr", {}, ...["address", ...names].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, ...rows.map((row) => h("tr", {}, h("th", { scope: "row" }, addressText(run, row.address)), ...row.fields.map(cell)))));
    }
  }

  return { element, update };
}

/** (start, size) -> does the step in view touch these bytes? */
export function touchedBy({ run: { columns: { address, size } }, t }) {
  const start = address[t], end = start + BigInt(size[t]);
  return (at, length) => size[t] > 0 && at < end && at + BigInt(length) > start;
}

function grouped(objects) {
  const groups = new Map();
  for (const object of objects) groups.set(object.name, [...(groups.get(object.name) ?? []), object]);
  return groups;
}
