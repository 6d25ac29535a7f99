// Memory at any step: the page's last base (initial bytes, or zero since its allocation) and the
// writes since then. Each page keeps checkpoints, so that a million writes to it cost no more.
// A write is a number: below n the step that made it, from n on a row of what helpers changed.

import { ABSENT, WRITE, lowerBound } from "./replay.js";
import { PAGE, PAGE_BYTES, PAGE_SHIFT } from "./sizes.js";

const CHECKPOINT = 2048; // writes of one page between two of its checkpoints, which take 20 KiB each
const CHANGES = new Set(["alloc", "user_fault", "free"]); // page events that change what a page holds
const INITIAL = -1; // `writers` of bytes that no recorded step wrote

/** Page number of a 64-bit address; 52 bits, so an exact JavaScript number. */
export const pageOf = (address) => Number(address >> PAGE_SHIFT);

export class Memory {
  constructor(run) {
    this.run = run;
    const { address, size, new: written, change_address = [], change_size = [], change_new = [] } = run.columns;
    this.own = { address, size, low: words(address), newLow: words(written) };
    this.helped = { address: change_address, size: change_size, low: words(change_address), newLow: words(change_new) };
    this.pages = new Map(); // page number -> history
    this.atStep = new Map(); // page number -> its state after the step last asked for
    this.firstArenaPage = run.arena ? pageOf(run.arena.start) : 0;
    this.writes = this.#indexWrites();
  }

  /** Steps that wrote to each page, in order. */
  #indexWrites() {
    const { n, columns: { access, size, change_step = [] } } = this.run;
    const writes = new Map();
    const add = (page, write) => {
      const list = writes.get(page);
      if (list) list.push(write);
      else writes.set(page, [write]);
    };
    const addTo = ({ low, size }, at, write) => {
      const page = pageAt(low, at);
      add(page, write);
      if ((low[2 * at] & (PAGE - 1)) + size[at] > PAGE) add(page + 1, write);
    };
    for (let t = 0, row = 0; t < n; t++) {
      if (access[t] & WRITE && !(access[t] & ABSENT) && size[t]) addTo(this.own, t, t);
      for (; change_step[row] === t; row++) if (this.helped.size[row]) addTo(this.helped, row, n + row);
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
      const at = start + BigInt(done), from = Number(at % PAGE_BYTES), length = Math.min(size - done, PAGE - from);
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
    return state ? state.writers[Number(address % PAGE_BYTES)] : INITIAL;
  }

  /** The columns that hold a write, its row in them, and its step. */
  #written(write) {
    const { n, columns: { change_step } } = this.run;
    return write < n ? { of: this.own, at: write, t: write } : { of: this.helped, at: write - n, t: change_step[write - n] };
  }

  /** Did a helper, and not the instruction itself, write something at step t? */
  helperWrote(t) {
    const { change_step = [] } = this.run.columns;
    for (let row = lowerBound(change_step, t); change_step[row] === t; row++) if (this.helped.size[row]) return true;
    return false;
  }

  /** Steps that changed bytes of [start, start + size), by a write or by a page event, in order. */
  changesOf(start, size) {
    const found = new Set(), end = start + BigInt(size);
    for (let page = pageOf(start); page <= pageOf(end - 1n); page++) {
      const { steps, codes } = this.#history(page);
      steps.forEach((t, i) => {
        if (typeof codes[i] === "string") return found.add(t);
        const { of, at } = this.#written(codes[i]);
        return of.address[at] < end && of.address[at] + BigInt(of.size[at]) > start && found.add(t);
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
      const event = e < events.length && (w >= writes.length || events[e].step <= this.#written(writes[w]).t);
      steps.push(event ? events[e].step : this.#written(writes[w]).t);
      codes.push(event ? events[e++].kind : writes[w++]);
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
      if (typeof codes[i] === "string") rebase(state, codes[i] !== "free", steps[i]);
      else this.#write(state, page, codes[i]);
    }
    return state;
  }

  #start(page) {
    const bytes = this.#initial(page);
    const writers = new Int32Array(PAGE).fill(INITIAL);
    return { present: bytes !== null, bytes: bytes ?? new Uint8Array(PAGE), writers };
  }

  #write(state, page, write) {
    const { of: { size, low, newLow }, at, t } = this.#written(write);
    const shift = (low[2 * at] & (PAGE - 1)) - (page - pageAt(low, at)) * PAGE;
    for (let i = 0; i < size[at]; i++) {
      const to = shift + i;
      if (to < 0 || to >= PAGE) continue;
      state.bytes[to] = newLow[2 * at + (i >> 2)] >>> (8 * (i & 3));
      state.writers[to] = t;
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
    const start = BigInt(page) << PAGE_SHIFT;
    return this.run.regions.find((region) => start < region.end && start + PAGE_BYTES > region.start);
  }

  /** A region's page, zero where the recorded content ends. */
  #regionPage(region, page) {
    const bytes = new Uint8Array(PAGE);
    const skip = Number((BigInt(page) << PAGE_SHIFT) - region.start) + region.offset;
    const from = Math.max(skip, region.offset);
    const source = this.run.columns.region_bytes.subarray(from, Math.min(skip + PAGE, region.offset + region.size));
    bytes.set(source, from - skip);
    return bytes;
  }
}

const words = (column) => (column.length ? new Uint32Array(column.buffer, column.byteOffset, 2 * column.length) : []);

const pageAt = (low, at) => low[2 * at + 1] * (2 ** 32 / PAGE) + Math.floor(low[2 * at] / PAGE);

const copy = (state) => ({ ...state, bytes: state.bytes.slice(), writers: state.writers.slice() });

function rebase(state, present, step) {
  state.present = present;
  state.bytes.fill(0);
  state.writers.fill(present ? step : INITIAL);
}
