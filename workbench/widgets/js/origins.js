// Where a value came from: back through registers, stack and arena memory, copies skipped.

import { ABSENT, WRITE, lowerBound, registersAfter } from "./replay.js";
import { pageOf } from "./memory.js";
import { addressText } from "./places.js";
import { place, say } from "./words.js";
import { PAGE_BYTES, PAGE_SHIFT, REGISTERS } from "./sizes.js";

const LONGEST = 200; // rows of a chain: what a person scrolls through; one can ask again from its end

/**
 * Origins of a place ({r} or {start, size}) as it is after step t: {rows, end}. A row is one step
 * {step, note, via, inputs}: `via` are the copies between it and the row before, `inputs` the
 * places, as they were before the step, that a reader may ask about next. `end` says why it ends.
 */
export function originsOf(run, memory, asked, t) {
  const rows = [], chain = { run, memory, via: [] };
  let at = asked.r === undefined ? { ...asked, t } : { r: asked.r, frame: frameAfter(run, t), t };
  while (at.t !== undefined && rows.length < LONGEST) {
    const link = at.r === undefined ? memoryLink(chain, at) : registerLink(chain, at);
    if (link.copy !== undefined) chain.via.push(link.copy);
    else if (link.step !== undefined) rows.push({ step: link.step, note: link.note, via: chain.via.splice(0), inputs: link.inputs ?? [] });
    if (!link.next) return { rows, end: link.end ?? "" };
    at = link.next;
  }
  return { rows, end: "The chain goes on; ask again from its last step." };
}

/** The frame whose registers are shown at step t: that in which it ran. */
const frameAfter = (run, t) => run.columns.depth[t];

/** One link back from register `r` of `frame` after step t. */
function registerLink({ run }, { r, frame, t }) {
  const { pc, depth, reg } = run.columns;
  for (let s = t; s >= 0; s--) {
    if (depth[s] >> 3 !== frame >> 3) continue;
    if (run.sets.get(s)?.some(([at]) => at === REGISTERS * frame + r)) {
      return { step: s, ...besides(run, s, "set") };
    }
    if (depth[s] === frame && reg[s] === r) return writerLink(run, s);
    if (depth[s] === frame - 1 && run.enters[pc[s]]) {
      if (r === 10) return { step: s, note: "starts the frame", end: "The frame pointer is set by the call." };
      return { copy: s, next: { r, frame: frame - 1, t: s - 1 } };
    }
    if (depth[s] === frame + 1 && run.exits[pc[s]] && r < 6) return { copy: s, next: { r, frame: frame + 1, t: s - 1 } };
  }
  return { end: `r${r} held this value before the run.` };
}

/** How the instruction of step s made the register that it wrote. */
function writerLink(run, s) {
  const { pc, depth, value, address, size, access } = run.columns;
  const insn = run.insns[pc[s]], frame = depth[s];
  const before = (r) => ({ r, frame, t: s - 1 });
  const result = say(run, value[s], frame);
  if (insn.kind === "load" || (insn.kind === "atomic" && size[s])) {
    const note = `${result} ← ${placeOf(run, s)}`;
    if (access[s] & ABSENT) return { step: s, note, end: "The page was absent, so the load gave 0." };
    return { step: s, note, next: { start: address[s], size: size[s], t: s - 1 } };
  }
  if (isCopy(run, s, insn)) return { copy: s, next: before(insn.src) };
  const inputs = insn.reads, note = `= ${result}`;
  if (insn.kind === "call") return { step: s, note, end: callEnd(insn), inputs: [] };
  if (inputs.length === 1) return { step: s, note, next: before(inputs[0]) };
  if (!inputs.length) return { step: s, note, end: "A constant of the program." };
  const pointer = onlyPointer(run, s, inputs);
  return { step: s, note, inputs, end: "It was computed from several values.", ...(pointer >= 0 && { next: before(pointer) }) };
}

const callEnd = (insn, did = "returned") => `${insn.name ?? "The call"} ${did} it.`;

/** Who changed something at step s beside the instruction's own result: a helper, or what-if. */
function besides(run, s, did) {
  const insn = run.insns[run.columns.pc[s]];
  if (insn.kind !== "call" && !run.exits[run.columns.pc[s]]) return { note: "then changed by hand", end: "Who asked “what if” changed it." };
  return { note: `${did === "set" ? "set" : "written"} by the helper`, end: callEnd(insn, did) };
}

