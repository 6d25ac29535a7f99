// A recorded run as a value: what happened at each step, and the registers before and after it.

import { classify, entersFrame } from "./decode.js";

export const NONE = 255;
export const READ = 1, WRITE = 2, ABSENT = 4, ATOMIC = 8; // bits of column `access`
const REGISTERS = 11, FRAMES = 8, STACK_BYTES = 512n;
const FRAME_POINTER = 10;

/** {meta, columns, n} of payload.js -> the run, with the indexes that every view needs. */
export function openRun({ meta, columns, n }) {
  const insns = indexInstructions(meta.instructions);
  const run = { meta, columns, n, insns, arena: readArena(meta.arena), regions: readRegions(meta) };
  run.lines = new Map(meta.lines.map((line) => [line.pc, line]));
  return Object.assign(run, indexSteps(run), indexEvents(run));
}

function indexInstructions(rows) {
  const insns = [];
  for (const row of rows) insns[row.pc] = { ...row, ...classify(row.op) };
  return insns;
}

function readArena(arena) {
  if (!arena) return null;
  const start = BigInt(arena.user_start), end = BigInt(arena.user_end);
  return { start, end, low: start & 0xffffffffn, pages: arena.pages, flags: arena.flags };
}

function readRegions(meta) {
  let offset = 0;
  return meta.regions.map(({ name, address, size }) => {
    const region = { name, start: BigInt(address), size, end: BigInt(address) + BigInt(size), offset };
    offset += size;
    return region;
  });
}

/** One pass over the steps: executions per pc, casts, faults, last access, and who called. */
function indexSteps({ columns, n, insns, meta }) {
  const { pc, depth, access, size } = columns;
  const hits = new Uint32Array(insns.length);
  const lastAccess = new Int32Array(n), caller = new Int32Array(n);
  const casts = [], faults = [], calls = [];
  const isCast = insns.map((insn) => insn?.kind === "cast");
  const isCall = insns.map((insn) => entersFrame(insn?.op));
  for (let t = 0, last = -1; t < n; t++) {
    const at = pc[t];
    hits[at]++;
    if (isCast[at]) casts.push(t);
    if (access[t] & ABSENT) faults.push(t);
    if (size[t]) last = t;
    lastAccess[t] = last;
    caller[t] = depth[t] ? calls[depth[t]] ?? -1 : -1;
    if (isCall[at]) calls[depth[t] + 1] = t;
  }
  if (meta.stop.kind === "fault" && n && faults.at(-1) !== n - 1) faults.push(n - 1);
  return { hits, casts, faults, lastAccess, caller };
}

/** Page events by kind; what user space met counts as a fault at the step before which it happened. */
function indexEvents({ columns, meta, n }) {
  const kinds = Array.from(columns.event_kind, (code) => meta.event_kinds[code]);
  const steps = (kind) => columns.event_step.filter((_, i) => kinds[i] === kind).map((t) => Math.min(t, n - 1));
  const allocs = steps("alloc"), frees = steps("free"), userFaults = [...steps("user_fault"), ...steps("segv")];
  return { kinds, allocs, frees, userFaults, pageEvents: sorted([...allocs, ...frees]) };
}

const sorted = (steps) => Int32Array.from(new Set(steps)).sort();

/** Every step at which something faulted, program or user, in order. */
export const faultSteps = (run) => (run.allFaults ??= sorted([...run.faults, ...run.userFaults]));

/** All frames' registers after `k` steps (0..n), as 8 x 11 unsigned 64-bit integers. */
export function registersAfter(run, k) {
  const { key_regs } = run.columns;
  const interval = run.meta.key_interval;
  const key = Math.min(Math.floor(k / interval), key_regs.length / (REGISTERS * FRAMES) - 1);
  const regs = key_regs.slice(key * REGISTERS * FRAMES, (key + 1) * REGISTERS * FRAMES);
  for (let t = key * interval; t < k; t++) replayStep(run, regs, t);
  return regs;
}

/** Apply what step t did to the registers: its one written register, and frame copies. */
function replayStep(run, regs, t) {
  const { pc, depth, reg, value } = run.columns;
  const frame = depth[t] * REGISTERS;
  if (reg[t] !== NONE) regs[frame + reg[t]] = value[t];
  const { op } = run.insns[pc[t]];
  if (entersFrame(op)) {
    regs.copyWithin(frame + REGISTERS, frame, frame + FRAME_POINTER);
    regs[frame + REGISTERS + FRAME_POINTER] = regs[frame + FRAME_POINTER] - STACK_BYTES;
  } else if (op === "EXIT" && depth[t]) {
    regs.copyWithin(frame - REGISTERS, frame, frame + 6);
  }
}

/** What the registers pane shows at step t: the frame in view, its registers before and after. */
export function registersAt(run, t) {
  const { depth } = run.columns;
  const before = registersAfter(run, t), after = before.slice();
  replayStep(run, after, t);
  const frame = depth[t], start = frame * REGISTERS;
  const of = (regs) => Array.from(regs.subarray(start, start + REGISTERS));
  return { frame, before: of(before), after: of(after), all: after };
}

/** Steps of the calls that led to step t, outermost first. */
export function callChain(run, t) {
  const chain = [];
  for (let step = run.caller[t]; step >= 0; step = run.caller[step]) chain.unshift(step);
  return chain;
}

/** Nearest element of a sorted list after (sign 1) or before (sign -1) step t, or -1. */
export function nearest(steps, t, sign) {
  const after = lowerBound(steps, t + 1);
  if (sign > 0) return after < steps.length ? steps[after] : -1;
  const before = lowerBound(steps, t) - 1;
  return before >= 0 ? steps[before] : -1;
}

/** Index of the first element of a sorted list that is >= t. */
export function lowerBound(steps, t) {
  let low = 0, high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Next step (sign 1 or -1) at one of the given pcs, or -1. */
export function nextAtPc(run, pcs, t, sign) {
  const wanted = new Set(pcs), { pc } = run.columns;
  if (!wanted.size) return -1;
  for (let at = t + sign; at >= 0 && at < run.n; at += sign) if (wanted.has(pc[at])) return at;
  return -1;
}
