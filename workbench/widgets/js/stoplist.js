// The list of stops (breakpoints, watches, conditions, bookmarks), and the field that adds one.

import { grouped } from "./words.js";
import { button, h } from "./dom.js";

const EXAMPLES = "16 · line 12 · r0 == 5 · 16 if w1 s< 0 · write page 4 · read arena+0x40:8 · fault · call";

export function createStopList(session) {
  const input = h("input", {
    type: "text", class: "stp-stop-text", "aria-label": "Stop at", placeholder: "stop at …", spellcheck: "false",
    autocomplete: "off", title: EXAMPLES, onchange: add,
  });
  const list = h("ul", { class: "stp-stops" });
  const element = h("div", { class: "stp-scroll stp-stop-pane", tabindex: 0, role: "region", "aria-label": "Breakpoints" },
    h("div", { class: "stp-stop-add" }, input, h("span", { class: "stp-hint" }, "n and Shift+n run to the next and previous hit")), list,
    h("p", { class: "stp-why-end" }, `For example: ${EXAMPLES}`));

  function add() {
    const text = input.value.trim();
    input.value = "";
    if (text) session.toggleStop(/^\d+$/.test(text) ? Number(text) : text);
  }

  return {
    element,
    update() { list.replaceChildren(...session.stops.map((stop) => stopRow(session, stop))); },
  };
}

function stopRow(session, { stop, hits, error }) {
  const what = typeof stop === "number" ? `${stop}  ${session.run.insns[stop]?.text ?? ""}` : stop;
  const state = error ? h("span", { class: "stp-error", role: "alert" }, error)
    : h("span", { class: "stp-soft" }, `${grouped(hits.length)} ${hits.length === 1 ? "hit" : "hits"}`);
  return h("li", {}, button(`Remove ${stop}`, () => session.toggleStop(stop), "×"),
    h("code", {}, what), state);
}
