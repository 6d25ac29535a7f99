// What the sanitizer found: mistakes with arena memory, each with its reason and what to do.

import { explain } from "./explain.js";
import { h, setClass } from "./dom.js";

/** run.findings: [{step, pc, level, finding, why, advice, address, allocation, times}]. */
export function createFindings(session) {
  const rows = session.run.findings.map((finding) => findingRow(session, finding));
  const none = "No mistake with arena memory was found in this run.";
  const element = h("div", { class: "stp-scroll", tabindex: 0, role: "region", "aria-label": "Findings" },
    ...(rows.length ? [h("ul", { class: "stp-stops" }, ...rows.map((row) => row.element))] : [h("p", { class: "stp-why-end" }, none)]));
  return {
    element,
    update() { for (const { element, step } of rows) setClass(element, step === session.t ? "stp-here" : ""); },
  };
}

function findingRow(session, { step, level, finding, why, advice, times, allocation }) {
  const often = times > 1 ? `, ${times} times` : "", of = allocation ? ` (${allocation})` : "";
  const go = h("button", {
    type: "button", class: "stp-ask", title: explain(session.run, session.memory, step), onclick: () => session.go(step),
  }, `step ${step}`);
  return {
    step,
    element: h("li", {}, h("span", { class: `stp-level stp-${level}` }, level), go,
      h("span", {}, h("strong", {}, finding), `${often}${of}: ${why}. `, h("em", {}, `${advice[0].toUpperCase()}${advice.slice(1)}.`))),
  };
}
