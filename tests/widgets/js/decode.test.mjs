import test from "node:test";
import assert from "node:assert/strict";
import { classify, readsOf, targetOf } from "../../../workbench/widgets/js/decode.js";

const KINDS = {
  load: "LDX8 LDXS32 ARENA_LDX64 ARENA_LDXS8 LOAD_ACQUIRE16 ARENA_LOAD_ACQUIRE64",
  store: "STX8 STX64 ARENA_STX32 STORE_RELEASE8 ARENA_STORE_RELEASE64",
  atomic: "ATOMIC_ADD32 ATOMIC_XOR64 FETCH_OR64 XCHG32 CMPXCHG64 ARENA_CMPXCHG64 ARENA_ATOMIC_AND32",
  cast: "CAST_KERN CAST_USER",
  jump: "JEQ64 JSGT32 JSET64 JA JA32 MAY_GOTO",
  call: "CALL_HELPER CALL_KFUNC CALL_LOCAL CALLX",
  exit: "EXIT",
  const: "LD_IMM64 LD_MAP_FD LD_MAP_VALUE LD_BTF_ID LD_FUNC LD_MAP_IDX LD_MAP_IDX_VALUE",
  packet: "LD_ABS8 LD_IND32",
  invalid: "INVALID",
  alu: "ADD64 MOV32 SDIV64 ARSH32 NEG64 MOVSX8_64 MOVSX16_32 LE16 BE64 BSWAP32",
};
for (const [kind, ops] of Object.entries(KINDS)) {
  test(`classifies ${kind}`, () => {
    for (const op of ops.split(" ")) assert.equal(classify(op).kind, kind, op);
  });
}

const READS = [
  [{ op: "ADD64", dst: 1, src: 2 }, [1, 2]],
  [{ op: "ADD64", dst: 1, src: 11 }, [1]],
  [{ op: "ADD32", dst: 1, src: 1 }, [1]],
  [{ op: "MOV64", dst: 1, src: 2 }, [2]],
  [{ op: "MOVSX8_64", dst: 1, src: 2 }, [2]],
  [{ op: "NEG64", dst: 1, src: 0 }, [1]],
  [{ op: "BSWAP16", dst: 3, src: 0 }, [3]],
  [{ op: "CAST_USER", dst: 1, src: 2 }, [2]],
  [{ op: "ARENA_LDX64", dst: 1, src: 2 }, [2]],
  [{ op: "STX8", dst: 1, src: 2 }, [1, 2]],
  [{ op: "STX8", dst: 1, src: 11 }, [1]],
  [{ op: "CMPXCHG64", dst: 1, src: 2 }, [0, 1, 2]],
  [{ op: "JEQ32", dst: 1, src: 11 }, [1]],
  [{ op: "JA", dst: 0, src: 0 }, []],
  [{ op: "CALL_KFUNC", dst: 0, src: 2, name: "bpf_arena_free_pages" }, [1, 2, 3]],
  [{ op: "CALL_LOCAL", dst: 0, src: 1 }, []],
  [{ op: "EXIT", dst: 0, src: 0 }, [0]],
  [{ op: "LD_IMM64", dst: 1, src: 0 }, []],
  [{ op: "LD_IND8", dst: 0, src: 4 }, [6, 4]],
];
for (const [insn, expected] of READS) {
  test(`${insn.op} src=${insn.src} reads ${expected}`, () => assert.deepEqual(readsOf(insn), expected));
}

test("jump targets count from the next slot", () => {
  assert.equal(targetOf({ op: "JA", pc: 19, off: -7 }), 13);
  assert.equal(targetOf({ op: "EXIT", pc: 19, off: 0 }), -1);
});
