// One sentence per step: what this instruction did this time, with the values that it met.

import { ABSENT, READ, WRITE, NONE, registersAt, functionName } from "./replay.js";
import { hex, isUserForm, number, place, say, where } from "./words.js";

/** The sentence for step t. `memory` answers who wrote the bytes that are read. */
export function explain(run, memory, t) {
  const insn = run.insns[run.columns.pc[t]];
  const step = stepFacts(run, t, insn);
  const text = SENTENCES[insn.kind](run, step, memory);
  return step.t === run.n - 1 ? `${text} ${ending(run)}` : text;
}

function stepFacts(run, t, insn) {
  const c = run.columns, registers = registersAt(run, t);
  return {
    t, insn, depth: c.depth[t], registers, size: c.size[t], access: c.access[t], address: c.address[t],
    value: c.value[t], old: c.old[t], new: c.new[t], reg: c.reg[t],
    next: t + 1 < run.n ? c.pc[t + 1] : -1,
    source: secondOperand(insn, registers.before),
    target: insn.dst <= 10 ? registers.before[insn.dst] : 0n,
  };
}

/** regs[src] + imm, where src = 11 is a register that is always 0; a cast's imm is no operand. */
function secondOperand({ kind, src, imm }, regs) {
  const register = src > 10 ? 0n : regs[src];
  return kind === "cast" ? register : BigInt.asUintN(64, register + BigInt(imm));
}

const SENTENCES = { load, store, atomic, cast, jump, call, exit, const: constant, packet, alu, invalid };

function load(run, s, memory) {
  const at = `${bytes(s.size)} at ${where(run, s.address, s.depth)}`;
  const name = `r${s.insn.dst}`;
  if (s.access & ABSENT) return absentLoad(s, at, name);
  return `Loads ${bytes(s.size)} at ${where(run, s.address, s.depth)}: ${name} = ${say(run, s.value, s.depth)}. ${origin(run, memory, s)}`;
}

function absentLoad(s, at, name) {
  const stale = s.insn.op.startsWith("LOAD_ACQUIRE");
  const gives = stale ? `${name} keeps its old value` : `${name} = 0`;
  return `Fault: loads ${at}, but that page is absent. The load is skipped, ${gives}, and the program goes on.`;
}

/** Where the bytes just read came from. */
function origin(run, memory, s) {
  const writer = memory.writerBefore(s.address, s.t);
  if (writer < 0) return "These bytes were there before the run.";
  const { pc, access } = run.columns;
  if (memory.helperWrote(writer)) return `Written at step ${writer} by ${run.insns[pc[writer]].name ?? "a helper"}.`;
  if (access[writer] & WRITE) return `Stored at step ${writer} by instruction ${pc[writer]}.`;
  return `Zero since the page was allocated at step ${writer}.`;
}

function store(run, s) {
  const at = where(run, s.address, s.depth);
  const what = s.insn.src > 10 ? number(s.source) : `r${s.insn.src} = ${say(run, s.new, s.depth)}`;
  if (s.access & ABSENT) {
    return `Fault: stores ${bytes(s.size)} (${what}) at ${at}, but that page is absent. The store is lost and the program goes on.`;
  }
  const was = s.old === s.new ? "The memory held that value already." : `It was ${say(run, s.old, s.depth)}.`;
  return `Stores ${bytes(s.size)} (${what}) at ${at}. ${was}`;
}

function atomic(run, s) {
  const at = `${bytes(s.size)} at ${where(run, s.address, s.depth)}`;
  if (s.access & ABSENT) {
    return `Fault: atomic access to ${at}, but that page is absent. Memory and registers stay as they were.`;
  }
  const fetched = s.reg === NONE ? "" : ` r${s.reg} gets the old value.`;
  return `Atomically changes ${at} from ${say(run, s.old, s.depth)} to ${say(run, s.new, s.depth)}.${fetched}`;
}

function cast(run, s) {
  const { insn, source, value } = s;
  const name = `r${insn.dst}`, from = `r${insn.src} = ${hex(source)}`;
  if (insn.op === "CAST_KERN") {
    return `cast_kern keeps the low 32 bits of ${from}: ${name} = ${hex(value)}, ${placed(run, value)}`;
  }
  if (source === 0n || value === 0n) return `cast_user of ${from}: NULL stays NULL.`;
  if (!isUserForm(run, value)) {
    return `cast_user keeps the low 32 bits of ${from}: ${name} = ${hex(value)} (NO_USER_CONV: no user address is made).`;
  }
  if (source === value) return `cast_user of ${from}: it has the form that user space can follow already.`;
  return `cast_user gives ${from} its upper half: ${name} = ${hex(value)}, the pointer that user space can follow.`;
}

function placed(run, value) {
  const found = place(run, value);
  return found ? `the program's pointer to ${found}.` : "which lies outside the arena: reads there give 0.";
}

function jump(run, s) {
  const { insn, next } = s, { sign, target } = insn;
  if (insn.op === "MAY_GOTO") {
    return next === target ? `The loop budget is used up: jumps to ${target}.` : "The loop budget is not used up: goes on.";
  }
  if (!sign) return `Jumps to ${target}.`;
  const taken = next === target && target !== insn.pc + 1;
  const right = insn.src > 10 ? number(s.source) : `r${insn.src} (${operand(run, s, s.source)})`;
  const test = `r${insn.dst} (${operand(run, s, s.target)}) ${sign} ${right}`;
  return taken ? `${test} is true: jumps to ${target}.` : `${test} is false: goes on with ${insn.pc + 1}.`;
}

