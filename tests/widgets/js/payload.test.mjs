import test from "node:test";
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { openPayload } from "../../../workbench/widgets/js/payload.js";
import { bytes, view } from "./list_sum.mjs";

test("opens plain and compressed bytes alike", async () => {
  const plain = await openPayload(view(bytes()));
  const packed = await openPayload(view(new Uint8Array(gzipSync(bytes()))));
  assert.equal(plain.n, 197);
  assert.deepEqual(packed.columns.value, plain.columns.value);
  assert.equal(plain.meta.name, "list_sum");
});

test("opens bytes that do not start at a multiple of eight", async () => {
  const shifted = new Uint8Array(bytes().length + 3);
  shifted.set(bytes(), 3);
  const { n } = await openPayload(new DataView(shifted.buffer, 3));
  assert.equal(n, 197);
});

test("64-bit columns are exact", async () => {
  const { columns } = await openPayload(view(bytes()));
  assert.equal(columns.value[0], 0xffff888123456700n);
});

const damaged = [
  ["cut short", (b) => b.slice(0, -100), /cut short: 100 bytes/],
  ["cut in its header", (b) => b.slice(0, 60), /cut short/],
  ["of another kind", (b) => new Uint8Array([...b].reverse()), /not a recorded run/],
  ["of another version", (b) => b.with(8, 9), /version 9/],
  ["compressed and cut", (b) => new Uint8Array(gzipSync(b)).slice(0, -50), /cut short or damaged/],
];
for (const [name, damage, message] of damaged) {
  test(`says what is wrong with bytes that are ${name}`, async () => {
    await assert.rejects(openPayload(view(damage(bytes()))), message);
  });
}
