// A recorded run as a value: what happened at each step, and the registers before and after it.

import { FRAMES, FRAME_BYTES, REGISTERS } from "./sizes.js";

export const NONE = 255;
export const READ = 1, WRITE = 2, ABSENT = 4, ATOMIC = 8, IN_ARENA = 16; // bits of column `access`
const FRAME_POINTER = 10;

/** Column `depth` counts frames as 8 * CPU + frame. */
export const cpuAt = ({ columns: { depth } }, t) => depth[t] >> 3;
export const frameAt = ({ columns: { depth } }, t) => depth[t] & 7;

/** {meta, columns, n} of payload.js -> the run, with the indexes that every view needs. */
export function openRun({ meta, columns, n }) {
  const insns = indexInstructions(meta.instructions);
  const cpus = Math.max(1, columns.key_regs.length / (REGISTERS * FRAMES * columns.key_depth.length));
  const run = { meta, columns, n, insns, cpus, arena: readArena(meta.arena), regions: readRegions(meta) };
  run.lines = new Map(meta.lines.map((line) => [line.pc, { ...line, text: line.text || `(${line.file || "no text"})` }]));
  run.enters = insns.map((insn) => insn.enters);
  run.exits = insns.map((insn) => insn.op === "EXIT");
  run.findings = meta.findings ?? [];
  run.stacks = run.regions.filter(({ name }) => name.startsWith("stack")); // by CPU
  run.sets = indexSets(columns);
  run.findingSteps = sorted(run.findings.map(({ step }) => Math.min(step, n - 1)));
  return Object.assign(run, indexLines(run), indexSteps(run), indexEvents(run));
}

/** The rows of format.py by slot, with the facts of an effects.Effect in each. */
function indexInstructions(rows) {
  const insns = [];
  for (const row of rows) insns[row.pc] = row;
  return insns;
}

const ASSEMBLY = /^$|\.(bpf|s|S|asm)$/; // files whose lines only repeat the instructions

/** Does a source line say more than its instruction? */
export const isSource = ({ file }) => !ASSEMBLY.test(file);

/** The distinct source lines, and for each slot the number of its line among them, or -1. */
function indexLines({ insns, lines }) {
  const sourceLines = [], numbers = new Map(), lineOfSlot = new Int32Array(insns.length).fill(-1);
  for (let slot = 0, current = -1; slot < insns.length; slot++) {
    const line = lines.get(slot);
    if (line) {
      const key = `${line.file}:${line.line}`;
      if (!numbers.has(key)) numbers.set(key, sourceLines.push(line) - 1);
      current = numbers.get(key);
    }
    lineOfSlot[slot] = current;
  }
  return { sourceLines, lineOfSlot, hasSource: sourceLines.some(isSource) };
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
  const casts = [], faults = [], calls = [], before = [];
  const isCast = insns.map((insn) => insn?.kind === "cast");
  for (let t = 0, last = -1; t < n; t++) {
    const at = pc[t];
    hits[at]++;
    if (isCast[at]) casts.push(t);
    if (access[t] & ABSENT) faults.push(t);
    if (size[t]) last = t;
    lastAccess[t] = last;
    const cpu = depth[t] >> 3;
    if (depth[t] > depth[before[cpu]]) calls[depth[t]] = before[cpu]; // by a call, or by a helper that calls
    before[cpu] = t;
    caller[t] = depth[t] & 7 ? calls[depth[t]] ?? -1 : -1;
  }
  if (meta.stop.kind === "fault" && n && faults.at(-1) !== n - 1) faults.push(n - 1);
  return { hits, casts, faults, lastAccess, caller, frameAfter: followingFrames(depth, n) };
}

/** For each step the frame of its successor on the same CPU: that which runs after it. */
function followingFrames(depth, n) {
  const after = depth.slice(), next = [];
  for (let t = n - 1; t >= 0; t--) {
    after[t] = next[depth[t] >> 3] ?? depth[t];
    next[depth[t] >> 3] = depth[t];
  }
  return after;
}

/** Registers that helpers set, by step: of callbacks, and of who called the helper. */
function indexSets({ change_step = [], change_address, change_size, change_new }) {
  const sets = new Map();
  change_step.forEach((t, row) => {
    if (change_size[row]) return;
    if (!sets.has(t)) sets.set(t, []);
    sets.get(t).push([Number(change_address[row]), change_new[row]]);
  });
  return sets;
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

/** All frames' registers after `k` steps (0..n), as CPUs x 8 x 11 unsigned 64-bit integers. */
export function registersAfter(run, k) {
  const { key_regs } = run.columns;
  const interval = run.meta.key_interval;
  const length = run.cpus * FRAMES * REGISTERS;
  const key = Math.min(Math.floor(k / interval), key_regs.length / length - 1);
  const regs = key_regs.slice(key * length, (key + 1) * length);
  for (let t = key * interval; t < k; t++) replayStep(run, regs, t);
  return regs;
}

/** Apply what step t did to the registers: its one written register, and frame copies. */
function replayStep(run, regs, t) {
  const { pc, depth, reg, value } = run.columns;
  const frame = depth[t] * REGISTERS;
  if (reg[t] !== NONE) regs[frame + reg[t]] = value[t];
  if (run.enters[pc[t]] && run.frameAfter[t] > depth[t]) {
    regs.copyWithin(frame + REGISTERS, frame, frame + FRAME_POINTER);
    regs[frame + REGISTERS + FRAME_POINTER] = framePointer(run, depth[t] + 1);
  } else if (run.exits[pc[t]] && run.frameAfter[t] < depth[t]) {
    regs.copyWithin(frame - REGISTERS, frame, frame + 6);
  }
  for (const [at, set] of run.sets.get(t) ?? []) regs[at] = set;
}

/** Where a frame's stack ends: its r10, whatever its caller made of its own. */
const framePointer = ({ stacks }, frame) => stacks[frame >> 3].end - FRAME_BYTES * BigInt(frame & 7);

/** Call visit(t, regs) with the registers after step t, for t = -1 (the start), 0, 1, ..., n - 1. */
export function walkRegisters(run, visit) {
  const regs = registersAfter(run, 0);
  for (let t = -1; t < run.n; t++) {
    if (t >= 0) replayStep(run, regs, t);
    visit(t, regs);
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

/** Name of the function that holds a slot, or "" where the program does not say. */
export function functionName({ meta }, slot) {
  const starts = (meta.subprograms ?? []).filter(({ pc }) => pc <= slot);
  if (starts.length) return starts.reduce((a, b) => (a.pc >= b.pc ? a : b)).name;
  return "";
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
