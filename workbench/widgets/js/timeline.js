// The strip under the slider: where in the run the faults, allocations, frees, casts and breakpoint
// hits are. Marks differ by shape and row as well as by colour.

import { cpuAt, faultSteps, frameAt } from "./replay.js";
import { canvasContext, themeColours } from "./looks.js";
import { h } from "./dom.js";

const THUMB = 3; // CSS width of the slider's thumb; marks align with its centre
const HEIGHT = 54; // CSS pixels, and where in them each lane lies
const LANES = { break: 5, finding: 14, fault: 23, alloc: 33, cast: 43 };

/** Builds the strip; onSeek(t) is called while the slider is dragged. */
export function createTimeline(run, onSeek) {
  const canvas = h("canvas", { class: "stp-strip", "aria-hidden": "true" });
  const range = h("input", {
    class: "stp-range", type: "range", min: 0, max: Math.max(run.n - 1, 0), step: 1, value: 0,
    "aria-label": "Step", oninput: () => onSeek(Number(range.value)),
  });
  const element = h("div", { class: "stp-time" }, canvas, range);
  let stops = [];
  const repaint = () => paint(run, canvas, stops);
  return {
    element, repaint,
    update(t, valueText) {
      if (range.value !== String(t)) range.value = t;
      range.setAttribute("aria-valuetext", valueText);
    },
    setStops(opened) { stops = opened; repaint(); },
  };
}

function paint(run, canvas, stops) {
  const width = canvas.clientWidth, g = canvasContext(canvas, width, HEIGHT);
  if (!g) return;
  const color = themeColours(canvas);
  const x = (t) => THUMB / 2 + (run.n > 1 ? t / (run.n - 1) : 0) * (width - THUMB);
  paintDepth(g, run, x, color("lane"));
  const marks = (steps, shape, name) => eachPixel(steps, x, (at) => shape(g, at, color(name)));
  marks(run.casts, tick, "cast");
  marks(run.allocs, square, "alloc");
  marks(run.frees, hollow, "alloc");
  marks(faultSteps(run), triangle, "fault");
  marks(run.findingSteps, circle, "finding");
  for (const { hits } of stops) marks(hits, diamond, "break");
}

/** Draw once per pixel, however many steps share it. */
function eachPixel(steps, x, draw) {
  let last = -9;
  for (const t of steps) {
    const at = Math.round(x(t) * 2) / 2;
    if (at - last < 1) continue;
    draw(at);
    last = at;
  }
}

/** Calls as raised ground: one level per frame. With several CPUs, a line for each that runs. */
function paintDepth(g, run, x, color) {
  g.fillStyle = color;
  const stride = Math.max(1, Math.floor(run.n / 4000));
  for (let t = 0; t < run.n; t += stride) {
    const width = Math.max(1, x(t + stride) - x(t) + 0.3), height = 4 * frameAt(run, t);
    if (run.cpus > 1) g.fillRect(x(t), HEIGHT - 4 * (cpuAt(run, t) + 1), width, 3);
    else if (height) g.fillRect(x(t), HEIGHT - height, width, height);
  }
}

function tick(g, x, color) {
  g.fillStyle = color;
  g.fillRect(x - 0.5, LANES.cast - 3, 1, 7);
}

function square(g, x, color) {
  g.fillStyle = color;
  g.fillRect(x - 3, LANES.alloc - 3, 6, 6);
}

function hollow(g, x, color) {
  g.strokeStyle = color;
  g.lineWidth = 1.2;
  g.strokeRect(x - 2.5, LANES.alloc - 2.5, 5, 5);
}

function triangle(g, x, color) {
  polygon(g, color, [[x, LANES.fault - 4], [x + 4, LANES.fault + 3], [x - 4, LANES.fault + 3]]);
}

function circle(g, x, color) {
  g.strokeStyle = color;
  g.lineWidth = 1.5;
  g.beginPath();
  g.arc(x, LANES.finding, 3.5, 0, 2 * Math.PI);
  g.stroke();
}

function diamond(g, x, color) {
  const y = LANES.break;
  polygon(g, color, [[x, y - 3], [x + 3, y], [x, y + 3], [x - 3, y]]);
}

function polygon(g, color, points) {
  g.fillStyle = color;
  g.beginPath();
  points.forEach(([x, y]) => g.lineTo(x, y));
  g.fill();
}
