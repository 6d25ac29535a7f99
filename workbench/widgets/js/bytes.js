// Memory as bytes, around the last access or at a page that the reader asks for.

import { ABSENT, WRITE } from "./replay.js";
import { pageOf } from "./memory.js";
import { accessVerb } from "./explain.js";
import { parseAddress, parsePlace } from "./places.js";
import { hex, hexByte, number, place, where } from "./words.js";
import { button, h, setClass, setText } from "./dom.js";
import { PAGE } from "./sizes.js";

const ROWS = 8, COLUMNS = 16; // of bytes in view
const WINDOW = BigInt(ROWS * COLUMNS);

/** Builds the pane. It follows the accesses until the reader asks for an address. */
export function createBytes(session) {
  const { run, memory } = session;
  let start = 0n, follow = true;
  const rows = Array.from({ length: ROWS }, () => byteRow());
  const title = h("span", { class: "stp-where" }), caption = h("div", { class: "stp-caption" });
  const input = h("input", {
    type: "text", class: "stp-address", "aria-label": "Go to address or page", spellcheck: "false",
    placeholder: "page or address", title: "Page number, arena+0x1000, stack, ctx or 0x…; with a size, as in arena+0x1000:8, the bytes are selected", size: 14,
    onchange: () => seek(input.value),
  });
  const followBox = h("input", { type: "checkbox", onchange: () => { follow = followBox.checked; draw(); } });
  const move = (distance) => { stay(start + distance); draw(); };
  const body = h("tbody", {}, ...rows.map((row) => row.element));
  const element = h("div", { class: "stp-memory" },
    h("div", { class: "stp-head" }, title,
      h("span", { class: "stp-tools" },
        h("label", {}, followBox, "follow"),
        button("Previous 128 bytes", () => move(-WINDOW), "‹"),
        button("Next 128 bytes", () => move(WINDOW), "›"), input)),
    h("table", { class: "stp-bytes" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "offset"),
        ...Array.from({ length: COLUMNS }, (_, i) => h("th", { scope: "col", class: i === 8 ? "stp-gap" : "" }, i.toString(16))),
        h("th", { scope: "col", class: "stp-word" }, "as u64 at +0"), h("th", { scope: "col", class: "stp-word" }, "at +8"))),
      body),
    caption);

  function stay(address) {
    follow = false;
    start = BigInt.asUintN(64, address) & ~0xfn;
  }

  function seek(text) {
    const place = /:\s*\d+\s*$/.test(text) ? parsePlace(run, text) : null, address = place?.start ?? parseAddress(run, text);
    input.setAttribute("aria-invalid", String(address === null));
    if (address === null) return;
    stay(address);
    if (place) session.select(place);
    else draw();
  }

  function draw() {
    followBox.checked = follow;
    const { t } = session, last = run.lastAccess[t];
    if (follow) start = last < 0 ? firstWindow(run) : windowAt(run, last);
    const view = { run, memory, t, access: accessOf(run, t), picked: pickedRange(session) };
    setText(title, titleText(view, start));
    rows.forEach((row, i) => row.update(view, start + BigInt(i * COLUMNS)));
    setText(caption, captionText(run, t, last));
  }

  /** Select the bytes that were written together with the clicked one; a word where a word was clicked. */
  function pick(event) {
    const cell = event.target.closest("td"), row = cell?.parentElement;
    if (!row) return null;
    const base = start + BigInt(rows.findIndex((r) => r.element === row) * COLUMNS), column = cell.cellIndex - 1;
    if (column >= COLUMNS) return { start: base + BigInt(8 * (column - COLUMNS)), size: 8 };
    return writtenTogether(session, base + BigInt(column));
  }
  body.addEventListener("click", (event) => { const place = pick(event); if (place) session.select(place); });
  body.addEventListener("dblclick", () => session.toggleWatch());

  return {
    element, update: draw,
    /** Bring an address into view and stay there. */
    reveal(address) {
      if (address >= start && address < start + WINDOW) return;
      stay(address & ~(WINDOW - 1n));
      draw();
    },
  };
}

