// Two runs that move together, and changes as text.

import assert from "node:assert/strict";
import test from "node:test";
import { counterpart, otherModel } from "../../../workbench/widgets/js/beside.js";
import { parseChange } from "../../../workbench/widgets/js/whatif.js";
import { listSum } from "./list_sum.mjs";

const STRETCHES = [[0, 10, 0, 10, true], [10, 14, 10, 10, false], [14, 20, 10, 16, true], [20, 20, 16, 19, false]];

function jupyterModel(state) {
  const listeners = {};
  return {
    sent: 0, get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const f of listeners[`change:${name}`] ?? []) f();
    },
    on: (event, f) => { (listeners[event] ??= []).push(f); },
    off: (event, f) => { listeners[event] = listeners[event].filter((g) => g !== f); },
    save_changes() { this.sent++; },
  };
}

test("a step stands for the same instruction of the other run, or for where it goes on", () => {
  assert.deepEqual([0, 9, 10, 13, 14, 19].map((t) => counterpart(STRETCHES, t)), [0, 9, 10, 10, 10, 15]);
});

test("each view leads the other, and following leads nowhere", () => {
  const model = jupyterModel({ t: 15, aligned: { stretches: STRETCHES, differs: [[14], [17]] }, other: new DataView(new ArrayBuffer(0)) });
  const other = otherModel(model), seen = [];
  other.on("change:t", () => seen.push(other.get("t")));
  assert.equal(other.get("t"), 11);
  assert.deepEqual(other.get("differs"), [17]);
  model.set("t", 19);
  assert.deepEqual(seen, [15]);
  other.set("t", 18);
  assert.equal(other.get("t"), 18);
  assert.equal(model.get("t"), 20);
  assert.equal(model.sent, 1);
  other.close();
  model.set("t", 3);
  assert.equal(other.get("t"), 18);
});

test("a change is a place and a number of 64 bits, kept as text", async () => {
  const run = await listSum();
  assert.deepEqual(parseChange(run, "r3 = 18446744073709551615"), { place: { r: 3 }, value: "18446744073709551615" });
  assert.deepEqual(parseChange(run, "arena+0x10:4 = -2").place, { start: run.arena.start + 16n, size: 4 });
  for (const text of ["r10 = 1", "r3 == 1", "page 4 = 1", "r3 = x", "= 4", ""]) assert.ok(parseChange(run, text).error, text);
});