/** A compared value: the low 32 bits where the instruction looks at no more. */
const operand = (run, s, value) => say(run, s.insn.bits === 32 ? BigInt.asUintN(32, value) : value, s.depth);

function call(run, s) {
  const { insn } = s, name = insn.name ?? insn.text.replace(/^call\s+/, "");
  if (insn.enters) {
    return `Calls ${functionName(run, s.next) || "the function"} at ${s.next}: frame ${(s.depth & 7) + 1} starts with copies of r0 to r9 and its own stack.`;
  }
  const said = KFUNCS[name]?.(run, s);
  return said ?? `Calls ${name}: r0 = ${say(run, s.value, s.depth)}.`;
}

const KFUNCS = {
  bpf_arena_alloc_pages: (run, s) => {
    const count = pages(s.registers.before[3]);
    if (s.value === 0n) return `bpf_arena_alloc_pages finds no room for ${count}: r0 = 0 (NULL).`;
    return `bpf_arena_alloc_pages allocates ${count}, zeroed: r0 = ${hex(s.value)}, the user address of ${where(run, s.value)}.`;
  },
  bpf_arena_free_pages: (run, s) => {
    const [, , address, count] = s.registers.before;
    return `bpf_arena_free_pages frees ${pages(count)} at ${place(run, address) ?? hex(address)}. Later reads there give 0.`;
  },
  bpf_arena_reserve_pages: (run, s) => {
    const [, , address, count] = s.registers.before;
    const outcome = s.value === 0n ? "allocations will skip them" : `refused with ${number(s.value)}`;
    return `bpf_arena_reserve_pages asks for ${pages(count)} at ${place(run, address) ?? hex(address)}: ${outcome}.`;
  },
};

function exit(run, s) {
  const value = say(run, s.registers.before[0], s.depth);
  if (s.depth & 7) return `Returns to frame ${(s.depth & 7) - 1} with r0 = ${value}.`;
  return `The program returns r0 = ${value}.`;
}

function constant(run, s) {
  const name = `r${s.insn.dst}`;
  if (s.insn.op === "LD_MAP_FD" || s.insn.op === "LD_MAP_IDX") return `${name} names the map ${s.insn.name ?? ""}`.trim() + ".";
  return `Sets ${name} to ${say(run, s.value, s.depth)}.`;
}

function packet(run, s) {
  return `Loads ${bytes(s.size)} of the packet: r0 = ${number(s.value)}.`;
}

function alu(run, s) {
  const { insn } = s, name = `${insn.bits === 32 ? "w" : "r"}${insn.dst}`;
  const result = say(run, s.value, s.depth);
  if (insn.op.startsWith("MOV")) return move(run, s, name, result);
  const { sign } = insn;
  if (!sign) return `Changes ${name} from ${say(run, s.target, s.depth)} to ${result} (${insn.text}).`;
  const amount = insn.src > 10 ? BigInt(insn.imm) : s.source;
  if (amount === 0n && /[/%]/.test(sign)) return `Division by zero: ${name} = ${result}, no trap.`;
  const right = insn.src > 10 ? number(s.source) : `${operand(run, s, s.source)}`;
  return `${name} = ${operand(run, s, s.target)} ${sign} ${right} = ${result}.`;
}

function move(run, s, name, result) {
  if (insn32(s) && s.insn.src <= 10 && s.source > 0xffffffffn) {
    return `Keeps the low 32 bits of r${s.insn.src} = ${hex(s.source)}: ${name} = ${hex(s.value)}.`;
  }
  if (s.insn.op.startsWith("MOVSX")) return `Sign-extends r${s.insn.src}: ${name} = ${result}.`;
  return s.insn.src > 10 ? `Sets ${name} to ${result}.` : `Copies r${s.insn.src} to ${name}: ${result}.`;
}

const insn32 = (s) => s.insn.op === "MOV32";

function invalid() {
  return "This slot is not an instruction.";
}

function ending({ meta: { stop, total_steps, part }, n }) {
  const { first, of } = part ?? { first: 0, of: n }, end = first + n;
  if (of > end) return `These steps end here; trace.stepper(first=${end}) shows the next.`;
  if (total_steps > end) return `The recording ends here, the run went on to step ${total_steps}: record(…, capacity=${total_steps}) keeps all.`;
  if (stop.kind === "exit") return "End of the run.";
  return `The run stopped here (${stop.kind})${stop.reason ? `: ${stop.reason}` : ""}.`;
}

const bytes = (size) => (size === 1 ? "1 byte" : `${size} bytes`);
const pages = (count) => (BigInt.asUintN(32, count) === 1n ? "1 page" : `${BigInt.asUintN(32, count)} pages`);

/** What a step did to memory, or tried to: `read`, `tried to write`. */
export function accessVerb(access) {
  const [did, tries] = !(access & WRITE) ? ["read", "read"] : access & READ ? ["changed", "change"] : ["wrote", "write"];
  return access & ABSENT ? `tried to ${tries}` : did;
}
