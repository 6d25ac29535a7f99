// Why: the chain of origins of the selected register or bytes, asked at the step where it was selected.

import { allocationOf, lastUpTo, originsOf, pointee, touchesOf } from "./origins.js";
import { addressText, placeText } from "./places.js";
import { cpuAt, registersAt } from "./replay.js";
import { explain } from "./explain.js";
import { grouped, say } from "./words.js";
import { button, h, setClass, setText } from "./dom.js";
import { PAGE, PAGE_BYTES } from "./sizes.js";

const HINT = "Click a register or a byte, or press 0 to 9 for r0 to r9 or s for what this step touches: "
  + "here is where its value came from, through registers, stack and arena memory.";

export function createWhy(session) {
  const { run, memory } = session;
  const title = h("div", { class: "stp-why-title" });
  const list = h("ol", { class: "stp-chain" }), end = h("p", { class: "stp-why-end" }), page = h("div", { class: "stp-why-page" });
  const element = h("div", { class: "stp-why stp-scroll", tabindex: 0, role: "region", "aria-label": "Why" }, title, page, list, end);
  let rows = [];

  function ask() {
    const { selection: place, askedAt } = session;
    rows = [];
    if (!place) {
      title.replaceChildren();
      list.replaceChildren();
      page.replaceChildren();
      return setText(end, HINT);
    }
    const found = originsOf(run, memory, place, askedAt);
    title.replaceChildren(...titleParts(session, place));
    rows = found.rows.map((row) => chainRow(session, row));
    list.replaceChildren(...rows.map(({ element }) => element));
    setText(end, found.end);
    page.replaceChildren(...allocationParts(session, place));
  }

  ask();
  return {
    element, ask,
    update() { for (const { element, step } of rows) setClass(element, step === session.t ? "stp-here" : ""); },
  };
}

function titleParts(session, place) {
  const name = placeText(session.run, place), value = valueOf(session, place);
  return [h("strong", {}, name), ` after step ${session.askedAt}`, value,
    h("span", { class: "stp-tools" },
      button("Previous write of it ([)", () => session.go(session.target("write", -1)), "‹ write"),
      button("Next write of it (])", () => session.go(session.target("write", 1)), "write ›"),
      ...(place.size ? [button("Stop at writes to it (w)", () => session.toggleWatch(), "watch")] : []),
      button("Ask again at this step", () => session.select(place), "ask here"),
      button("Clear the selection", () => session.select(null), "×"))].filter(Boolean);
}

function valueOf({ run, askedAt }, { r }) {
  if (r === undefined) return "";
  const { frame, after } = registersAt(run, askedAt);
  return `: ${say(run, after[r], frame)}`;
}

/** One row: the step, its instruction, what it did, and the copies passed on the way to it. */
function chainRow(session, { step, note, via, inputs }) {
  const { run, memory } = session, slot = run.columns.pc[step];
  const copies = via.length ? h("span", { class: "stp-via" }, `${via.length === 1 ? "through a copy at" : `through ${via.length} copies, from`} `,
    ...via.slice(-3).map((t) => stepLink(session, t, run.insns[run.columns.pc[t]].text))) : "";
  const line = h("button", {
    type: "button", class: "stp-link", title: explain(run, memory, step), onclick: () => session.go(step),
  }, h("span", { class: "stp-at" }, stepText(run, step)), h("span", { class: "stp-what" }, run.insns[slot].text), h("span", { class: "stp-note" }, note));
  const asks = inputs.map((r) => h("button", {
    type: "button", class: "stp-ask", title: `Where did r${r} come from, before step ${step}?`,
    onclick: () => { session.go(Math.max(step - 1, 0)); session.select({ r }); },
  }, `r${r}?`));
  return { step, element: h("li", {}, copies, line, ...asks) };
}

const stepText = (run, step) => `${run.cpus > 1 ? `CPU ${cpuAt(run, step)} ` : ""}${String(step).padStart(String(run.n).length)}`;

const stepLink = (session, t, title) => h("button", {
  type: "button", class: "stp-ask", title, onclick: () => session.go(t),
}, String(t));

/** From a pointer, or from bytes, to the allocation that holds them, and to all that touch it. */
function allocationParts(session, place) {
  const { run, askedAt } = session;
  const value = place.r === undefined ? place.start : registersAt(run, askedAt).after[place.r];
  const address = pointee(run, value), found = address === null ? null : allocationOf(run, address, askedAt);
  if (!found) return [];
  const touches = touchesOf(run, found), first = addressText(run, run.arena.start + BigInt(found.page) * PAGE_BYTES);
  const by = found.kind === "alloc" ? "allocated" : "faulted in by user space";
  const pages = found.count === 1 ? `page ${found.page}` : `pages ${found.page} to ${found.page + found.count - 1}`;
  const touch = (sign) => session.go(touches[lastUpTo(touches, session.t - (sign < 0 ? 1 : 0)) + (sign > 0 ? 1 : 0)] ?? -1);
  return [`${addressText(run, address)} lies in ${pages}, ${by} at step `, stepLink(session, found.step, "Go to the allocation"),
    ...(found.freed < 0 ? [] : [", freed at step ", stepLink(session, found.freed, "Go to the free")]),
    `; touched ${grouped(touches.length)} times `,
    button("Previous step that touches it", () => touch(-1), "‹"), button("Next step that touches it", () => touch(1), "›"),
    button("Stop wherever it is touched", () => session.toggleStop(`touch ${first}:${found.count * PAGE}`), "stop there")];
}
