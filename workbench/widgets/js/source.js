// The C source, as far as the program's line information holds it; linked with the instructions.

import { nearest } from "./replay.js";
import { openStop } from "./stops.js";
import { h, setClass } from "./dom.js";

/** Builds the pane: a click on a line leads to its next execution, or else to its previous one. */
export function createSource(session) {
  const { run } = session, rows = [];
  const order = run.sourceLines.map((line, i) => ({ ...line, i })).sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line);
  const list = h("div", { class: "stp-list", tabindex: 0, role: "region", "aria-label": "C source" });
  order.forEach((line, at) => {
    const before = order[at - 1];
    if (before?.file !== line.file) list.append(h("div", { class: "stp-file" }, line.file));
    else if (line.line > before.line + 1) list.append(h("div", { class: "stp-gap-row", "aria-hidden": "true" }, "⋯"));
    rows[line.i] = sourceRow(session, line);
    list.append(rows[line.i].element);
  });
  const element = h("section", { class: "stp-source-pane stp-pane" }, h("div", { class: "stp-head" }, h("h2", {}, "Source")), list);
  let current = null;
  return {
    element,
    update() {
      current?.mark(false);
      current = rows[run.lineOfSlot[run.columns.pc[session.t]]];
      current?.mark(true);
      if (current) revealRow(list, current.element);
    },
    setStops(stops) { for (const row of rows) row?.setStop(stops.some(({ stop }) => stop === row.stop)); },
  };
}

function sourceRow(session, { line, text }) {
  const { run } = session, stop = `line ${line}`;
  const dot = h("button", {
    type: "button", class: "stp-bp", tabindex: -1, "aria-pressed": "false", "aria-label": `Breakpoint at line ${line}`,
    title: "Breakpoint", onclick: () => session.toggleStop(stop),
  });
  const element = h("div", { class: "stp-line", onclick: (event) => { if (event.target !== dot) go(); } },
    dot, h("span", { class: "stp-lineno" }, String(line)), h("span", { class: "stp-text", title: text.trim() }, text.replace(/\t/g, "    ")));
  function go() {
    const { hits } = openStop(run, stop), next = nearest(hits, session.t, 1);
    session.go(next >= 0 ? next : nearest(hits, session.t, -1));
  }
  return {
    element, stop,
    mark(on) { setClass(element, on ? "stp-line stp-now" : "stp-line"); },
    setStop(on) { dot.setAttribute("aria-pressed", String(on)); },
  };
}

/** Scroll the list, and only the list, so that the row has some rows around it. */
function revealRow(list, row) {
  const margin = 2.5 * row.offsetHeight, top = row.offsetTop, bottom = top + row.offsetHeight;
  if (top - margin < list.scrollTop) list.scrollTop = top - margin;
  else if (bottom + margin > list.scrollTop + list.clientHeight) {
    list.scrollTop = bottom + margin - list.clientHeight;
  }
}
