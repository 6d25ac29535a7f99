// A picture with a brush: a rectangle dragged over one of its panels is a stretch of that panel's axes.

/** The panel [left, top, right, bottom] (shares of the picture) that a point lies in, or null. */
export const panelAt = (panels, x, y) => panels.find(([l, t, r, b]) => x >= l && x <= r && y >= t && y <= b) ?? null;

/** Two corners as [x0, y0, x1, y1]: shares of the panel, y upwards, cut at its edges. */
export function shares([l, t, r, b], from, to) {
  const within = (value) => Math.min(1, Math.max(0, value));
  const x = [from.x, to.x].map((value) => within((value - l) / (r - l))).sort((a, b) => a - b);
  const y = [from.y, to.y].map((value) => within((b - value) / (b - t))).sort((a, b) => a - b);
  return [x[0], y[0], x[1], y[1]];
}

const SMALLEST = 0.005; // of the panel: less is a click

/** anywidget's entry point; returns what undoes it. */
export function render({ model, el }) {
  const image = document.createElement("img"), band = document.createElement("div"), box = document.createElement("div");
  box.className = "brush";
  box.style.cssText = "position:relative;display:inline-block;max-width:100%;cursor:crosshair;touch-action:none;user-select:none";
  band.style.cssText = "position:absolute;display:none;border:1px solid #000;background:rgba(0,114,178,.2);pointer-events:none";
  image.style.cssText = "display:block;max-width:100%";
  image.draggable = false;
  box.title = "drag to zoom, double click for the whole run";
  box.append(image, band);
  el.append(box);

  const draw = () => {
    image.src = model.get("picture");
    image.alt = model.get("alt");
    image.width = model.get("width");
  };
  const at = (event) => {
    const edge = image.getBoundingClientRect();
    return { x: (event.clientX - edge.left) / edge.width, y: (event.clientY - edge.top) / edge.height };
  };
  let start = null, panel = null;
  const moved = (event) => {
    if (!panel) return;
    const [x0, y0, x1, y1] = shares(panel, start, at(event)), [l, t, r, b] = panel;
    Object.assign(band.style, {
      display: "block", left: `${100 * (l + x0 * (r - l))}%`, width: `${100 * (x1 - x0) * (r - l)}%`,
      top: `${100 * (b - y1 * (b - t))}%`, height: `${100 * (y1 - y0) * (b - t)}%`,
    });
  };
  const ended = (event) => {
    const chosen = panel && shares(panel, start, at(event));
    panel = null;
    band.style.display = "none";
    if (chosen && chosen[2] - chosen[0] > SMALLEST && chosen[3] - chosen[1] > SMALLEST) {
      model.set("selected", chosen);
      model.save_changes();
    }
  };
  const cancelled = () => {
    panel = null;
    band.style.display = "none";
  };
  const began = (event) => {
    start = at(event);
    panel = panelAt(model.get("panels"), start.x, start.y);
    if (panel) box.setPointerCapture(event.pointerId);
  };
  box.addEventListener("pointerdown", began);
  box.addEventListener("pointermove", moved);
  box.addEventListener("pointerup", ended);
  box.addEventListener("pointercancel", cancelled);
  box.addEventListener("dblclick", () => model.send("whole"));
  model.on("change:picture", draw);
  draw();
  return () => model.off("change:picture", draw);
}

export default { render };
