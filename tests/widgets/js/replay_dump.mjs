// node replay_dump.mjs TRACE STEP... -> JSON: registers of the running frame before each step, the
// arena's pages and objects after the last step, and the sentences of all steps.

import { readFileSync } from "node:fs";
import { openPayload } from "../../../workbench/widgets/js/payload.js";
import { openRun, registersAfter } from "../../../workbench/widgets/js/replay.js";
import { Memory, pageOf } from "../../../workbench/widgets/js/memory.js";
import { findObjects } from "../../../workbench/widgets/js/objects.js";
import { explain } from "../../../workbench/widgets/js/explain.js";

const [path, ...steps] = process.argv.slice(2);
const bytes = new Uint8Array(readFileSync(path));
const run = openRun(await openPayload(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
const memory = new Memory(run);

function registers(step) {
  const frame = 11 * run.columns.depth[Math.min(step, run.n - 1)];
  return Array.from(registersAfter(run, step).subarray(frame, frame + 11), String);
}

function pages() {
  const found = {};
  for (let number = 0; number < (run.arena?.pages ?? 0); number++) {
    const page = memory.pageAfter(pageOf(run.arena.start) + number, run.n - 1);
    if (page) found[number] = Buffer.from(page.bytes).toString("hex");
  }
  return found;
}

function objects() {
  return findObjects(run, memory, run.n - 1).objects.map(({ address, name, fields }) => ({
    address: String(address), name, fields: Object.fromEntries(fields.map(({ name: field, text }) => [field, text])),
  }));
}

console.log(JSON.stringify({
  registers: Object.fromEntries(steps.map((step) => [step, registers(Number(step))])),
  pages: pages(),
  objects: objects(),
  sentences: Array.from({ length: run.n }, (_, t) => explain(run, memory, t)),
}));
