// What an instruction does, from its semantic name (isa.Op): its class, and which registers it reads.

const ZERO = 11; // the register that immediate forms name as their second operand
const KFUNC_ARGUMENTS = {
  bpf_arena_alloc_pages: 5, bpf_arena_free_pages: 3, bpf_arena_reserve_pages: 3,
};
const CONDITIONS = {
  JEQ: "==", JNE: "!=", JGT: ">", JGE: ">=", JLT: "<", JLE: "<=", JSET: "&",
  JSGT: "s>", JSGE: "s>=", JSLT: "s<", JSLE: "s<=",
};
const MEMORY = [
  ["load", /^(LDXS?|LOAD_ACQUIRE)(8|16|32|64)$/],
  ["store", /^(STX|STORE_RELEASE)(8|16|32|64)$/],
  ["atomic", /^(ATOMIC_\w+|FETCH_\w+|XCHG|CMPXCHG)(32|64)$/],
];
const CALLS = { CALL_HELPER: "helper", CALL_KFUNC: "kfunc", CALL_LOCAL: "local", CALLX: "local" };
const ONE_OPERAND = /^(NEG|LE|BE|BSWAP)\d+$/;

/** Semantic name -> {kind, base, bits}; kind is one of load store atomic cast jump call exit const alu. */
export function classify(op) {
  const name = op.replace(/^ARENA_/, "");
  const [, base, bits] = /^(.*?)(\d+)?$/.exec(name);
  const is = (kind) => ({ kind, base, bits: Number(bits ?? 64), arena: name !== op });
  for (const [kind, pattern] of MEMORY) if (pattern.test(name)) return is(kind);
  if (name === "CAST_KERN" || name === "CAST_USER") return is("cast");
  if (base in CONDITIONS || base === "JA" || name === "MAY_GOTO") return is("jump");
  if (name in CALLS) return is("call");
  if (name === "EXIT") return is("exit");
  if (name === "INVALID") return is("invalid");
  if (/^LD_(ABS|IND)\d+$/.test(name)) return is("packet");
  if (name.startsWith("LD_")) return is("const");
  return is("alu");
}

/** Sign of a conditional jump (`==`, `s<`, ...), or undefined for unconditional ones. */
export const conditionSign = (base) => CONDITIONS[base];

/** Registers that the instruction reads, as an array of numbers without repetition. */
export function readsOf(insn) {
  const { kind, base } = classify(insn.op);
  const source = insn.src === ZERO ? [] : [insn.src];
  const all = {
    load: () => source,
    store: () => [insn.dst, ...source],
    atomic: () => (base === "CMPXCHG" ? [0, insn.dst, ...source] : [insn.dst, ...source]),
    cast: () => source,
    jump: () => (base in CONDITIONS ? [insn.dst, ...source] : []),
    call: () => callReads(insn),
    exit: () => [0],
    packet: () => [6, ...source],
    const: () => [],
    invalid: () => [],
    alu: () => aluReads(insn, base, source),
  }[kind]();
  return [...new Set(all)].filter((r) => r <= 10);
}

/** A local call copies all registers and reads none; how many arguments a helper takes is not known here. */
function callReads(insn) {
  if (insn.op === "CALL_LOCAL") return [];
  if (insn.op === "CALLX") return [insn.dst];
  return Array.from({ length: KFUNC_ARGUMENTS[insn.name] ?? 5 }, (_, i) => i + 1);
}

function aluReads(insn, base, source) {
  if (/^MOV/.test(base)) return source;
  return ONE_OPERAND.test(insn.op) ? [insn.dst] : [insn.dst, ...source];
}

/** Slot that a jump or a local call goes to, or -1. */
export function targetOf(insn) {
  const { kind } = classify(insn.op);
  return kind === "jump" || insn.op === "CALL_LOCAL" ? insn.pc + 1 + insn.off : -1;
}

/** True for the calls that enter a new frame. */
export const entersFrame = (op) => CALLS[op] === "local";
