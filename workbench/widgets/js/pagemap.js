// The arena as a map of pages: the rows in use, or all 1024 x 1024 pages of 4 GiB.

import { PAGE_STATES, openPages } from "./pages.js";
import { canvasContext, themeColours } from "./looks.js";
import { PAINTERS, paintCell } from "./pagepaint.js";
import { grouped, hex } from "./words.js";
import { button, h, setText } from "./dom.js";
import { PAGE, PAGE_BYTES, PAGE_SHIFT } from "./sizes.js";

const ROW = 32; // pages in a row of the zoomed map
const SIDE = 1024; // pages in a row of the whole map
const LABEL = 74, GAP = 1;
const LEGENDS = {
  absent: "absent", initial: "there before the run", allocated: "allocated by the program",
  user: "faulted in by user space", freed: "freed", reserved: "reserved",
};

/** Builds the map. It follows the session's step; a click selects a page. */
export function createPageMap(session, height = 0) {
  const { run } = session;
  let pages = null, picked = -1, frame = 0, rows = [], zoom = "used";
  const canvas = h("canvas", { class: "stp-map", role: "img", onclick: pickAt, onmousemove: (event) => say(pageAt(event)), onmouseleave: () => say(picked) });
  const text = h("div", { class: "stp-map-text", "aria-live": "polite" });
  const colour = choice("Colour", ["state", "owner", "age", "faults", "accesses"], soon);
  const zoomed = choice("Show", ["used", "all 4 GiB"], () => { zoom = zoomed.value === "used" ? "used" : "all"; soon(); });
  const legend = h("div", { class: "stp-legend" });
  const scroll = h("div", { class: "stp-map-scroll", tabindex: 0, role: "region", "aria-label": "Map of pages" }, canvas);
  const element = h("div", { class: "stp-pages" },
    h("div", { class: "stp-head" }, h("label", {}, "colour ", colour), h("label", {}, "show ", zoomed),
      h("span", { class: "stp-tools" }, button("Previous page in use", () => pickNext(-1), "‹"), button("Next page in use", () => pickNext(1), "›"))),
    scroll, legend, text);
  if (height) scroll.style.maxHeight = `${height}px`;

  function open() {
    if (pages) return;
    pages = openPages(run);
    rows = [...new Set(Array.from(pages.used, (page) => Math.floor(page / ROW)))];
  }

  /** Where a page is drawn: [x, y, side] in CSS pixels. */
  function boxOf(page) {
    const width = canvas.clientWidth;
    if (zoom === "all") {
      const side = width / SIDE;
      return [(page % SIDE) * side, Math.floor(page / SIDE) * side, side];
    }
    const side = cellSide(width), row = rows.indexOf(Math.floor(page / ROW));
    return [LABEL + (page % ROW) * (side + GAP), row * (side + GAP), side];
  }

  const cellSide = (width) => Math.max(5, Math.min(18, Math.floor((width - LABEL) / ROW) - GAP));

  function pageAt(event) {
    const { left, top } = canvas.getBoundingClientRect(), x = event.clientX - left, y = event.clientY - top;
    if (!pages) return -1;
    if (zoom === "all") return nearestUsed(Math.floor((x * SIDE) / canvas.clientWidth), Math.floor((y * SIDE) / canvas.clientWidth));
    const pitch = cellSide(canvas.clientWidth) + GAP, column = Math.floor((x - LABEL) / pitch), row = rows[Math.floor(y / pitch)];
    return row === undefined || column < 0 || column >= ROW ? -1 : row * ROW + column;
  }

  /** In the whole map a page is a pixel: take the one in use that is next to the pointer, if any. */
  function nearestUsed(x, y) {
    let best = y * SIDE + x, distance = 64;
    for (const page of pages.used) {
      const far = (page % SIDE - x) ** 2 + (Math.floor(page / SIDE) - y) ** 2;
      if (far < distance) [best, distance] = [page, far];
    }
    return best;
  }

  function pickAt(event) { pick(pageAt(event)); }

  function pickNext(sign) {
    open();
    const { used } = pages;
    const at = picked < 0 ? (sign > 0 ? 0 : used.length - 1) : used.indexOf(picked) + sign;
    if (used.length) pick(used[Math.max(0, Math.min(used.length - 1, at))]);
  }

  function pick(page) {
    if (page < 0 || page >= run.arena.pages) return;
    picked = page;
    session.select({ start: run.arena.start + BigInt(page) * PAGE_BYTES, size: PAGE });
    say(page);
    soon();
  }

  function say(page) {
    if (page < 0 || !pages) return setText(text, "");
    const { state, since, accesses, faults, last } = pages.at(page, session.t), { pc } = run.columns;
    const when = since < 0 ? "" : ` at step ${since} by instruction ${pc[Math.min(since, run.n - 1)]}`;
    const touched = accesses ? `, ${grouped(accesses)} accesses so far, the last at step ${last}` : ", not touched so far";
    setText(text, `page ${page}, arena+${hex(page * PAGE)}: ${LEGENDS[state]}${when}${touched}${faults ? `, ${grouped(faults)} of them faults` : ""}`);
  }

  function paint() {
    frame = 0;
    if (!canvas.isConnected || !scroll.clientWidth || !run.arena) return;
    open();
    const width = Math.max(scroll.clientWidth - 2, LABEL + ROW * 6), side = cellSide(width);
    const tall = zoom === "all" ? width * Math.ceil(run.arena.pages / SIDE) / SIDE : rows.length * (side + GAP);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${Math.max(tall, 8)}px`;
    const g = canvasContext(canvas, width, Math.max(tall, 8));
    const colours = themeColours(canvas), painter = PAINTERS[colour.value];
    if (zoom === "used") labels(g, colours, side);
    else ground(g, colours, width, tall);
    const view = { g, colours, t: session.t, n: run.n, pc: run.columns.pc };
    for (const page of zoom === "all" ? pages.used : rowPages()) {
      const now = pages.at(page, session.t), here = touches(page);
      paintCell(view, painter, now, boxOf(page), { here, picked: page === picked, small: zoom === "all" });
    }
    reveal();
    drawLegend(colours);
    canvas.setAttribute("aria-label", summary());
  }

  /** Scroll the map, and only the map, to the page that the step touches. */
  function reveal() {
    const { columns: { address, size } } = run, { t } = session;
    const page = size[t] && address[t] >= run.arena.start ? Number((address[t] - run.arena.start) >> PAGE_SHIFT) : picked;
    if (page < 0 || page >= run.arena.pages) return;
    const [, y, side] = boxOf(page);
    if (y < scroll.scrollTop || y + side > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = y - scroll.clientHeight / 2;
  }

  function* rowPages() {
    for (const row of rows) for (let i = 0; i < ROW; i++) if (row * ROW + i < run.arena.pages) yield row * ROW + i;
  }

  function labels(g, colours, side) {
    g.font = "11px monospace";
    g.fillStyle = colours("soft");
    rows.forEach((row, i) => g.fillText(`page ${row * ROW}`, 0, i * (side + GAP) + Math.min(side, 12)));
  }

  /** The arena in the 4 GiB: rows of 1024 pages. */
  function ground(g, colours, width, tall) {
    g.fillStyle = colours("bg-head");
    g.fillRect(0, 0, width, tall);
  }

  function touches(page) {
    const { columns: { address, size } } = run, { t } = session;
    return size[t] > 0 && address[t] >= run.arena.start && Number((address[t] - run.arena.start) >> PAGE_SHIFT) === page;
  }

  function summary() {
    const counts = new Map();
    for (const page of pages.used) {
      const { state } = pages.at(page, session.t);
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    const parts = [...counts].filter(([state]) => state !== "absent").map(([state, count]) => `${grouped(count)} ${LEGENDS[state]}`);
    return `Pages after step ${session.t}: ${parts.join(", ") || "none present"}`;
  }

  function drawLegend(colours) {
    if (legend.dataset.of === colour.value) return;
    legend.dataset.of = colour.value;
    const names = colour.value === "state" ? PAGE_STATES.filter((state) => state !== "absent") : [];
    legend.replaceChildren(...names.map((state) => {
      const sample = h("canvas", { width: 12, height: 12, "aria-hidden": "true" });
      const view = { g: sample.getContext("2d"), colours, t: 0, n: 1, pc: run.columns.pc };
      paintCell(view, PAINTERS.state, { state, accesses: 0, faults: 0, since: -1, last: -1 }, [0, 0, 12], {});
      return h("span", {}, sample, LEGENDS[state]);
    }), ...(names.length ? [h("span", {}, "× faulted while absent")] : [h("span", {}, EXPLAINED[colour.value])]));
  }

  function soon() { frame ||= requestAnimationFrame(paint); }

  return { element, update() { soon(); if (picked >= 0) say(picked); }, repaint() { delete legend.dataset.of; soon(); } };
}

const EXPLAINED = {
  owner: "a colour and a letter for each instruction that allocated pages",
  age: "dark: touched lately; light: long ago", faults: "dark: many faults so far", accesses: "dark: many accesses so far",
};

function choice(name, options, onchange) {
  return h("select", { "aria-label": name, onchange }, ...options.map((option) => h("option", { value: option }, option)));
}
