// The program: one row per instruction, with its source line, breakpoint and number of executions.

import { NONE, isSource, nextAtPc, functionName } from "./replay.js";
import { grouped } from "./words.js";
import { h, setClass, setText } from "./dom.js";

const ROW = 20; // height of every row in CSS pixels, in stepper.css too
const AROUND = 120, SPARE = 20; // rows kept beyond those in view, and how few make it fetch more

/** Builds the pane; a click on a row leads to its next execution, or else to its previous one. */
export function createListing(session) {
  const { run } = session, items = listItems(run);
  const position = new Map(items.map(({ insn }, i) => [insn?.pc, i]));
  const rows = rowWindow(items, (item) => (item.line ? sourceRow(item.line) : instructionRow(session, item.insn)), mark);
  const source = h("div", { class: "stp-source" });
  const element = h("section", { class: "stp-code stp-pane" },
    h("div", { class: "stp-head" }, h("h2", {}, "Program"), h("span", { class: "stp-hint" }, "times run")),
    rows.list, ...(run.lines.size && !run.hasSource ? [source] : []));
  let marked = [], stops = [];

  /** Mark the rows of this step and of the next one, as far as they are drawn. */
  function mark() {
    const { t } = session, { pc, reg } = run.columns;
    for (const row of marked) row.mark("");
    const next = t + 1 < run.n ? rows.at(position.get(pc[t + 1])) : undefined, now = rows.at(position.get(pc[t]));
    next?.mark("next");
    now?.mark("now", reg[t]);
    marked = [next, now].filter(Boolean);
  }

  function markStops() {
    const slots = new Set(stops.map(({ stop }) => stop));
    for (const row of rows.drawn()) row.setBreakpoint?.(slots.has(row.pc));
  }

  rows.onFill = markStops;
  return {
    element,
    update() {
      const slot = run.columns.pc[session.t];
      rows.reveal(position.get(slot));
      mark();
      setText(source, sourceText(run.lines.get(slot)));
    },
    setStops(opened) { stops = opened; markStops(); },
  };
}

/** What is listed: instructions, and before the first of each source line that line. */
function listItems(run) {
  const items = [];
  let last = "";
  for (const insn of run.insns) {
    if (!insn || insn.kind === "invalid") continue;
    const line = run.lines.get(insn.pc), key = line && `${line.file}:${line.line}`;
    if (line && isSource(line) && key !== last) {
      items.push({ line });
      last = key;
    }
    items.push({ insn });
  }
  return items;
}

/** A scrolling list that draws only the rows near those in view, however many items there are. */
function rowWindow(items, draw, onDrawn) {
  const body = h("div", { class: "stp-rows" });
  const list = h("div", { class: "stp-list", tabindex: 0, role: "region", "aria-label": "Program", onscroll: () => fill() },
    h("div", { style: `height: ${items.length * ROW}px; --stp-pc-width: ${String(items.length).length}ch` }, body));
  let from = 0, to = 0, rows = [];

  function fill() {
    const first = Math.floor(list.scrollTop / ROW), end = first + Math.ceil((list.clientHeight || 20 * ROW) / ROW);
    const enough = (from === 0 || first - SPARE >= from) && (to === items.length || end + SPARE <= to);
    if (enough && to) return;
    from = Math.max(0, first - AROUND);
    to = Math.min(items.length, end + AROUND);
    rows = items.slice(from, to).map(draw);
    body.style.transform = `translateY(${from * ROW}px)`;
    body.replaceChildren(...rows.map(({ element }) => element));
    window.onFill?.();
    onDrawn();
  }

  const window = {
    list,
    at: (i) => rows[i - from],
    drawn: () => rows,
    /** Scroll the list, and only the list, so that a row has some rows around it. */
    reveal(i) {
      const margin = 2.5 * ROW, top = i * ROW, height = list.clientHeight, { scrollTop } = list;
      if (top - margin < scrollTop) list.scrollTop = top - margin;
      else if (top + ROW + margin > scrollTop + height) list.scrollTop = top + ROW + margin - height;
      fill();
    },
  };
  return window;
}

function sourceText(line) {
  if (!line) return "";
  const at = line.file ? `${line.file}:${line.line}` : `line ${line.line}`;
  return `${at}  ${line.text.trim().replace(/\s+/g, " ")}`;
}

const sourceRow = (line) => ({
  element: h("div", { class: "stp-src" },
    h("span", { class: "stp-lineno" }, String(line.line)), h("span", { title: line.text.trim() }, line.text)),
});

function instructionRow(session, insn) {
  const { run } = session;
  const { target } = insn, hits = run.hits[insn.pc];
  const stop = h("button", {
    type: "button", class: "stp-bp", tabindex: -1, "aria-pressed": "false",
    "aria-label": `Breakpoint at ${insn.pc}`, title: "Breakpoint (b)", onclick: () => session.toggleStop(insn.pc),
  });
  const arrow = h("span", { class: "stp-arrow", "aria-hidden": "true" });
  const text = h("span", { class: "stp-text", title: insn.text }, insn.text);
  const called = insn.enters && target >= 0 ? functionName(run, target) : "";
  const extra = [castName(insn), target >= 0 && !insn.text.includes(`L${target}`) ? `→ ${target}` : "", called].filter(Boolean).join(" ");
  const element = h("div", { class: "stp-row", "data-pc": insn.pc },
    stop, arrow, h("span", { class: "stp-pc" }, String(insn.pc)), text,
    h("span", { class: "stp-extra" }, extra),
    h("span", { class: "stp-hits", title: `runs ${grouped(hits)} times` }, hits ? grouped(hits) : "·"));
  element.addEventListener("click", (event) => { if (event.target !== stop) pick(session, insn.pc); });
  const base = `stp-row${insn.kind === "cast" ? " stp-is-cast" : ""}${hits ? "" : " stp-never"}`;
  setClass(element, base);
  return {
    element, pc: insn.pc,
    mark(state, written = NONE) {
      setClass(element, state ? `${base} stp-${state}` : base);
      setText(arrow, { now: "▶", next: "▹" }[state] ?? "");
      if (state === "now") {
        element.setAttribute("aria-current", "step");
        text.replaceChildren(...markRegisters(insn, written));
      } else if (element.hasAttribute("aria-current")) {
        element.removeAttribute("aria-current");
        text.replaceChildren(insn.text);
      }
    },
    setBreakpoint(on) { stop.setAttribute("aria-pressed", String(on)); },
  };
}

/** The cast's name, where the text shows only the bare tuple. */
const castName = (insn) => (insn.kind === "cast" && !insn.text.includes("cast_") ? insn.op.toLowerCase() : "");

/** The text of the current row with the registers it read (underlined) and wrote (bold) marked. */
function markRegisters(insn, written) {
  return insn.text.split(/(\b[rw]\d+\b)/).map((part, i) => {
    if (i % 2 === 0) return part;
    const r = Number(part.slice(1));
    const name = [r === written ? "stp-w" : "", insn.reads.includes(r) ? "stp-r" : ""].join(" ").trim();
    return name ? h("span", { class: name }, part) : part;
  });
}

function pick(session, pc) {
  const next = nextAtPc(session.run, [pc], session.t, 1);
  session.go(next >= 0 ? next : nextAtPc(session.run, [pc], session.t, -1));
}
