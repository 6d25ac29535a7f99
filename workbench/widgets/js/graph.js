// The arena's objects as boxes, their pointers as arrows; from the roots to the right.

import { createFinder } from "./objects.js";
import { markTouched, touchedBy } from "./structs.js";
import { addressText } from "./places.js";
import { h, svg } from "./dom.js";

// CSS pixels of a box, of a row in it, and between boxes
const WIDTH = 148, ROW = 15, GAP_X = 52, GAP_Y = 14, PAD = 6;

/** Builds the pane; a click on a field selects its bytes. */
export function createGraph(session) {
  const { run, memory } = session, find = createFinder(run, memory);
  const drawing = svg("svg", { class: "stp-graph", role: "img" });
  const element = h("div", { class: "stp-scroll stp-graph-pane", tabindex: 0, role: "region", "aria-label": "Objects and pointers" }, drawing);
  const note = h("p", { class: "stp-why-end" });
  element.append(note);

  let shown = null, boxes = [], drawn = new Map(); // drawn: by what they show, so that those that stay are kept

  function draw({ objects, more }) {
    boxes = layOut(objects);
    const kept = drawn, width = Math.max(0, ...boxes.map(({ x }) => x + WIDTH)) + PAD;
    const height = Math.max(0, ...boxes.map(({ y, height }) => y + height)) + PAD;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    drawing.setAttribute("aria-label", `${objects.length} objects: ${objects.slice(0, 30).map(spoken).join("; ")}`);
    const at = new Map(boxes.map((box) => [box.object.address, box]));
    drawn = new Map(boxes.map((box) => {
      const key = `${box.x} ${box.y} ${box.object.absent} ${box.object.address} ${box.object.fields.map(({ text }) => text)}`;
      return [key, kept.get(key) ?? boxOf(session, box)];
    }));
    drawing.replaceChildren(...boxes.flatMap((box) => arrows(box, at)), ...Array.from(drawn.values(), (box) => box.element));
    note.textContent = more ? "There are more; these are the nearest to the roots." : objects.length ? "" : "No object of the arena can be reached.";
  }

  function update() {
    const found = find(session.t), touched = touchedBy(session);
    if (found !== shown) draw(found);
    shown = found;
    markTouched([...drawn.values()].flatMap((box) => box.fields), touched);
    reveal(element, boxes.find(({ object }) => object.fields.some(({ start, size }) => touched(start, size))));
  }

  function spoken({ address, name, fields }) {
    return `${name} ${addressText(run, address)} ${fields.map(({ name: field, text }) => `${field} ${text}`).join(", ")}`;
  }

  return { element, update };
}

/** Columns by distance from the roots; each object below the one that was found before it. */
function layOut(objects) {
  const distance = new Map(), known = new Map(objects.map((object) => [object.address, object]));
  const visit = [];
  for (const root of objects) {
    if (!distance.has(root.address)) visit.push([root, 0]);
    while (visit.length) {
      const [object, column] = visit.shift();
      if (distance.has(object.address)) continue;
      distance.set(object.address, column);
      for (const { target } of object.fields) {
        const next = target !== null && known.get(target);
        if (next && !distance.has(target)) visit.push([next, column + 1]);
      }
    }
  }
  const bottoms = [];
  return [...distance].map(([address, column]) => {
    const object = known.get(address), height = ROW * (object.fields.length + 1) + 6, y = bottoms[column] ?? PAD;
    bottoms[column] = y + height + GAP_Y;
    return { object, column, x: PAD + column * (WIDTH + GAP_X), y, height };
  });
}

function boxOf(session, { object, x, y, height }) {
  const title = object.name === "variables" ? "variables" : `${object.name} ${addressText(session.run, object.address)}`.trim();
  const fields = object.fields.map((field, i) => {
    const line = y + ROW * (i + 1) + 3, { start, size } = field;
    const drawing = svg("g", { onclick: () => session.select({ start, size }) },
      svg("rect", { x: x + 1, y: line, width: WIDTH - 2, height: ROW, class: "stp-field" }),
      svg("text", { x: x + 6, y: line + 11 }, short(field.name, 10)),
      svg("text", { x: x + WIDTH - 6, y: line + 11, "text-anchor": "end" }, short(field.target === null ? field.text : "●", 12)));
    return { start, size, element: drawing };
  });
  const element = svg("g", { class: object.absent ? "stp-object stp-lost" : "stp-object" },
    svg("rect", { x, y, width: WIDTH, height, rx: 3 }), svg("text", { x: x + 6, y: y + 12, class: "stp-name" }, short(title, 21)),
    ...fields.map((field) => field.element));
  return { element, fields };
}

/** Arrows to objects further right are drawn in full; those back to the left are dotted. */
function arrows({ object, column, x, y }, boxes) {
  return object.fields.flatMap(({ target }, i) => {
    const to = target === null ? null : boxes.get(target);
    if (!to) return [];
    const y1 = y + ROW * (i + 1) + 11, y2 = to.y + 9, ahead = to.column > column;
    const x1 = x + WIDTH - 8, x2 = ahead ? to.x : to.x + WIDTH;
    const bend = ahead ? 30 : 24, path = `M${x1} ${y1} C${x1 + bend} ${y1} ${ahead ? x2 - bend : x2 + bend} ${y2} ${x2} ${y2}`;
    const head = ahead ? `M${x2} ${y2} l-6 -3 v6 z` : `M${x2} ${y2} l6 -3 v6 z`;
    return [svg("path", { d: path, class: ahead ? "stp-edge" : "stp-edge stp-back" }), svg("path", { d: head, class: "stp-head-of-edge" })];
  });
}

const short = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** Scroll the pane, and only the pane, to the box that the step touches. */
function reveal(pane, box) {
  if (!box) return;
  if (box.x < pane.scrollLeft || box.x + WIDTH > pane.scrollLeft + pane.clientWidth) pane.scrollLeft = box.x - pane.clientWidth / 2;
  if (box.y < pane.scrollTop || box.y + box.height > pane.scrollTop + pane.clientHeight) pane.scrollTop = box.y - 20;
}
