// What every view of a recorded run does first: open the bytes, or say what is wrong with them.

import { openPayload } from "./payload.js";
import { openRun } from "./replay.js";
import { h } from "./dom.js";

/** Fill `el` with create(run) = {root, session, close}, again whenever the model's data change. */
export function openView(model, el, create) {
  let close = () => {}, gone = false;
  const say = (role, text) => el.replaceChildren(h("div", { class: "stp stp-message", role }, text));
  const open = async () => {
    close();
    close = () => {};
    if (!model.get("data")?.byteLength) return el.replaceChildren();
    say("status", "Opening the recorded run …");
    try {
      const run = openRun(await openPayload(model.get("data")));
      if (gone) return;
      if (!run.n) return say("status", emptyText(run));
      const view = create(run);
      el.replaceChildren(view.root);
      view.session.start();
      close = view.close;
    } catch (error) {
      say("alert", error.message);
    }
  };
  model.on("change:data", open);
  open();
  return () => { gone = true; model.off("change:data", open); close(); };
}

const emptyText = ({ meta: { stop } }) => `No step was recorded${stop.reason ? `: ${stop.reason}` : "."}`;
