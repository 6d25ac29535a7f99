// Memory at any step: the page's last base (initial bytes, or zero since its allocation) and the
// writes since then. Each page keeps checkpoints, so that a million writes to it cost no more.

import { ABSENT, WRITE, lowerBound } from "./replay.js";

export const PAGE = 4096;
const CHECKPOINT = 2048; // writes of one page between two of its checkpoints
const CHANGES = new Set(["alloc", "user_fault", "free"]); // page events that change what a page holds
const INITIAL = -1; // `writers` of bytes that no recorded step wrote

/** Page number of a 64-bit address; 52 bits, so an exact JavaScript number. */
export const pageOf = (address) => Number(address >> 12n);

export class Memory {
  constructor(run) {
    this.run = run;
    this.low = words(run.columns.address);
    this.newLow = words(run.columns.new);
    this.pages = new Map(); // page number -> history
    this.atStep = new Map(); // page number -> its state after the step last asked for
    this.firstArenaPage = run.arena ? pageOf(run.arena.start) : 0;
    this.writes = this.#indexWrites();
  }

  /** Steps that wrote to each page, in order. */
  #indexWrites() {
    const { n, columns: { access, size } } = this.run;
    const writes = new Map();
    const add = (page, t) => {
      const list = writes.get(page);
      if (list) list.push(t);
      else writes.set(page, [t]);
    };
    for (let t = 0; t < n; t++) {
      if (!(access[t] & WRITE) || access[t] & ABSENT || !size[t]) continue;
      const page = this.low[2 * t + 1] * 0x100000 + (this.low[2 * t] >>> 12);
      add(page, t);
      if ((this.low[2 * t] & (PAGE - 1)) + size[t] > PAGE) add(page + 1, t);
    }
    return writes;
  }

  /** Page after step t: {bytes, writers} or null if absent; writers = step that wrote each byte, or -1. */
  pageAfter(page, t) {
    if (this.step !== t) this.atStep.clear();
    this.step = t;
    if (!this.atStep.has(page)) this.atStep.set(page, this.#stateAfter(page, t));
    return this.atStep.get(page);
  }

  #stateAfter(page, t) {
    const history = this.#history(page);
    const state = this.#restore(history, lowerBound(history.steps, t + 1) - 1);
    return state.present ? state : null;
  }

  /** The bytes [start, start + size) after step t, or null where a page is absent. */
  read(start, size, t) {
    const bytes = new Uint8Array(size);
    for (let done = 0; done < size;) {
      const at = start + BigInt(done), from = Number(at & 0xfffn), length = Math.min(size - done, PAGE - from);
      const page = this.pageAfter(pageOf(at), t);
      if (!page) return null;
      bytes.set(page.bytes.subarray(from, from + length), done);
      done += length;
    }
    return bytes;
  }

  /** Step that last put this byte's content there before step t; -1: it was there from the start. */
  writerBefore(address, t) {
    const state = this.pageAfter(pageOf(address), t - 1);
    return state ? state.writers[Number(address & 0xfffn)] : INITIAL;
  }

  /** Steps that changed bytes of [start, start + size), by a write or by a page event, in order. */
  changesOf(start, size) {
    const found = new Set(), end = start + BigInt(size), { columns } = this.run;
    for (let page = pageOf(start); page <= pageOf(end - 1n); page++) {
      const { steps, codes } = this.#history(page);
      steps.forEach((t, i) => {
        const inside = columns.address[t] < end && columns.address[t] + BigInt(columns.size[t]) > start;
        if (codes[i] || inside) found.add(t);
      });
    }
    return Int32Array.from(found).sort();
  }

  /** Writes and page events of one page, merged in order of steps; made when first looked at. */
  #history(page) {
    let history = this.pages.get(page);
    if (!history) {
      history = this.#merge(page);
      history.checkpoints = [];
      history.page = page;
      this.pages.set(page, history);
    }
    return history;
  }

  #merge(page) {
    const writes = this.writes.get(page) ?? [];
    const events = this.#eventsOf(page);
    const steps = [], codes = [];
    for (let w = 0, e = 0; w < writes.length || e < events.length;) {
      const event = e < events.length && (w >= writes.length || events[e].step <= writes[w]);
      steps.push(event ? events[e].step : writes[w]);
      codes.push(event ? events[e++].kind : (w++, "")); // "" marks a write
    }
    return { steps, codes };
  }

  #eventsOf(page) {
    const { columns: { event_step, event_page, event_count }, kinds } = this.run;
    const number = page - this.firstArenaPage, found = [];
    if (!this.run.arena || this.#regionOf(page)) return found;
    for (let i = 0; i < kinds.length; i++) {
      const inside = number >= event_page[i] && number < event_page[i] + event_count[i];
      if (inside && CHANGES.has(kinds[i])) found.push({ step: event_step[i], kind: kinds[i] });
    }
    return found;
  }

  /** State after the first `entry + 1` items of the page's history. */
  #restore(history, entry) {
    const { checkpoints } = history;
    while (checkpoints.length * CHECKPOINT <= entry + 1) {
      checkpoints.push(this.#advance(history, checkpoints.length * CHECKPOINT));
    }
    return this.#advance(history, entry + 1);
  }

  /** Replay from the nearest checkpoint up to (not including) item `end`. */
  #advance(history, end) {
    const { checkpoints, steps, codes, page } = history;
    const from = Math.min(Math.floor(end / CHECKPOINT), checkpoints.length - 1);
    const state = from < 0 ? this.#start(page) : copy(checkpoints[from]);
    for (let i = Math.max(from, 0) * CHECKPOINT; i < end; i++) {
      if (codes[i]) rebase(state, codes[i] !== "free", steps[i]);
      else this.#write(state, page, steps[i]);
    }
    return state;
  }

  #start(page) {
    const bytes = this.#initial(page);
    const writers = new Int32Array(PAGE).fill(INITIAL);
    return { present: bytes !== null, bytes: bytes ?? new Uint8Array(PAGE), writers };
  }

  #write(state, page, t) {
    const size = this.run.columns.size[t];
    const first = this.low[2 * t + 1] * 0x100000 + (this.low[2 * t] >>> 12);
    const shift = (this.low[2 * t] & (PAGE - 1)) - (page - first) * PAGE;
    for (let i = 0; i < size; i++) {
      const at = shift + i;
      if (at < 0 || at >= PAGE) continue;
      state.bytes[at] = this.newLow[2 * t + (i >> 2)] >>> (8 * (i & 3));
      state.writers[at] = t;
    }
  }

  /** Content of a page before step 0, or null where there is none. */
  #initial(page) {
    const { columns } = this.run, region = this.#regionOf(page);
    if (region) return this.#regionPage(region, page);
    const { page_number, page_bytes } = columns;
    const index = this.run.arena ? page_number.indexOf(page - this.firstArenaPage) : -1;
    return index < 0 ? null : page_bytes.slice(index * PAGE, (index + 1) * PAGE);
  }

  #regionOf(page) {
    const start = BigInt(page) << 12n;
    return this.run.regions.find((region) => start < region.end && start + 4096n > region.start);
  }

  /** A region's page, zero where the recorded content ends. */
  #regionPage(region, page) {
    const bytes = new Uint8Array(PAGE);
    const skip = Number((BigInt(page) << 12n) - region.start) + region.offset;
    const from = Math.max(skip, region.offset);
    const source = this.run.columns.region_bytes.subarray(from, Math.min(skip + PAGE, region.offset + region.size));
    bytes.set(source, from - skip);
    return bytes;
  }
}

const words = (column) => new Uint32Array(column.buffer, column.byteOffset, 2 * column.length);

const copy = (state) => ({ ...state, bytes: state.bytes.slice(), writers: state.writers.slice() });

function rebase(state, present, step) {
  state.present = present;
  state.bytes.fill(0);
  state.writers.fill(present ? step : INITIAL);
}