/** The bytes of the store that the byte at an address came from, or the byte alone. */
function writtenTogether({ run, memory, t }, address) {
  const writer = memory.writerBefore(address, t + 1), { columns } = run;
  const store = writer >= 0 && columns.access[writer] & WRITE;
  return store ? { start: columns.address[writer], size: columns.size[writer] } : { start: address, size: 1 };
}

function pickedRange({ selection }) {
  return selection?.size ? { start: selection.start, end: selection.start + BigInt(selection.size) } : null;
}

/** Before the first access: the start of the arena, or else main's stack frame. */
const firstWindow = ({ arena, regions }) => arena?.start ?? (regions.length ? regions[0].end - WINDOW : 0n);

/** Start of the 128-byte block that holds an access; half a block later if it would be cut. */
function windowAt(run, t) {
  const { address, size } = run.columns;
  const block = address[t] & ~(WINDOW - 1n);
  return address[t] + BigInt(size[t]) > block + WINDOW ? block + WINDOW / 2n : block;
}

function accessOf(run, t) {
  const { address, size, access } = run.columns;
  return size[t] ? { start: address[t], end: address[t] + BigInt(size[t]), bits: access[t] } : null;
}

function titleText({ run, memory, t }, start) {
  const there = memory.pageAfter(pageOf(start), t) ? "" : ", absent";
  return `${where(run, start, run.columns.depth[t])}${there}`;
}

/** What the last access did: its kind, place and bytes. */
function captionText(run, t, last) {
  if (last < 0) return "No memory access so far.";
  const { address, size, access, depth, old, value } = run.columns;
  const at = `${accessVerb(access[last])} ${size[last]} bytes at ${where(run, address[last], depth[last])}`;
  const when = last === t ? "This step" : `Last access, step ${last}`;
  if (access[last] & ABSENT) return `${when}: ${at}, which was absent`;
  if (!(access[last] & WRITE)) return `${when}: ${at} = ${number(value[last])}`;
  return `${when}: ${at}, ${number(old[last])} → ${number(run.columns.new[last])}`;
}

function byteRow() {
  const offset = h("th", { scope: "row" });
  const cells = Array.from({ length: COLUMNS }, () => h("td"));
  const words = [h("td", { class: "stp-word" }), h("td", { class: "stp-word" })];
  return {
    element: h("tr", {}, offset, ...cells, ...words),
    update(view, address) {
      const page = view.memory.pageAfter(pageOf(address), view.t);
      const from = Number(address & BigInt(PAGE - 1));
      setText(offset, offsetText(view, address));
      cells.forEach((cell, i) => {
        const byte = page ? page.bytes[from + i] : 0;
        setText(cell, page ? hexByte(byte) : "··");
        setClass(cell, byteClass(view, address + BigInt(i), byte, i));
      });
      words.forEach((cell, i) => setText(cell, page ? wordText(view, page.bytes, from + 8 * i) : ""));
    },
  };
}

function offsetText({ run, t }, address) {
  return place(run, address, run.columns.depth[t]) ?? hex(address);
}

/** Zero bytes are faint; bytes of this step's access are boxed (read) or filled (written). */
function byteClass({ access, picked }, address, byte, i) {
  const inside = access && address >= access.start && address < access.end;
  const kind = inside ? (access.bits & ABSENT ? "stp-lost" : access.bits & WRITE ? "stp-written" : "stp-read") : "";
  const mark = picked && address >= picked.start && address < picked.end && "stp-picked";
  return [i === 8 && "stp-gap", kind, mark, !byte && !inside && "stp-zero"].filter(Boolean).join(" ");
}

/** Eight bytes as a pointer's place where they are one, else as a number. */
function wordText({ run, t }, bytes, from) {
  const word = new DataView(bytes.buffer, bytes.byteOffset + from, 8).getBigUint64(0, true);
  const found = word ? place(run, word, run.columns.depth[t]) : null;
  return found ? `→ ${found}` : number(word);
}
