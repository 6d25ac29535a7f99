import test from "node:test";
import assert from "node:assert/strict";
import { Memory, pageOf } from "../../../workbench/widgets/js/memory.js";
import {
  callChain, faultSteps, lowerBound, nearest, nextAtPc, openRun, registersAfter, registersAt,
} from "../../../workbench/widgets/js/replay.js";
import { listSum, states } from "./list_sum.mjs";

test("registers after any number of steps are those of the machine", async () => {
  const run = await listSum();
  for (const { step, regs } of states) {
    const expected = regs.flat().map((text) => BigInt(`0x${text}`));
    assert.deepEqual(Array.from(registersAfter(run, step)), expected, `after ${step} steps`);
  }
});

test("memory after any number of steps is that of the machine", async () => {
  const run = await listSum(), memory = new Memory(run);
  const firstPage = pageOf(run.arena.start), stackPage = pageOf(run.regions[0].start);
  for (const { step, pages, stack } of states.toReversed()) {
    for (let number = 0; number < 8; number++) {
      const page = memory.pageAfter(firstPage + number, step - 1);
      assert.deepEqual(page && sparse(page.bytes), pages[number] ?? null, `page ${number}, ${step} steps`);
    }
    assert.deepEqual(sparse(memory.pageAfter(stackPage, step - 1).bytes), stack);
  }
});

const sparse = (bytes) => Object.fromEntries(Array.from(bytes, (b, i) => [i, b]).filter(([, b]) => b));

test("a step's own registers: before, after, and the frame it ran in", async () => {
  const run = await listSum();
  const { frame, before, after } = registersAt(run, 15); // r0 += r2 in the called function
  assert.equal(frame, 1);
  assert.deepEqual([before[0], before[2], after[0]], [0n, 1n, 1n]);
  assert.equal(before[10], 0xffffc90000000e00n);
  assert.deepEqual(callChain(run, 15), [14]);
  assert.deepEqual(callChain(run, 17), []);
});

test("each byte knows the step that wrote it", async () => {
  const run = await listSum(), memory = new Memory(run);
  const sum = run.arena.start + 0x4000n;
  assert.equal(memory.writerBefore(run.arena.start + 0x40n, 100), -1);
  assert.equal(memory.writerBefore(sum + 8n, 100), 6); // the allocation zeroed it
  const writer = memory.writerBefore(sum, 100);
  assert.equal(run.columns.pc[writer], 17);
  assert.equal(nextAtPc(run, [17], 100, -1), writer);
});

test("jumps to events find the nearest one in both directions", async () => {
  const run = await listSum();
  assert.deepEqual([...faultSteps(run)], [192, 193]);
  assert.equal(nearest(faultSteps(run), 0, 1), 192);
  assert.equal(nearest(faultSteps(run), 193, -1), 192);
  assert.equal(nearest(faultSteps(run), 193, 1), -1);
  assert.equal(run.casts.length, 22);
  assert.deepEqual([...run.pageEvents], [6]);
  assert.equal(nextAtPc(run, [16], 14, 1), 23);
  assert.equal(nextAtPc(run, [16], 23, -1), 14);
  assert.equal(nextAtPc(run, [], 23, -1), -1);
});

test("lowerBound finds the first element that is not smaller", () => {
  assert.deepEqual([0, 1, 2, 5, 9].map((t) => lowerBound([1, 2, 2, 8], t)), [0, 0, 1, 3, 4]);
});

test("a page that is freed and allocated again starts from zero, and writes may cross pages", async () => {
  const run = openRun(smallRun());
  const memory = new Memory(run);
  const at = (step) => memory.pageAfter(16, step)?.bytes.subarray(4092, 4096);
  assert.equal(at(-1), undefined);
  assert.deepEqual([...at(0)], [0, 0, 0, 0]);
  assert.deepEqual([...at(1)], [0x88, 0x77, 0x66, 0x55]);
  assert.deepEqual([...memory.pageAfter(17, 1).bytes.subarray(0, 4)], [0x44, 0x33, 0x22, 0x11]);
  assert.equal(at(2), undefined);
  assert.deepEqual([...at(3)], [0, 0, 0, 0]);
});

test("a page written a hundred thousand times is exact at every distance from its checkpoints", () => {
  const n = 100_000, run = openRun(counterRun(n)), memory = new Memory(run);
  for (const t of [n - 1, 0, 2047, 2048, 2049, 65_535, 50_000]) {
    const { bytes, writers } = memory.pageAfter(16, t);
    assert.equal(new DataView(bytes.buffer).getBigUint64(0, true), BigInt(t));
    assert.equal(writers[0], t);
  }
});

/** Steps 0: allocate pages 0 and 1, 1: store across both, 2: free, 3: allocate again. */
function smallRun() {
  const events = [[0, 0, 0, 2], [2, 1, 0, 2], [3, 0, 0, 2]];
  return payload(4, (c) => {
    Object.assign(c, columnsOf(events));
    store(c, 1, 0x10ffcn, 0x1122334455667788n);
  });
}

/** n steps that each store their number at the arena's start. */
function counterRun(n) {
  return payload(n, (c) => {
    Object.assign(c, columnsOf([[0, 0, 0, 1]]));
    c.event_step[0] = 0;
    for (let t = 0; t < n; t++) store(c, t, 0x10000n, BigInt(t));
  });
}

function store(c, t, address, value) {
  c.address[t] = address;
  c.new[t] = value;
  c.size[t] = 8;
  c.access[t] = 2;
}

function columnsOf(events) {
  const [step, kind, page, count] = [0, 1, 2, 3].map((i) => events.map((event) => event[i]));
  return {
    event_step: Uint32Array.from(step), event_kind: Uint8Array.from(kind),
    event_page: Int32Array.from(page), event_count: Uint32Array.from(count),
  };
}

function payload(n, fill) {
  const columns = {
    pc: new Uint32Array(n), depth: new Uint8Array(n), reg: new Uint8Array(n).fill(255), size: new Uint8Array(n),
    access: new Uint8Array(n), value: new BigUint64Array(n), address: new BigUint64Array(n),
    old: new BigUint64Array(n), new: new BigUint64Array(n), key_regs: new BigUint64Array(88),
    key_depth: new Uint8Array(1), page_number: new Int32Array(0), page_bytes: new Uint8Array(0),
    region_bytes: new Uint8Array(0),
  };
  fill(columns);
  const meta = {
    instructions: [{ pc: 0, op: "STX64", dst: 1, src: 0, off: 0, imm: "0", text: "*(u64 *)(r1 + 0) = r0" }],
    lines: [], arena: { user_start: "65536", user_end: "131072", pages: 16, flags: [] }, regions: [],
    stop: { kind: "exit" }, event_kinds: ["alloc", "free", "user_fault"], key_interval: 256,
  };
  return { meta, columns, n };
}

test("what an instruction does comes along with it", async () => {
  const { insns, enters } = await listSum();
  const { reads, kind } = insns[8]; // a call of bpf_arena_alloc_pages, whose second argument is ignored
  assert.deepEqual([reads, kind], [[1, 3, 4, 5], "call"]);
  assert.deepEqual([insns[13].sign, insns[13].target, insns[25].sign], ["==", 20, "+"]);
  assert.deepEqual(enters.flatMap((begins, slot) => (begins ? [slot] : [])), [16]);
});
