// The stepper: moves through a recorded run in the browser, without asking Python.
// It is the widget's module in JupyterLab and, with page.js, the exported page's.

import { openView } from "./js/open.js";
import { cpuAt } from "./js/replay.js";
import { explain } from "./js/explain.js";
import { accessAt, createSession } from "./js/session.js";
import { createPlayer } from "./js/player.js";
import { keepFocus, keyMap, onKey } from "./js/keys.js";
import { watchLooks } from "./js/looks.js";
import { button, debounce, h, setText } from "./js/dom.js";
import { grouped } from "./js/words.js";
import { createTabs } from "./js/tabs.js";
import { createTimeline } from "./js/timeline.js";
import { createControls, createHelp, createJumps } from "./js/controls.js";
import { createListing } from "./js/listing.js";
import { createRegisters } from "./js/registers.js";
import { createBytes } from "./js/bytes.js";
import { createWhy } from "./js/why.js";
import { createStopList } from "./js/stoplist.js";
import { createFindings } from "./js/findings.js";
import { createPageMap } from "./js/pagemap.js";
import { createStructs } from "./js/structs.js";
import { createGraph } from "./js/graph.js";
import { createSource } from "./js/source.js";
import { createWhatIf } from "./js/whatif.js";
import { otherModel } from "./js/beside.js";

const ANNOUNCE_MS = 300; // pause after which a screen reader hears of it

/** anywidget's entry point; returns what undoes it. */
export function render({ model, el }) {
  const first = h("div"), second = h("div", { class: "stp-other" }), other = otherModel(model);
  el.replaceChildren(first, second);
  const create = (of) => (run) => createStepper(createSession(run, of), of);
  const closers = [openView(model, first, create(model)), openView(other, second, create(other)), other.close];
  return () => { for (const close of closers) close(); };
}