/** Does the step move a register's value unchanged, or as another form of the same pointer? */
function isCopy(run, s, insn) {
  if (insn.kind === "cast") return true;
  if (!/^MOV(32|64)$/.test(insn.op) || insn.src > 10) return false;
  return insn.bits === 64 || registersAfter(run, s)[REGISTERS * run.columns.depth[s] + insn.src] === run.columns.value[s];
}

/** The one of the registers that holds a pointer (the others are offsets to it), or -1. */
function onlyPointer(run, s, registers) {
  const depth = run.columns.depth[s], regs = registersAfter(run, s);
  const pointers = registers.filter((r) => place(run, regs[REGISTERS * depth + r], depth));
  return pointers.length === 1 ? pointers[0] : -1;
}

/** One link back from the bytes [start, start + size) after step t: the newest write to them. */
function memoryLink({ run, memory }, { start, size, t }) {
  if (!memory.pageAfter(pageOf(start), t)) return { end: "Nothing is there: the page is absent." };
  let writer = -1;
  for (let i = 0; i < size; i++) writer = Math.max(writer, memory.writerBefore(start + BigInt(i), t + 1));
  if (writer < 0) return { end: `${addressText(run, start)} held this before the run.` };
  const { access, pc, depth } = run.columns, insn = run.insns[pc[writer]];
  if (memory.helperWrote(writer)) return { step: writer, ...besides(run, writer, "wrote") };
  if (!(access[writer] & WRITE) || insn.kind === "call") {
    return { step: writer, note: "the page is new", end: "Memory is zero from its allocation on." };
  }
  const note = `${say(run, run.columns.new[writer], depth[writer])} → ${placeOf(run, writer)}`;
  if (insn.kind === "atomic") return { step: writer, note, inputs: insn.reads, end: "It was changed in place." };
  if (insn.src > 10) return { step: writer, note, end: "A constant of the program." };
  return { step: writer, note, next: { r: insn.src, frame: depth[writer], t: writer - 1 } };
}

const placeOf = (run, s) => place(run, run.columns.address[s], run.columns.depth[s]) ?? addressText(run, run.columns.address[s]);

/** Steps that wrote a register, or that changed bytes of memory, in order. */
export function writesOf(run, memory, { r, start, size }) {
  if (r === undefined) return memory.changesOf(start, size);
  const found = [];
  for (let t = 0; t < run.n; t++) if (run.columns.reg[t] === r) found.push(t);
  return found;
}

/** The allocation that a byte of the arena belonged to at step t: its step, pages and end; or null. */
export function allocationOf(run, address, t) {
  const { arena, kinds, columns: { event_step, event_page, event_count } } = run;
  if (!arena || address < arena.start || address >= arena.end) return null;
  const page = Number((address - arena.start) >> PAGE_SHIFT);
  const covers = (i) => page >= event_page[i] && page < event_page[i] + event_count[i];
  let found = null;
  for (let i = 0; i < kinds.length; i++) {
    if (!covers(i)) continue;
    if (kinds[i] === "free" && found && found.freed < 0) found.freed = event_step[i];
    if (event_step[i] > t || !["alloc", "user_fault", "free"].includes(kinds[i])) continue;
    found = kinds[i] === "free" ? null : { step: event_step[i], kind: kinds[i], page: event_page[i], count: event_count[i], freed: -1 };
  }
  return found;
}

/** Steps that touched memory of an allocation while it lasted. */
export function touchesOf(run, { step, page, count, freed }) {
  const { address, size } = run.columns, found = [];
  const start = run.arena.start + BigInt(page) * PAGE_BYTES, end = start + BigInt(count) * PAGE_BYTES;
  const last = freed < 0 ? run.n : freed;
  for (let t = step; t < last; t++) {
    if (size[t] && address[t] >= start && address[t] < end) found.push(t);
  }
  return found;
}

/** The arena address that a value points to, in either form, or null. */
export function pointee({ arena }, value) {
  if (!arena) return null;
  if (value >= arena.start && value < arena.end) return value;
  const distance = value - arena.low;
  return value >= PAGE_BYTES && distance >= 0n && distance < arena.end - arena.start ? arena.start + distance : null;
}

/** Index of the last element of a sorted list that is <= t, or -1. */
export const lastUpTo = (steps, t) => lowerBound(steps, t + 1) - 1;
