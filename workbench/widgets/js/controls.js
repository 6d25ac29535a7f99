// Buttons, step number, jumps to events, and the list of keys.

import { faultSteps } from "./replay.js";
import { KEYS } from "./keys.js";
import { button, h, icon, setText } from "./dom.js";
import { grouped } from "./words.js";

const SPEEDS = [1, 2, 5, 10, 30, 100, 1000, 10000];
const DEFAULT_SPEED = 5;
/** Step buttons, step number and speed. `act` holds one function per action. */
export function createControls(run, act) {
  const play = button("Play (Space)", act.togglePlay, icon("play"));
  const go = h("input", {
    class: "stp-goto", type: "text", inputmode: "numeric", autocomplete: "off", "aria-label": "Go to step (g)",
    title: "Go to step (g)", size: String(Math.max(run.n - 1, 0)).length + 1, onchange: () => act.goTo(go.value),
  });
  const speed = h("select", { class: "stp-speed", "aria-label": "Speed of play", title: "Speed of play" },
    ...SPEEDS.map((s) => h("option", { value: s, selected: s === DEFAULT_SPEED }, `${grouped(s)}/s`)));
  const element = h("div", { class: "stp-controls", role: "group", "aria-label": "Move through the run" },
    button("First step (Home)", act.first, icon("first")),
    button("Back over the call (Shift+Left)", () => act.move("over", -1), icon("overBack")),
    button("One step back (Left or k)", () => act.move("step", -1), icon("back")),
    button("One step forward (Right or j)", () => act.move("step", 1), icon("next")),
    button("Step over the call (Shift+Right)", () => act.move("over", 1), icon("over")),
    button("Out of the function (u)", () => act.move("out", 1), icon("out")),
    button("Last step (End)", act.last, icon("last")),
    h("label", { class: "stp-step", title: `${grouped(run.n)} steps, numbered from 0` },
      "step ", go, ` / ${grouped(Math.max(run.n - 1, 0))}`),
    play, speed,
    button("Keys (?)", act.toggleHelp, "?"));
  return {
    element, go,
    speed: () => Number(speed.value),
    update(t) {
      go.defaultValue = t; // what Esc brings back
      if (go !== go.ownerDocument.activeElement) go.value = t;
    },
    setPlaying(on) {
      const label = on ? "Pause (Space)" : "Play (Space)";
      play.replaceChildren(icon(on ? "pause" : "play"));
      play.title = label;
      play.setAttribute("aria-label", label);
    },
  };
}

/** `< ▲ 3 faults >` and its like: legend of the strip and jump buttons in one. */
export function createJumps(session, jump) {
  const { run } = session, hits = h("span", { class: "stp-count" }), apart = h("span", { class: "stp-count" });
  const group = (name, mark, count, key, text) =>
    h("span", { class: `stp-jump stp-of-${name}`, role: "group", "aria-label": name },
      jumpButton(`Previous ${name} (Shift+${key})`, () => jump(name, -1), "‹", !count),
      h("span", { class: "stp-mark", "aria-hidden": "true" }, mark), text,
      jumpButton(`Next ${name} (${key})`, () => jump(name, 1), "›", !count));
  const difference = group("difference", "≠", 1, "d", apart);
  const allocations = run.allocs.length, frees = run.frees.length;
  const element = h("div", { class: "stp-jumps" },
    group("fault", "▲", faultSteps(run).length, "f", plural(faultSteps(run).length, "fault")),
    group("alloc", "■", allocations + frees, "a", allocText(allocations, frees)),
    group("cast", "❘", run.casts.length, "c", plural(run.casts.length, "cast")),
    ...(run.findings.length ? [group("finding", "○", run.findings.length, "i", plural(run.findings.length, "finding"))] : []),
    difference,
    ...(run.cpus > 1 ? [group("cpu", "▤", run.cpus, "p", "same CPU")] : []),
    group("breakpoint", "◆", 0, "n", hits));
  const arrows = element.lastChild.querySelectorAll("button");
  return {
    element,
    setStops(stops) {
      setText(hits, plural(stops.length, "breakpoint"));
      difference.hidden = !session.differs.length;
      setText(apart, plural(session.differs.length, "difference"));
      for (const arrow of arrows) arrow.disabled = !stops.length;
    },
  };
}

function jumpButton(label, onclick, text, disabled) {
  const element = button(label, onclick, text);
  element.disabled = disabled;
  return element;
}

const allocText = (allocs, frees) => plural(allocs, "alloc") + (frees ? `, ${plural(frees, "free")}` : "");
const plural = (count, word) => `${grouped(count)} ${word}${count === 1 ? "" : "s"}`;

/** The overlay that `?` opens. */
export function createHelp(close) {
  const rows = KEYS.map(([keys, what]) => h("tr", {}, h("th", { scope: "row" }, keys), h("td", {}, what)));
  const half = Math.ceil(rows.length / 2);
  const tables = [rows.slice(0, half), rows.slice(half)].map((part) => h("table", {}, h("tbody", {}, ...part)));
  return h("div", { class: "stp-help", role: "dialog", "aria-label": "Keys of the stepper", hidden: true },
    h("div", { class: "stp-help-keys" }, ...tables),
    h("p", {}, "Step t shows instruction t of the run with what it changed: registers as old → new. "
      + "R marks what it read, W what it wrote. Raised ground in the strip is time spent in called functions. "
      + "Click left of an instruction to set a breakpoint, on it to go to its next execution; "
      + "click a register or a byte to see where its value came from; double-click a byte to watch it."),
    button("Close (Esc)", close, "Close"));
}
