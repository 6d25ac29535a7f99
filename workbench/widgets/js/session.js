// What the views of one stepper share: the step in view, the selection, the stops; and the model
// (Jupyter's, or the exported page's) that these are synced with.

import { Memory } from "./memory.js";
import { faultSteps, nearest } from "./replay.js";
import { isHit, nearestHit, openStop, watchText } from "./stops.js";
import { line, out, over, sameCpuStep } from "./moves.js";
import { parsePlace, placeText } from "./places.js";
import { writesOf } from "./origins.js";

/** Opens a session on a run; `listen(f)` calls f("step" | "selection" | "stops") after each change. */
export function createSession(run, model) {
  const memory = new Memory(run), listeners = new Set(), opened = new Map();
  const clamp = (step) => Math.max(0, Math.min(run.n - 1, Math.trunc(Number(step)) || 0));
  const changed = (what) => { for (const f of listeners) f(what); };
  let writes = null; // steps that wrote the selection

  /** Set a trait and send it. Each set is sent at once: Jupyter keeps one message on its way and joins
   * the rest, whereas a value that waits here would be overwritten by the echo of an earlier one. */
  function tell(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  const targets = {
    step: (t, sign) => t + sign,
    over: (t, sign) => over(run, t, sign),
    out: (t, sign) => out(run, t, sign),
    line: (t, sign) => line(run, t, sign),
    cpu: (t, sign) => sameCpuStep(run, t, sign),
    fault: (t, sign) => nearest(faultSteps(run), t, sign),
    cast: (t, sign) => nearest(run.casts, t, sign),
    alloc: (t, sign) => nearest(run.pageEvents, t, sign),
    difference: (t, sign) => nearest(session.differs, t, sign),
    finding: (t, sign) => nearest(run.findingSteps, t, sign),
    breakpoint: (t, sign) => nearestHit(session.stops, t, sign),
    write: (t, sign) => (session.selection ? nearest(writes ??= writesOf(run, memory, session.selection), t, sign) : -1),
  };

  const session = {
    run, memory, clamp, t: clamp(model.get("t")), stops: [], selection: null, askedAt: 0,
    /** Steps at which the other run differs, where there is one. */
    get differs() { return model.get("differs") ?? model.get("aligned")?.differs?.[0] ?? []; },

    /** Show step `to`, and tell the model. */
    go(to) {
      if (to < 0 || to >= run.n || to === session.t) return;
      session.t = to;
      changed("step");
      tell("t", to);
    },
    /** Step to which a named move leads, or -1. */
    target: (name, sign) => targets[name](session.t, sign),
    isHit: (t) => isHit(session.stops, t),

    /** Select a register or bytes of memory, and ask for its origin at this step; null for nothing. */
    select(place) {
      take(place);
      tell("selection", place ? placeText(run, place) : "");
    },
    toggleStop(stop) {
      const old = model.get("breakpoints");
      tell("breakpoints", old.includes(stop) ? old.filter((s) => s !== stop) : [...old, stop]);
    },
    /** Stop at writes to the selected memory, or to what this step touches. */
    toggleWatch() {
      const place = session.selection?.size ? session.selection : accessAt(run, session.t);
      if (place) session.toggleStop(watchText(run, place));
      return !!place;
    },
    /** Ask Python for the steps from another one on; null where there is no Python to ask. */
    ask: model.get("first") === undefined ? null : (first) => tell("first", first),
    listen(f) { listeners.add(f); },
    close() { for (const [event, f] of Object.entries(watched)) model.off(event, f); },
  };

  function take(place) {
    session.selection = place;
    session.askedAt = session.t;
    writes = null;
    changed("selection");
  }

  function readStops() {
    session.stops = model.get("breakpoints").map((stop) => {
      if (!opened.has(stop)) opened.set(stop, openStop(run, stop));
      return opened.get(stop);
    });
    changed("stops");
  }

  function readSelection() {
    const text = model.get("selection") ?? "", now = session.selection ? placeText(run, session.selection) : "";
    if (text !== now) take(text ? parsePlace(run, text) : null);
  }

  function readStep() {
    const to = clamp(model.get("t"));
    if (to === session.t) return;
    session.t = to;
    changed("moved");
  }

  const watched = { "change:t": readStep, "change:breakpoints": readStops, "change:aligned": readStops, "change:selection": readSelection };
  for (const [event, f] of Object.entries(watched)) model.on(event, f);
  session.start = () => { readStops(); readSelection(); changed("step"); };
  return session;
}

/** The memory that a step touches, as a place, or null. */
export function accessAt({ columns: { address, size } }, t) {
  return size[t] ? { start: address[t], size: size[t] } : null;
}
