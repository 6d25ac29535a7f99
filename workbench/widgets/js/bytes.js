// Memory as bytes, around the last access or at a page that the reader asks for.

import { ABSENT, WRITE } from "./replay.js";
import { PAGE, pageOf } from "./memory.js";
import { accessVerb } from "./explain.js";
import { hex, hexByte, number, place, where } from "./words.js";
import { button, h, setClass, setText } from "./dom.js";

const ROWS = 8, COLUMNS = 16, WINDOW = BigInt(ROWS * COLUMNS);

/** Builds the pane. It follows the accesses until the reader asks for an address. */
export function createBytes(run, memory) {
  let t = 0, start = 0n, follow = true;
  const rows = Array.from({ length: ROWS }, () => byteRow());
  const title = h("span", { class: "stp-where" }), caption = h("div", { class: "stp-caption" });
  const input = h("input", {
    type: "text", class: "stp-address", "aria-label": "Go to address or page", spellcheck: "false",
    placeholder: "page or address", title: "Page number, arena+0x1000, stack, ctx or 0x…", size: 14,
    onchange: () => seek(input.value),
  });
  const followBox = h("input", { type: "checkbox", onchange: () => { follow = followBox.checked; draw(); } });
  const move = (distance) => { stay(start + distance); draw(); };
  const body = h("tbody", {}, ...rows.map((row) => row.element));
  const element = h("section", { class: "stp-mem stp-pane" },
    h("div", { class: "stp-head" }, h("h2", {}, "Memory"), title,
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
    const address = parseAddress(run, text);
    input.setAttribute("aria-invalid", String(address === null));
    if (address === null) return;
    stay(address);
    draw();
  }

  function draw() {
    followBox.checked = follow;
    const last = run.lastAccess[t];
    if (follow) start = last < 0 ? (run.arena?.start ?? run.regions[0]?.start ?? 0n) : windowAt(run, last);
    const view = { run, memory, t, access: last === t ? accessOf(run, t) : null };
    setText(title, titleText(view, start));
    rows.forEach((row, i) => row.update(view, start + BigInt(i * COLUMNS)));
    setText(caption, captionText(run, t, last));
  }

  return { element, update(step) { t = step; draw(); } };
}

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
function byteClass({ access }, address, byte, i) {
  const inside = access && address >= access.start && address < access.end;
  const kind = inside ? (access.bits & ABSENT ? "stp-lost" : access.bits & WRITE ? "stp-written" : "stp-read") : "";
  return [i === 8 && "stp-gap", kind, !byte && !inside && "stp-zero"].filter(Boolean).join(" ");
}

/** Eight bytes as a pointer's place where they are one, else as a number. */
function wordText({ run, t }, bytes, from) {
  const word = new DataView(bytes.buffer, bytes.byteOffset + from, 8).getBigUint64(0, true);
  const found = word ? place(run, word, run.columns.depth[t]) : null;
  return found ? `→ ${found}` : number(word);
}

/** "3" or "page 3", "arena+0x1000", "stack", "0x10001000" (low half or whole) -> address; else null. */
export function parseAddress(run, text) {
  const [, name, distance] = /^\s*(?:([a-z]+)\s*\+?)?\s*(0x[0-9a-f]+|\d+)?\s*$/i.exec(text) ?? [];
  if (name === undefined && distance === undefined) return null;
  const value = BigInt(distance ?? 0);
  const base = name === "arena" ? run.arena?.start : run.regions.find((region) => region.name === name)?.start;
  if (name && name !== "page") return base === undefined ? null : base + value;
  if (!/^0x/i.test(distance) || name === "page") return run.arena ? run.arena.start + value * BigInt(PAGE) : null;
  const low = run.arena && value < 1n << 32n && value >= run.arena.low;
  return low ? run.arena.start + value - run.arena.low : value;
}
