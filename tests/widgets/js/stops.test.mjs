import test from "node:test";
import assert from "node:assert/strict";
import { parseExpression } from "../../../workbench/widgets/js/expression.js";
import { isHit, nearestHit, openStop } from "../../../workbench/widgets/js/stops.js";
import { registersAt } from "../../../workbench/widgets/js/replay.js";
import { line, out, over } from "../../../workbench/widgets/js/moves.js";
import { listSum } from "./list_sum.mjs";

const run = await listSum();
const value = (text, scope = {}) => parseExpression(text, Object.fromEntries(Object.keys(scope).map((k) => [k, (s) => s[k]]))).evaluate(scope);

const VALUES = {
  "1 + 2 * 3": 7n, "(1 + 2) * 3": 9n, "-1": (1n << 64n) - 1n, "-1 s< 0": 1n, "-1 < 0": 0n, "!5": 0n, "!!5": 1n, "~0 >> 60": 15n,
  "7 / 0": 0n, "7 % 0": 7n, "0x10 == 16 && 2 > 1": 1n, "0 || 0": 0n, "1 << 64": 1n, "6 & 3 == 3": 0n, "1-1": 0n, "10 % 4 != 2": 0n,
  "0xffffffffffffffff + 1": 0n, "-3 s>= -4": 1n, "2 | 1 ^ 1": 2n,
};
for (const [text, expected] of Object.entries(VALUES)) test(`${text} is ${expected}`, () => assert.equal(value(text), expected));

test("numbers beyond 2^53 stay exact", () => assert.equal(value("x == 0x8000000000000001", { x: 0x8000000000000001n }), 1n));

const REFUSED = {
  "r0 ==": /ends too early/, "(1": /\) is missing/, "r0 = 5": /'=' was not expected/, "frobs > 1": /'frobs' is not known.*r0 to r10/,
  "1 2": /'2' was not expected/, "constructor": /not known/, "99": /no instruction 99/, "line 999": /no instruction belongs to line 999/,
  "write nowhere": /not a place in memory/, "write r1": /not a place in memory/, "16 if": /ends too early/, "": /say where to stop/,
};
for (const [text, message] of Object.entries(REFUSED)) {
  test(`'${text}' is refused with a reason`, () => {
    const stop = openStop(run, text);
    assert.match(stop.error, message);
    assert.equal(stop.hits.length, 0);
  });
}

const every = (first, count, period) => Array.from({ length: count }, (_, i) => first + i * period);
const HITS = {
  16: every(14, 20, 9), "line 4": every(15, 20, 9), "r0 == 1": [15], "16 if r0 > 400": [],
  "write arena+0x4000": every(17, 20, 9), "touch page 6": [192, 193], "read page 4": [], "write page 6": [193],
  fault: [192, 193], alloc: [6], call: every(14, 20, 9), "step 42": [42], "step 9999": [], "write stack+0xff8": [195],
  "write arena+0x4000 if new == 590": [188], atomic: [], "frame == 1 && r0 == 1": [15],
};
for (const [text, expected] of Object.entries(HITS)) {
  test(`'${text}' stops at ${expected.length} steps`, () => {
    const { hits, error } = openStop(run, text);
    assert.equal(error, undefined);
    if (text.startsWith("16 if")) assert.ok(hits.every((t) => run.columns.pc[t] === 16 && registersAt(run, t).before[0] > 400n));
    else assert.deepEqual([...hits], expected);
  });
}

test("a watch stops where a helper writes, and not at a register that it sets", () => {
  const { address } = run.columns, start = address[195];
  const columns = { ...run.columns, change_step: [6, 6, 9], change_address: [start + 8n, start, 11n], change_size: [8, 2, 0] };
  const helped = { ...run, columns };
  const hits = (text) => [...openStop(helped, text).hits];
  assert.deepEqual(hits("write stack+0xff8"), [6, 195]);
  assert.deepEqual(hits("write stack+0xff8:1"), [6, 195]);
  assert.deepEqual(hits("write stack+0xffa:1"), [195]);
  assert.deepEqual(hits("read stack+0xff8"), [...openStop(run, "read stack+0xff8").hits]);
});

test("a condition is hit where it becomes true, whatever the registers that it names", () => {
  for (const text of ["r1 == 0", "r2 s> 5", "r0 > 100 && r2 < 20", "w9 == 0x10000040", "r10 != 0xffffc90000001000"]) {
    const { evaluate } = parseExpression(text, Object.fromEntries(Array.from({ length: 11 }, (_, r) => [[`r${r}`, (s) => s[r]], [`w${r}`, (s) => s[r] & 0xffffffffn]]).flat()));
    const states = Array.from({ length: run.n }, (_, t) => registersAt(run, t).before); // before each step, in its own frame
    const holds = states.map((regs) => evaluate(regs) !== 0n);
    const expected = holds.flatMap((now, t) => (t && now && !holds[t - 1] ? [t - 1] : []));
    assert.deepEqual([...openStop(run, text).hits].filter((t) => t < run.n - 1), expected, text);
  }
});

test("hits of several stops are found in both directions, and a hit is not found twice", () => {
  const stops = [16, "fault", "nonsense !"].map((stop) => openStop(run, stop));
  assert.equal(nearestHit(stops, 14, 1), 23);
  assert.equal(nearestHit(stops, 190, 1), 192);
  assert.equal(nearestHit(stops, 192, -1), 185);
  assert.equal(nearestHit(stops, 193, 1), -1);
  assert.equal(nearestHit([], 5, 1), -1);
  assert.ok(isHit(stops, 23) && !isHit(stops, 24));
});

test("over, out and line, forwards and backwards", () => {
  assert.deepEqual([over(run, 14, 1), over(run, 17, -1), over(run, 16, 1), over(run, 15, -1)], [17, 14, 17, 14]);
  assert.deepEqual([out(run, 15, 1), out(run, 16, -1), out(run, 3, 1), out(run, 3, -1)], [17, 14, 196, 0]);
  assert.deepEqual([line(run, 0, 1), line(run, 14, 1), line(run, 15, 1), line(run, 196, 1)], [2, 15, 17, 196]);
  assert.equal(line(run, 2, -1), 0);
  for (let t = 1; t < run.n; t++) {
    const back = line(run, t, -1);
    assert.ok(back < t && (back === 0 || line(run, back, 1) <= t), `line back from ${t}`);
  }
});
