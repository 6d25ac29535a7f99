// The registers of the running frame: value, what this step changed, and what the value means.

import { NONE, callChain, registersAt } from "./replay.js";
import { readsOf } from "./decode.js";
import { difference, hex, meaning } from "./words.js";
import { h, setClass, setText } from "./dom.js";

export function createRegisters(run) {
  const rows = Array.from({ length: 11 }, (_, r) => registerRow(r));
  const frame = h("span", { class: "stp-hint" });
  const element = h("section", { class: "stp-regs stp-pane" },
    h("div", { class: "stp-head" }, h("h2", {}, "Registers"), frame),
    h("table", {},
      h("colgroup", {}, ...["marks", "name", "value", "means"].map((name) => h("col", { class: `stp-col-${name}` }))),
      h("thead", { class: "stp-hidden" }, h("tr", {},
        ...["access", "register", "value, old → new", "meaning"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map((row) => row.element))));
  return {
    element,
    update(t) {
      const { before, after, frame: depth } = registersAt(run, t);
      const reads = readsOf(run.insns[run.columns.pc[t]]), written = run.columns.reg[t];
      rows.forEach((row, r) => row.update(run, depth, before[r], after[r], reads.includes(r), r === written && written !== NONE));
      setText(frame, frameText(run, t, depth));
    },
  };
}

/** `frame 1 ‹ called from 15`, the innermost call first. */
function frameText(run, t, depth) {
  const callers = callChain(run, t).reverse().map((step) => run.columns.pc[step]);
  return callers.length ? `frame ${depth}, called from ${callers.join(" ‹ ")}` : `frame ${depth}`;
}

function registerRow(r) {
  const mark = h("td", { class: "stp-marks" });
  const old = h("span", { class: "stp-old" }), now = h("span", { class: "stp-new" });
  const means = h("td", { class: "stp-means" });
  const element = h("tr", {}, mark, h("th", { scope: "row" }, `r${r}`),
    h("td", { class: "stp-value" }, old, now), means);
  return {
    element,
    update(run, depth, before, after, read, written) {
      const changed = before !== after;
      setText(mark, `${read ? "R" : ""}${written ? "W" : ""}`);
      setClass(element, [read && "stp-read", written && "stp-written", changed && "stp-changed",
        !after && "stp-zero"].filter(Boolean).join(" "));
      setText(old, written ? `${hex(before)} → ` : "");
      setText(now, hex(after));
      const step = changed ? difference(before, after) : "";
      setText(means, [meaning(run, after, depth), step && `(${step})`].filter(Boolean).join(" "));
    },
  };
}
