// The registers of the running frame: value, what this step changed, and what the value means.

import { NONE, callChain, functionName, registersAt } from "./replay.js";
import { difference, hex, meaning } from "./words.js";
import { h, setClass, setText } from "./dom.js";

/** Builds the pane; a click on a register selects it. */
export function createRegisters(session) {
  const { run } = session;
  const rows = Array.from({ length: 11 }, (_, r) => registerRow(r, () => session.select({ r })));
  const frame = h("span", { class: "stp-hint stp-frames" });
  const note = h("p", { class: "stp-known" }); // where there is no room for a column
  let shown = "";
  const element = h("section", { class: `stp-regs stp-pane${knows(run) ? " stp-abstracts" : ""}` },
    h("div", { class: "stp-head" }, h("h2", {}, "Registers"),
      ...(knows(run) ? [h("span", { class: "stp-abstract-hint" }, "and, in italics, what the verifier knew")] : []), frame),
    h("table", {},
      h("colgroup", {}, ...["marks", "name", "value", "means", "abstract"].map((name) => h("col", { class: `stp-col-${name}` }))),
      h("thead", { class: "stp-hidden" }, h("tr", {},
        ...["access", "register", "value, old → new", "meaning", "known to the verifier before"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map((row) => row.element))), ...(knows(run) ? [note] : []));
  return {
    element,
    update() {
      const { t, selection } = session, { before, after, frame: depth } = registersAt(run, t);
      const { reads } = run.insns[run.columns.pc[t]], written = run.columns.reg[t];
      const known = abstractValues(run, run.columns.pc[t]);
      rows.forEach((row, r) => row.tellKnown(known[r] ?? []));
      setText(note, knows(run) ? knownText(reads, known) : "");
      rows.forEach((row, r) => row.update(run, depth, before[r], after[r], reads.includes(r), r === written && written !== NONE, selection?.r === r));
      const frames = framesAt(run, t, depth), key = frames.map(({ text }) => text).join();
      if (key !== shown) frame.replaceChildren(...frames.flatMap((part, i) => [i ? " › " : "", frameButton(session, part)]));
      shown = key;
    },
  };
}

const knows = ({ meta: { states } }) => Object.keys(states ?? {}).length > 0;

const REGISTER = /\bR(\d+)(?:_\w+)?=((?:[^()\s]|\((?:[^()]|\([^()]*\))*\))*)/g;

/** For each register the different things that the verifier knew of it before a slot. */
export function abstractValues({ meta: { states } }, slot) {
  const values = [];
  for (const state of states?.[slot] ?? []) {
    for (const [, r, value] of state.matchAll(REGISTER)) {
      values[r] ??= [];
      if (!values[r].includes(value)) values[r].push(value);
    }
  }
  return values;
}

function knownText(reads, known) {
  const parts = reads.filter((r) => known[r]).map((r) => `r${r} = ${known[r][0]}${known[r].length > 1 ? " (or others)" : ""}`);
  return parts.length ? `The verifier knew: ${parts.join(", ")}` : "";
}

/** The call stack, main first: the text of each frame and the step of the call that left it. */
function framesAt(run, t, depth) {
  const { pc } = run.columns, calls = callChain(run, t);
  const cpu = run.cpus > 1 ? `CPU ${depth >> 3}, ` : "";
  return [...calls, t].map((step, i) => {
    const name = functionName(run, pc[step]), call = i < calls.length;
    return { step: call ? step : -1, text: `${i ? "" : cpu}${name || `frame ${i}`}${call ? ` at ${pc[step]}` : ""}` };
  });
}

function frameButton(session, { step, text }) {
  if (step < 0) return text;
  return h("button", { type: "button", class: "stp-ask", title: `Go to this call, step ${step}`, onclick: () => session.go(step) }, text);
}

function registerRow(r, onSelect) {
  const mark = h("td", { class: "stp-marks" });
  const old = h("span", { class: "stp-old" }), now = h("span", { class: "stp-new" });
  const means = h("td", { class: "stp-means" }), abstract = h("td", { class: "stp-abstract" });
  const name = h("button", { type: "button", class: "stp-pick", tabindex: -1, "aria-pressed": "false",
    title: `Why this value? (${r < 10 ? r : "click"})` }, `r${r}`);
  const element = h("tr", { onclick: onSelect }, mark, h("th", { scope: "row" }, name),
    h("td", { class: "stp-value" }, old, now), means, abstract);
  return {
    element,
    tellKnown(values) {
      setText(abstract, values.length > 1 ? `${values[0]} (or ${values.length - 1} more)` : values[0] ?? "");
      if (abstract.title !== values.join("\n")) abstract.title = values.join("\n");
    },
    update(run, depth, before, after, read, written, picked) {
      const changed = before !== after;
      setText(mark, `${read ? "R" : ""}${written ? "W" : ""}`);
      setClass(element, [read && "stp-read", written && "stp-written", changed && "stp-changed",
        !after && "stp-zero", picked && "stp-picked"].filter(Boolean).join(" "));
      if (name.ariaPressed !== String(picked)) name.ariaPressed = picked;
      setText(old, written ? `${hex(before)} → ` : "");
      setText(now, hex(after));
      const step = changed ? difference(before, after) : "";
      setText(means, [meaning(run, after, depth), step && `(${step})`].filter(Boolean).join(" "));
    },
  };
}
