import test from "node:test";
import assert from "node:assert/strict";
import { panelAt, shares } from "../../../workbench/widgets/brush.js";

const upper = [0.1, 0.1, 0.9, 0.5], lower = [0.1, 0.6, 0.9, 0.9];

test("a point lies in one panel or in none", () => {
  assert.equal(panelAt([upper, lower], 0.5, 0.7), lower);
  assert.equal(panelAt([upper, lower], 0.5, 0.55), null);
});
test("corners in any order become shares, upwards, cut at the edges", () => {
  assert.deepEqual(shares(upper, { x: 0.5, y: 0.5 }, { x: 0.3, y: 0.3 }).map((v) => Math.round(100 * v)), [25, 0, 50, 50]);
  assert.deepEqual(shares(upper, { x: 0.5, y: 0.3 }, { x: 2, y: -1 }).map((v) => Math.round(100 * v)), [50, 50, 100, 100]);
});
