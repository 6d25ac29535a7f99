// The recorded run that these tests share: tests/support/stepper_synthetic.py writes it.

import { readFileSync } from "node:fs";
import { openPayload } from "../../../workbench/widgets/js/payload.js";
import { openRun } from "../../../workbench/widgets/js/replay.js";

const read = (name) => readFileSync(new URL(name, import.meta.url));

export const bytes = () => new Uint8Array(read("list_sum.trace"));
export const view = (array) => new DataView(array.buffer, array.byteOffset, array.byteLength);
export const states = JSON.parse(read("list_sum.json"));
export const listSum = async () => openRun(await openPayload(view(bytes())));
