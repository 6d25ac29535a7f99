// The page map as a view of its own, with the timeline that it shares with the stepper.

import { openView } from "./js/open.js";
import { createSession } from "./js/session.js";
import { createTimeline } from "./js/timeline.js";
import { createPageMap } from "./js/pagemap.js";
import { keepFocus, keyMap, onKey } from "./js/keys.js";
import { watchLooks } from "./js/looks.js";
import { h, setText } from "./js/dom.js";

/** anywidget's entry point; returns what undoes it. */
export const render = ({ model, el }) => openView(model, el, (run) => createView(createSession(run, model)));

function createView(session) {
  const { run } = session;
  const timeline = createTimeline(run, (step) => session.go(step)), map = createPageMap(session);
  const stamp = h("span", { class: "stp-tag" });
  const root = h("div", {
    class: "stp", tabindex: 0, role: "group", "aria-label": `Pages of the arena: ${run.meta.name}`,
    "data-lm-suppress-shortcuts": "true", "data-n": run.n,
  }, h("div", { class: "stp-bar" }, h("div", { class: "stp-title" }, h("strong", {}, `${run.meta.name}: pages`), stamp)),
  timeline.element, map.element);
  session.listen(() => {
    root.dataset.step = session.t;
    setText(stamp, `after step ${session.t} of ${run.n - 1}`);
    timeline.update(session.t, `step ${session.t}`);
    map.update();
  });
  const act = {
    move: (name, sign) => session.go(session.target(name, sign)), first: () => session.go(0), last: () => session.go(run.n - 1),
  };
  const keys = Object.fromEntries(Object.entries(keyMap(act)).filter(([, f]) => f));
  root.addEventListener("keydown", (event) => onKey(event, root, keys, () => false));
  keepFocus(root);
  const stopWatching = watchLooks(root, () => { timeline.repaint(); map.repaint(); });
  return { root, session, close() { stopWatching(); session.close(); } };
}

export default { render };
