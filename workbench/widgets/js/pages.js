// What every page of the arena was at a step: its state, who allocated it, how often it was touched.

import { ABSENT, lowerBound } from "./replay.js";
import { lastUpTo } from "./origins.js";
import { PAGE } from "./sizes.js";

const STATES = { alloc: "allocated", user_fault: "user", free: "freed", reserve: "reserved" };
export const PAGE_STATES = ["absent", "initial", "allocated", "user", "freed", "reserved"];

/** Run -> {used, at}: the page numbers that ever mattered, and `at(page, t)` after step t. */
export function openPages(run) {
  const records = new Map();
  const record = (page) => {
    if (!records.has(page)) records.set(page, { initial: false, steps: [], kinds: [], accesses: [], faults: [] });
    return records.get(page);
  };
  for (const page of run.columns.page_number) record(page).initial = true;
  readEvents(run, record);
  readAccesses(run, record);
  const used = Int32Array.from(records.keys()).sort();
  return { used, at: (page, t) => stateOf(records.get(page), t), touched: (page) => records.get(page)?.accesses ?? [] };
}

function readEvents({ columns: { event_step, event_page, event_count }, kinds }, record) {
  kinds.forEach((kind, i) => {
    if (!(kind in STATES)) return;
    for (let page = event_page[i]; page < event_page[i] + event_count[i]; page++) {
      record(page).steps.push(event_step[i]);
      record(page).kinds.push(kind);
    }
  });
}

function readAccesses({ n, arena, columns: { address, access, size } }, record) {
  if (!arena) return;
  const low = new Uint32Array(address.buffer, address.byteOffset, 2 * n);
  const high = Number(arena.start >> 32n), first = Number(arena.start & 0xffffffffn);
  for (let t = 0; t < n; t++) {
    if (!size[t]) continue;
    const distance = (low[2 * t + 1] - high) * 2 ** 32 + low[2 * t] - first; // exact: below 2^53 near the arena
    const page = Math.floor(distance / PAGE);
    if (page < 0 || page >= arena.pages) continue;
    const of = record(page);
    of.accesses.push(t);
    if (access[t] & ABSENT) of.faults.push(t);
  }
}

const NEVER = { state: "absent", since: -1, accesses: 0, faults: 0, last: -1 };

function stateOf(record, t) {
  if (!record) return NEVER;
  const event = lastUpTo(record.steps, t), accesses = lowerBound(record.accesses, t + 1);
  return {
    state: event < 0 ? (record.initial ? "initial" : "absent") : STATES[record.kinds[event]],
    since: event < 0 ? -1 : record.steps[event],
    accesses, faults: lowerBound(record.faults, t + 1), last: accesses ? record.accesses[accesses - 1] : -1,
  };
}
