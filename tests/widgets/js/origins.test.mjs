import test from "node:test";
import assert from "node:assert/strict";
import { Memory } from "../../../workbench/widgets/js/memory.js";
import { allocationOf, originsOf, pointee, touchesOf, writesOf } from "../../../workbench/widgets/js/origins.js";
import { parsePlace, placeText } from "../../../workbench/widgets/js/places.js";
import { listSum } from "./list_sum.mjs";

const run = await listSum(), memory = new Memory(run);
const ask = (text, t) => originsOf(run, memory, parsePlace(run, text), t);
const steps = (text, t) => ask(text, t).rows.map((row) => row.step);
const slots = (text, t) => steps(text, t).map((step) => run.columns.pc[step]);

test("a pointer leads back to its allocation, its copies and casts skipped", () => {
  const { rows, end } = ask("r8", 194);
  assert.deepEqual(rows.map((row) => row.step), [6]);
  assert.deepEqual(rows[0].via, [194, 8, 7]);
  assert.match(end, /bpf_arena_alloc_pages returned it/);
});

test("a loaded value leads through memory to the store, and to what was stored", () => {
  assert.deepEqual(slots("stack+0xff8:8", 196), [23, 8]); // *(fp-8) = r8, which the kfunc returned
  const sum = ask("arena+0x4000:8", 100), store = sum.rows[0];
  assert.equal(run.columns.pc[store.step], 17);
  assert.deepEqual(sum.rows.map((row) => run.columns.pc[row.step]), [17, 25]); // the store, and r0 += r2
  assert.deepEqual(sum.rows[1].inputs, [0, 2]);
  assert.deepEqual(sum.rows[1].via.map((t) => run.columns.pc[t]), [26]); // back through the return
});

test("chains end at constants, at absent pages, and at what was there before the run", () => {
  assert.match(ask("r9", 50).end, /constant/);
  assert.match(ask("r3", 192).end, /absent/);
  assert.match(ask("r2", 13).end, /arena\+0x48 held this before the run/);
  assert.match(ask("r6", 3).end, /r6 held this value before the run/);
  assert.match(ask("r10", 15).end, /frame pointer/);
  assert.match(ask("arena+0x4010:8", 100).end, /zero from its allocation/);
});

test("an argument leads back through the call", () => {
  const { rows } = ask("r2", 15); // r2 in the called function is what the caller loaded
  assert.deepEqual(rows.map((row) => row.step), [13]);
  assert.deepEqual(rows[0].via, [14]);
});

test("writes of a register and of memory", () => {
  const sum = writesOf(run, memory, parsePlace(run, "arena+0x4000:8"));
  assert.equal(sum.length, 21); // the allocation and twenty stores
  assert.ok([...sum].every((t, i) => (i ? run.columns.pc[t] === 17 : t === 6)));
  assert.deepEqual(writesOf(run, memory, { r: 9 }), [1]);
});

test("an allocation knows its pages, and all that touch it", () => {
  const found = allocationOf(run, run.arena.start + 0x4008n, 100);
  assert.deepEqual(found, { step: 6, kind: "alloc", page: 4, count: 1, freed: -1 });
  assert.equal(touchesOf(run, found).length, 20);
  assert.equal(allocationOf(run, run.arena.start + 0x4008n, 5), null);
  assert.equal(allocationOf(run, 42n, 5), null);
  assert.equal(pointee(run, 0x10004008n), run.arena.start + 0x4008n);
  assert.equal(pointee(run, 7n), null);
});

test("places read back what they write", () => {
  for (const text of ["r3", "arena+0x1008:8", "stack+0xff8:4", "ctx+0x4:1", "0x10:2"]) assert.equal(placeText(run, parsePlace(run, text)), text);
  assert.deepEqual(parsePlace(run, "page 4"), { start: run.arena.start + 0x4000n, size: 4096 });
  assert.equal(parsePlace(run, "r11"), null);
  assert.equal(parsePlace(run, ""), null);
});
