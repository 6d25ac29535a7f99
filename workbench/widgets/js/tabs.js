// Several panes in one place, one of them in view. Plain toggle buttons, so that the arrow keys keep
// moving through the run whatever was clicked last.

import { h, setText } from "./dom.js";

/** panes: [{label, pane}], pane = {element, update()}; only the pane in view is updated. */
export function createTabs(name, area, panes) {
  let shown = 0;
  const buttons = panes.map(({ label }, i) => h("button", {
    type: "button", class: "stp-tab", "aria-pressed": String(!i), onclick: () => tabs.show(i),
  }, label));
  const bodies = panes.map(({ pane }) => pane.element);
  const element = h("section", { class: `stp-pane stp-${area}`, "aria-label": name },
    h("div", { class: "stp-tabs", role: "group", "aria-label": name }, ...buttons), ...bodies);
  bodies.forEach((body, i) => { body.hidden = i > 0; });
  const tabs = {
    element,
    show(i) {
      shown = i;
      buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === i)));
      bodies.forEach((body, at) => { body.hidden = at !== i; });
      panes[i].pane.update();
    },
    label(i, text) { setText(buttons[i], text); },
    update() { panes[shown].pane.update(); },
  };
  return tabs;
}
