// What a run to the next or previous hit stops at. A stop is a line of text; the steps it hits are
// found once and kept, so that both directions and the timeline use the same list.
//
//   16            instruction 16                    line 12         a source line is entered
//   r0 s> 5       the condition becomes true        16 if r0 == 5   it holds when 16 is reached
//   write X       a write to X; also read, touch    step 1234       a bookmark
//   fault  cast  alloc  free  call  exit  atomic  finding
//
// X is a place (arena+0x1008, page 4, stack+0xff8) with an optional size in bytes (arena+0x1008:4).
// Conditions know the registers r0 to r10 and w0 to w10 and what the step did; see NAMES.

import { ATOMIC, READ, WRITE, cpuAt, faultSteps, frameAt, lowerBound, nearest, walkRegisters } from "./replay.js";
import { parseExpression } from "./expression.js";
import { addressText, parsePlace } from "./places.js";
import { REGISTERS } from "./sizes.js";

const LOW = 0xffffffffn;
const NAMES = {
  pc: ({ run, t }) => BigInt(run.columns.pc[t]),
  step: ({ t }) => BigInt(t),
  frame: ({ run, t }) => BigInt(frameAt(run, t)),
  cpu: ({ run, t }) => BigInt(cpuAt(run, t)),
  value: ({ run, t }) => run.columns.value[t],
  old: ({ run, t }) => run.columns.old[t],
  new: ({ run, t }) => run.columns.new[t],
  address: ({ run, t }) => run.columns.address[t],
  size: ({ run, t }) => BigInt(run.columns.size[t]),
};
for (let r = 0; r <= 10; r++) {
  NAMES[`r${r}`] = ({ regs, base }) => regs[base + r];
  NAMES[`w${r}`] = ({ regs, base }) => regs[base + r] & LOW;
}
const EVENTS = {
  fault: faultSteps, cast: (run) => run.casts, alloc: (run) => run.allocs, free: (run) => run.frees,
  finding: (run) => run.findingSteps ?? [],
  call: (run) => stepsWhere(run, (t) => run.enters[run.columns.pc[t]]),
  exit: (run) => stepsWhere(run, (t) => run.insns[run.columns.pc[t]].op === "EXIT"),
  atomic: (run) => stepsWhere(run, (t) => run.columns.access[t] & ATOMIC),
};
const WATCHES = { write: WRITE, watch: WRITE, read: READ, touch: READ | WRITE };

/** A stop (number or text) -> {stop, hits} with the sorted steps it hits, or {stop, error}. */
export function openStop(run, stop) {
  try {
    return { stop, hits: hitsOf(run, String(stop).trim()) };
  } catch (error) {
    return { stop, hits: [], error: error.message };
  }
}

/** Nearest hit of any of the opened stops after (sign 1) or before (-1) step t, or -1. */
export function nearestHit(stops, t, sign) {
  const found = stops.map(({ hits }) => nearest(hits, t, sign)).filter((step) => step >= 0);
  if (!found.length) return -1;
  return sign > 0 ? Math.min(...found) : Math.max(...found);
}

/** Does any opened stop hit step t? */
export const isHit = (stops, t) => stops.some(({ hits }) => hits[lowerBound(hits, t)] === t);

function hitsOf(run, text) {
  const [, place, condition] = /^(.*?)\s+if\b\s*(.*)$/.exec(text) ?? [];
  if (place === undefined) return plainHits(run, text);
  return holding(run, new Set(plainHits(run, place)), parseExpression(condition, NAMES).evaluate);
}

function plainHits(run, text) {
  const [, word, rest] = /^(\w+)\s*(.*)$/.exec(text) ?? [];
  if (!text) throw new Error("say where to stop, for example: 16, r0 == 5, write page 4");
  if (/^\d+$/.test(text)) return atSlot(run, Number(text));
  if (Object.hasOwn(EVENTS, word) && !rest) return EVENTS[word](run);
  if (Object.hasOwn(WATCHES, word)) return accesses(run, rest, WATCHES[word]);
  if (word === "line" && /^\d+$/.test(rest)) return enteringLine(run, Number(rest));
  if (word === "step" && /^\d+$/.test(rest)) return Number(rest) < run.n ? [Number(rest)] : [];
  return becomingTrue(run, parseExpression(text, NAMES));
}

function stepsWhere(run, wanted) {
  const found = [];
  for (let t = 0; t < run.n; t++) if (wanted(t)) found.push(t);
  return found;
}

function atSlot(run, slot) {
  if (!run.insns[slot]) throw new Error(`there is no instruction ${slot}`);
  const { pc } = run.columns;
  return stepsWhere(run, (t) => pc[t] === slot);
}

function enteringLine(run, number) {
  const { pc, depth } = run.columns, lineAt = run.lineOfSlot;
  const wanted = run.sourceLines.map(({ line }) => line === number);
  if (!wanted.includes(true)) throw new Error(`no instruction belongs to line ${number}`);
  return stepsWhere(run, (t) => wanted[lineAt[pc[t]]]
    && (!t || lineAt[pc[t - 1]] !== lineAt[pc[t]] || depth[t - 1] !== depth[t]));
}

function accesses(run, text, bits) {
  const place = parsePlace(run, text);
  if (place?.start === undefined) throw new Error(`'${text}' is not a place in memory; try arena+0x1008, page 4 or stack`);
  const { address, size, access } = run.columns, end = place.start + BigInt(place.size);
  const inside = (at, bytes) => at < end && at + BigInt(bytes) > place.start;
  const helped = bits & WRITE ? helperWrites(run, inside) : new Set();
  return stepsWhere(run, (t) => helped.has(t) || (size[t] && access[t] & bits && inside(address[t], size[t])));
}

/** Steps at which a helper wrote there; rows of size 0 are registers. */
function helperWrites({ columns: { change_step = [], change_address, change_size } }, inside) {
  const found = new Set();
  change_step.forEach((t, row) => {
    if (change_size[row] && inside(change_address[row], change_size[row])) found.add(t);
  });
  return found;
}

/** Steps after which a condition holds and before which it did not. */
function becomingTrue(run, { names, evaluate }) {
  const found = [], slow = [...names].some((name) => !/^[rw]\d/.test(name));
  const used = new Set([...names].map((name) => Number(name.slice(1))));
  const { reg, depth } = run.columns, held = []; // by CPU
  const holds = (t, regs, frame) => evaluate({ run, t, regs, base: REGISTERS * frame }) !== 0n;
  walkRegisters(run, (t, regs) => {
    if (t < 0) {
      for (let cpu = 0; cpu < run.cpus; cpu++) held[cpu] = !slow && holds(0, regs, 8 * cpu);
      return;
    }
    const frame = run.frameAfter[t], cpu = frame >> 3;
    if (!slow && !used.has(reg[t]) && frame === depth[t]) return;
    const now = holds(t, regs, frame);
    if (now && !held[cpu]) found.push(t);
    held[cpu] = now;
  });
  return found;
}

/** Those of the steps at which a condition holds, with the registers that the step finds. */
function holding(run, steps, evaluate) {
  const found = [], { depth } = run.columns;
  walkRegisters(run, (before, regs) => {
    const t = before + 1;
    if (steps.has(t) && evaluate({ run, t, regs, base: REGISTERS * depth[t] })) found.push(t);
  });
  return found;
}

/** The text that watches writes to a place in memory. */
export const watchText = (run, { start, size }) => `write ${addressText(run, start)}${size === 8 ? "" : `:${size}`}`;
