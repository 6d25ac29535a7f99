// The strip under the slider: where in the run the faults, allocations, frees, casts and breakpoint
// hits are. Marks differ by shape and row as well as by colour.

import { faultSteps } from "./replay.js";
import { h } from "./dom.js";

const THUMB = 3; // CSS width of the slider's thumb; marks align with its centre
const HEIGHT = 44;
const LANES = { break: 5, fault: 13, alloc: 23, cast: 33 };

/** Builds the strip; onSeek(t) is called while the slider is dragged. */
export function createTimeline(run, onSeek) {
  const canvas = h("canvas", { class: "stp-strip", "aria-hidden": "true" });
  const range = h("input", {
    class: "stp-range", type: "range", min: 0, max: Math.max(run.n - 1, 0), step: 1, value: 0,
    "aria-label": "Step", oninput: () => onSeek(Number(range.value)),
  });
  const element = h("div", { class: "stp-time" }, canvas, range);
  let breakpoints = [];
  const repaint = () => paint(run, canvas, breakpoints);
  return {
    element, repaint,
    update(t, valueText) {
      if (range.value !== String(t)) range.value = t;
      range.setAttribute("aria-valuetext", valueText);
    },
    setBreakpoints(pcs) { breakpoints = pcs; repaint(); },
  };
}

function paint(run, canvas, breakpoints) {
  const width = canvas.clientWidth, ratio = globalThis.devicePixelRatio || 1;
  if (!width) return;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(HEIGHT * ratio);
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  const css = getComputedStyle(canvas);
  const color = (name) => css.getPropertyValue(`--stp-${name}`).trim();
  const x = (t) => THUMB / 2 + (run.n > 1 ? t / (run.n - 1) : 0) * (width - THUMB);
  paintDepth(g, run, x, color("lane"));
  const marks = (steps, shape, name) => eachPixel(steps, x, (at) => shape(g, at, color(name)));
  marks(run.casts, tick, "cast");
  marks(run.allocs, square, "alloc");
  marks(run.frees, hollow, "alloc");
  marks(faultSteps(run), triangle, "fault");
  marks(breakpointHits(run, breakpoints), diamond, "break");
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

/** Calls as raised ground: one level per frame. */
function paintDepth(g, run, x, color) {
  const { depth } = run.columns;
  g.fillStyle = color;
  const stride = Math.max(1, Math.floor(run.n / 4000));
  for (let t = 0; t < run.n; t += stride) {
    if (depth[t]) g.fillRect(x(t), HEIGHT - 4 * depth[t], Math.max(1, x(t + stride) - x(t) + 0.3), 4 * depth[t]);
  }
}

function breakpointHits(run, pcs) {
  const wanted = new Set(pcs), steps = [];
  if (wanted.size) run.columns.pc.forEach((pc, t) => { if (wanted.has(pc)) steps.push(t); });
  return steps;
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
