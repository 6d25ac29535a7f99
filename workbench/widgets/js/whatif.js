// What if: a register or bytes changed before the step in view; Python runs on from there, and the other
// run appears below. Where there is no Python, the pane says what to write there.

import { placeText, parsePlace } from "./places.js";
import { button, h, setText } from "./dom.js";

const EXAMPLE = "r3 = 7 · arena+0x1008 = -1 · arena+0x1008:4 = 0x10";

export function createWhatIf(session, model) {
  const asks = model.get("what_if") !== undefined;
  const input = h("input", {
    type: "text", class: "stp-stop-text stp-what-if", "aria-label": "What if", placeholder: "r3 = 7", spellcheck: "false",
    autocomplete: "off", title: EXAMPLE, onchange: ask,
  });
  const when = h("span"), answer = h("p", { class: "stp-why-end", role: "status" });
  const end = button("Close the other run", () => send(""), "close the other run");
  const element = h("div", { class: "stp-scroll", tabindex: 0, role: "region", "aria-label": "What if" },
    h("div", { class: "stp-stop-add" }, when, input, end), answer,
    h("p", { class: "stp-why-end" }, `Changes a register or memory before this step and runs on; both runs then move together. For example: ${EXAMPLE}`));

  function ask() {
    const text = input.value.trim();
    if (!text) return;
    const { error, place, value } = parseChange(session.run, text);
    input.setAttribute("aria-invalid", String(!!error));
    if (error) return setText(answer, error);
    if (asks) return send(`${session.t}: ${place.r === undefined ? `0x${place.start.toString(16)}:${place.size}` : `r${place.r}`} = ${value}`);
    setText(answer, `A page cannot run programs. In Python: trace.beside(${pythonCall(session.t, place, value)})`);
  }

  function send(text) {
    model.set("what_if", text);
    model.save_changes();
  }

  const hear = () => update();
  model.on("change:answer", hear);
  model.on("change:other", hear);

  function update() {
    setText(when, `before step ${session.t}`);
    if (asks) setText(answer, model.get("answer") ?? "");
    end.hidden = !asks || !model.get("other")?.byteLength;
  }
  return {
    element, update, focus: () => input.focus(),
    suggest: () => { if (session.selection && !input.value) input.value = `${placeText(session.run, session.selection)} = `; },
    close() { model.off("change:answer", hear); model.off("change:other", hear); },
  };
}

/** "r3 = 7" -> {place, value}, or {error}. */
export function parseChange(run, text) {
  const [, where, digits] = /^(.*?)\s*=\s*(-?(?:0x[0-9a-f]+|\d+))\s*$/i.exec(text) ?? [];
  const place = where === undefined ? null : parsePlace(run, where);
  if (!place || place.r === 10 || place.size > 8) return { error: `'${text}' is no change; for example: ${EXAMPLE}` };
  return { place, value: digits };
}

function pythonCall(t, { r, start, size }, value) {
  if (r !== undefined) return `trace.fork(${t}, registers={${r}: ${value}})`;
  const bits = BigInt.asUintN(8 * size, value[0] === "-" ? -BigInt(value.slice(1)) : BigInt(value));
  return `trace.fork(${t}, memory={0x${start.toString(16)}: (${bits}).to_bytes(${size}, "little")})`;
}
