import test from "node:test";
import assert from "node:assert/strict";
import { Memory } from "../../../workbench/widgets/js/memory.js";
import { explain } from "../../../workbench/widgets/js/explain.js";
import { difference, meaning, number, place } from "../../../workbench/widgets/js/words.js";
import { parseAddress } from "../../../workbench/widgets/js/places.js";
import { abstractValues } from "../../../workbench/widgets/js/registers.js";
import { listSum } from "./list_sum.mjs";

const run = await listSum();
const memory = new Memory(run);

const SENTENCES = {
  0: "r1 names the map arena.",
  1: "Sets r9 to arena+0x40.",
  4: "Sets w4 to 0xffffffff.",
  6: "bpf_arena_alloc_pages allocates 1 page, zeroed: r0 = 0x100010004000, the user address of arena+0x4000 (page 4).",
  7: "Copies r0 to r6: arena+0x4000.",
  8: "cast_kern keeps the low 32 bits of r6 = 0x100010004000: r7 = 0x10004000, the program's pointer to arena+0x4000.",
  11: "r1 (arena+0x40) == 0 is false: goes on with 14.",
  13: "Loads 8 bytes at arena+0x48 (page 0): r2 = 1. These bytes were there before the run.",
  14: "Calls the function at 25: frame 1 starts with copies of r0 to r9 and its own stack.",
  15: "r0 = 0 + 1 = 1.",
  16: "Returns to frame 0 with r0 = 1.",
  17: "Stores 8 bytes (r0 = 1) at arena+0x4000 (page 4). It was 0.",
  19: "Jumps to 13.",
  191: "r1 (0) == 0 is true: jumps to 20.",
  192: "Fault: loads 8 bytes at arena+0x6000 (page 6), but that page is absent. The load is skipped, r3 = 0, and the program goes on.",
  193: "Fault: stores 8 bytes (1) at arena+0x6000 (page 6), but that page is absent. The store is lost and the program goes on.",
  194: "cast_user gives r7 = 0x10004000 its upper half: r8 = 0x100010004000, the pointer that user space can follow.",
  195: "Stores 8 bytes (r8 = arena+0x4000) at fp-8. It was 0.",
  196: "The program returns r0 = 590. End of the run.",
};
for (const [t, expected] of Object.entries(SENTENCES)) {
  test(`step ${t}: ${expected}`, () => assert.equal(explain(run, memory, Number(t)), expected));
}

test("every step has a sentence without holes", () => {
  for (let t = 0; t < run.n; t++) assert.doesNotMatch(explain(run, memory, t), /undefined|null|NaN|\[object/);
});

test("places: user form, kernel form, stack, context, and numbers that are none", () => {
  assert.equal(place(run, 0x100010001008n), "arena+0x1008");
  assert.equal(place(run, 0x10001008n), "arena+0x1008");
  assert.equal(place(run, 0xffffc90000001000n), "fp");
  assert.equal(place(run, 0xffffc90000000ff8n), "fp-8");
  assert.equal(place(run, 0xffffc90000000ff8n, 1), "fp-8 of frame 0");
  assert.equal(place(run, 0xffffc90000000e00n, 1), "fp");
  assert.equal(place(run, 0xffff888000000004n), "ctx+0x4");
  assert.equal(place(run, 42n), null);
});

test("numbers: small ones decimal and signed, large ones hexadecimal, none rounded", () => {
  assert.equal(number(42n), "42");
  assert.equal(number(0xffffffffffffffffn), "-1");
  assert.equal(number(0x8000000000000001n), "0x8000000000000001");
  assert.equal(difference(41n, 42n), "+1");
  assert.equal(difference(0n, 0xffffffffffffffffn), "-1");
  assert.equal(difference(0n, 1n << 40n), "");
  assert.equal(meaning(run, 0xffffffffn, 0), "-1 as s32");
  assert.equal(meaning(run, 0x10000040n, 0), "arena+0x40 kern");
});

test("addresses that a reader may type", () => {
  const { start } = run.arena;
  const typed = {
    3: start + 0x3000n, "page 3": start + 0x3000n, "arena+0x1008": start + 0x1008n, arena: start,
    "0x10001008": start + 0x1008n, "0x100010001008": start + 0x1008n,
    stack: 0xffffc90000000000n, "ctx+8": 0xffff888000000008n, "": null, nonsense: null, "arena+": start, "-1": null,
  };
  for (const [text, address] of Object.entries(typed)) assert.equal(parseAddress(run, text), address, text);
});

test("what the verifier knew, register by register", () => {
  const states = { 5: [
    "0: R0=scalar(umin=1,umax=5,var_off=(0x0; 0x7)) R1=arena R10=fp0 fp-8=mmmmmmmm",
    "R0=7 R1_w=arena R10=fp0",
  ] };
  const known = abstractValues({ meta: { states } }, 5);
  assert.deepEqual(known[0], ["scalar(umin=1,umax=5,var_off=(0x0; 0x7))", "7"]);
  assert.deepEqual([known[1], known[10], known[2]], [["arena"], ["fp0"], undefined]);
  assert.deepEqual(abstractValues({ meta: {} }, 5), []);
});
