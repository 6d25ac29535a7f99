// The program: one row per instruction, with its source line, breakpoint and number of executions.

import { NONE } from "./replay.js";
import { readsOf, targetOf } from "./decode.js";
import { grouped } from "./words.js";
import { h, setClass, setText } from "./dom.js";

const ASSEMBLY = /^$|\.(bpf|s|S|asm)$/; // file names of lines that only repeat the instruction

/** Builds the pane; onBreakpoint(pc) toggles one, onPick(pc) asks for the nearest run of that row. */
export function createListing(run, onBreakpoint, onPick) {
  const rows = new Map();
  const list = h("div", { class: "stp-list", tabindex: 0, role: "region", "aria-label": "Program" });
  let lastLine = "";
  for (const insn of run.insns) {
    if (!insn || insn.kind === "invalid") continue;
    const line = run.lines.get(insn.pc);
    if (line && !ASSEMBLY.test(line.file) && `${line.file}:${line.line}` !== lastLine) {
      list.append(sourceRow(line));
      lastLine = `${line.file}:${line.line}`;
    }
    const row = instructionRow(run, insn, onBreakpoint, onPick);
    rows.set(insn.pc, row);
    list.append(row.element);
  }
  const source = h("div", { class: "stp-source" });
  const element = h("section", { class: "stp-code stp-pane" },
    h("div", { class: "stp-head" }, h("h2", {}, "Program"), h("span", { class: "stp-hint" }, "times run")),
    list, ...(run.lines.size ? [source] : []));
  let current = null, next = null;
  return {
    element,
    update(t) {
      const { pc } = run.columns;
      current?.mark("");
      next?.mark("");
      next = t + 1 < run.n ? rows.get(pc[t + 1]) : null;
      next?.mark("next");
      current = rows.get(pc[t]);
      current?.mark("now", run.columns.reg[t]);
      if (current) reveal(list, current.element);
      setText(source, sourceText(run.lines.get(pc[t])));
    },
    setBreakpoints(pcs) { for (const [pc, row] of rows) row.setBreakpoint(pcs.includes(pc)); },
  };
}

function sourceText(line) {
  if (!line) return "";
  const at = line.file ? `${line.file}:${line.line}` : `line ${line.line}`;
  return `${at}  ${line.text.trim().replace(/\s+/g, " ")}`;
}

const sourceRow = (line) => h("div", { class: "stp-src" },
  h("span", { class: "stp-lineno" }, String(line.line)), h("span", { title: line.text.trim() }, line.text));

function instructionRow(run, insn, onBreakpoint, onPick) {
  const target = targetOf(insn), hits = run.hits[insn.pc];
  const stop = h("button", {
    type: "button", class: "stp-bp", tabindex: -1, "aria-pressed": "false",
    "aria-label": `Breakpoint at ${insn.pc}`, title: "Breakpoint (b)", onclick: () => onBreakpoint(insn.pc),
  });
  const arrow = h("span", { class: "stp-arrow", "aria-hidden": "true" });
  const text = h("span", { class: "stp-text", title: insn.text }, insn.text);
  const extra = [castName(insn), target >= 0 && !insn.text.includes(`L${target}`) ? `→ ${target}` : ""].filter(Boolean).join(" ");
  const element = h("div", { class: "stp-row", "data-pc": insn.pc },
    stop, arrow, h("span", { class: "stp-pc" }, String(insn.pc)), text,
    h("span", { class: "stp-extra" }, extra),
    h("span", { class: "stp-hits", title: `runs ${grouped(hits)} times` }, hits ? grouped(hits) : "·"));
  element.addEventListener("click", (event) => { if (event.target !== stop) onPick(insn.pc); });
  const base = `stp-row${insn.kind === "cast" ? " stp-is-cast" : ""}${hits ? "" : " stp-never"}`;
  setClass(element, base);
  return {
    element,
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
  const reads = readsOf(insn);
  return insn.text.split(/(\b[rw]\d+\b)/).map((part, i) => {
    if (i % 2 === 0) return part;
    const r = Number(part.slice(1));
    const name = [r === written ? "stp-w" : "", reads.includes(r) ? "stp-r" : ""].join(" ").trim();
    return name ? h("span", { class: name }, part) : part;
  });
}

/** Scroll the list, and only the list, so that the row has some rows around it. */
function reveal(list, row) {
  const margin = 2.5 * row.offsetHeight, top = row.offsetTop, bottom = top + row.offsetHeight;
  if (top - margin < list.scrollTop) list.scrollTop = top - margin;
  else if (bottom + margin > list.scrollTop + list.clientHeight) {
    list.scrollTop = bottom + margin - list.clientHeight;
  }
}
