// The exported page: a model in place of Jupyter's, and an address that says where the reader is:
// #t=123&select=r1&stop=16&stop=line 12.

import { render } from "./stepper.js";

const textOf = (id) => document.getElementById(id).textContent;
const bytesOf = (id) => new DataView(Uint8Array.from(atob(textOf(id)), (c) => c.charCodeAt(0)).buffer);
const state = {
  data: bytesOf("payload"), other: bytesOf("other"), t: 0, breakpoints: [], selection: "",
  ...JSON.parse(textOf("shown")), ...stateIn(location.hash),
}, listeners = {};
let timer = 0;

const model = {
  get: (name) => state[name],
  set(name, value) {
    state[name] = value;
    for (const f of listeners[`change:${name}`] ?? []) f();
  },
  on: (event, f) => { (listeners[event] ??= new Set()).add(f); },
  off: (event, f) => { listeners[event]?.delete(f); },
  save_changes() { timer ||= setTimeout(saveAddress, 200); }, // browsers limit the rate
};

/** The address's part after # -> those of t, breakpoints and selection that it has. */
function stateIn(hash) {
  const fields = new URLSearchParams(hash.slice(1)), found = {};
  if (fields.has("t")) found.t = Number(fields.get("t")) || 0;
  if (fields.has("select")) found.selection = fields.get("select");
  if (fields.has("stop")) found.breakpoints = fields.getAll("stop").map((stop) => (/^\d+$/.test(stop) ? Number(stop) : stop));
  return found;
}

function saveAddress() {
  timer = 0;
  const fields = new URLSearchParams({ t: state.t });
  if (state.selection) fields.set("select", state.selection);
  for (const stop of state.breakpoints) fields.append("stop", stop);
  try { history.replaceState(null, "", `#${fields}`); } catch { /* a frame without address */ }
}

addEventListener("hashchange", () => {
  for (const [name, value] of Object.entries(stateIn(location.hash))) model.set(name, value);
});
render({ model, el: document.getElementById("stepper") });