function createStepper(session, model) {
  const { run } = session;
  const act = {
    move: (name, sign) => { player.pause(); session.go(session.target(name, sign)); },
    first: () => { player.pause(); session.go(0); },
    last: () => { player.pause(); session.go(run.n - 1); },
    goTo: (text) => { player.pause(); session.go(session.clamp(text)); controls.go.value = session.t; },
    askStep: () => { controls.go.focus(); controls.go.select(); },
    toggleBreakpoint: () => session.toggleStop(run.columns.pc[session.t]),
    toggleBookmark: () => session.toggleStop(`step ${session.t}`),
    toggleWatch: () => session.toggleWatch(),
    selectRegister: (r) => session.select({ r }),
    selectAccess: () => session.select(accessAt(run, session.t) ?? writtenAt(run, session.t)),
    togglePlay: () => player.toggle(),
    askWhatIf: () => { answers.show(3); whatIf.suggest(); whatIf.focus(); },
    toggleHelp: () => { help.hidden = !help.hidden; if (help.hidden) root.focus(); },
  };
  const controls = createControls(run, act), jumps = createJumps(session, act.move), help = createHelp(act.toggleHelp);
  const player = createPlayer(session, controls.speed, (on) => { controls.setPlaying(on); if (!on) announce(); });
  const timeline = createTimeline(run, (step) => { player.pause(); session.go(step); });
  const listing = createListing(session), registers = createRegisters(session), bytes = createBytes(session);
  const why = createWhy(session), stopList = createStopList(session), whatIf = createWhatIf(session, model);
  const pageMap = createPageMap(session, 160);
  const answers = createTabs("Why and where", "why-tabs", [
    { label: "Why", pane: why }, { label: "Breakpoints", pane: stopList },
    { label: `Findings ${run.findings.length || ""}`.trim(), pane: createFindings(session) },
    { label: "What if", pane: whatIf },
  ]);
  const memory = createTabs("Arena", "mem", [{ label: "Memory", pane: bytes }, ...(run.arena ? [
    { label: "Structures", pane: createStructs(session) }, { label: "Graph", pane: createGraph(session) }, { label: "Pages", pane: pageMap },
  ] : [])]);
  const source = run.hasSource ? [createSource(session)] : [];
  const panes = [...source, listing, registers, memory, answers];
  const sentence = h("span"), stamp = h("span", { class: "stp-stamp" });
  const live = h("div", { class: "stp-hidden", "aria-live": "polite", role: "status" });
  const announce = debounce(() => setText(live, spoken(run, session.t, sentence.textContent)), ANNOUNCE_MS);
  const root = h("div", {
    class: "stp", tabindex: 0, role: "group", "aria-label": `Stepper: ${run.meta.name}. Press ? for keys.`,
    "data-lm-suppress-shortcuts": "true", "data-n": run.n,
  },
  h("div", { class: "stp-bar" }, heading(session), controls.element),
  timeline.element, jumps.element,
  h("p", { class: "stp-say" }, stamp, sentence),
  h("div", { class: `stp-panes${source.length ? " stp-with-source" : ""}` }, ...panes.map((pane) => pane.element)), help, live);

  const draw = {
    step() {
      const { t } = session, pc = run.columns.pc[t];
      root.dataset.step = t;
      root.dataset.pc = pc;
      setText(sentence, explain(run, session.memory, t));
      setText(stamp, `step ${t} · pc ${pc}${run.cpus > 1 ? ` · CPU ${cpuAt(run, t)}` : ""}`);
      controls.update(t);
      timeline.update(t, `step ${t}, instruction ${pc}`);
      for (const pane of panes) pane.update();
      if (!player.playing()) announce();
    },
    stops() {
      for (const part of [...source, listing, jumps, timeline]) part.setStops(session.stops);
      answers.label(1, `Breakpoints ${session.stops.length || ""}`.trim());
      answers.update();
    },
    selection() {
      why.ask();
      if (session.selection) answers.show(0);
      if (session.selection?.size) bytes.reveal(session.selection.start);
      draw.step();
    },
  };
  session.listen((what) => (draw[what] ?? draw.step)());

  const closeHelp = () => { const open = !help.hidden; if (open) act.toggleHelp(); return open; };
  const keys = keyMap(act);
  root.addEventListener("keydown", (event) => onKey(event, root, keys, closeHelp));
  keepFocus(root);
  const stopWatching = watchLooks(root, () => { timeline.repaint(); pageMap.repaint(); });
  return {
    root, session,
    close() {
      player.pause();
      announce.cancel();
      whatIf.close();
      stopWatching();
      session.close();
    },
  };
}

/** The register that a step wrote, as a place, or null. */
const writtenAt = ({ columns: { reg } }, t) => (reg[t] <= 10 ? { r: reg[t] } : null);

function heading(session) {
  const { meta, arena } = session.run, flags = (arena?.flags ?? []).filter((flag) => flag !== "MMAPABLE");
  return h("div", { class: "stp-title" }, h("strong", {}, meta.name),
    ...[meta.engine, ...flags].filter(Boolean).map((text) => h("span", { class: "stp-tag" }, text)), ...windowParts(session));
}

/** Of a long run: which steps these are, and buttons that ask Python for those before and after. */
function windowParts({ run: { meta, n }, ask }) {
  const { first, of } = meta.part ?? { first: 0, of: n };
  if (!(meta.total_steps > n)) return []; // the number may be missing
  const text = `steps ${grouped(first)} to ${grouped(first + n - 1)} of ${grouped(meta.total_steps)}`;
  const move = (label, to, sign) => Object.assign(button(label, () => ask(to), sign), { disabled: to < 0 || to >= of });
  const buttons = ask ? [move("Earlier steps", first ? Math.max(0, first - n) : -1, "«"), move("Later steps", first + n, "»")] : [];
  return [h("span", { class: "stp-tag", title: "The first of them is step 0 here." }, text), ...buttons];
}

const spoken = (run, t, text) => `step ${t}, instruction ${run.columns.pc[t]}. ${text}`;

export default { render };
