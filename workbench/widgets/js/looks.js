// When a canvas has to be painted again: its size or the theme has changed.

/** Calls repaint() then; returns what stops that. */
export function watchLooks(root, repaint) {
  const soon = () => requestAnimationFrame(repaint); // a theme is switched with the page hidden
  const size = new ResizeObserver(repaint), theme = new MutationObserver(soon);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  size.observe(root);
  theme.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name"] });
  dark.addEventListener("change", repaint);
  return () => { size.disconnect(); theme.disconnect(); dark.removeEventListener("change", repaint); };
}

/** Size a canvas for its place in the page; returns its 2d context in CSS pixels, or null while hidden. */
export function canvasContext(canvas, width, height) {
  if (!width) return null;
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  return g;
}

/** Reads the theme's colours: name -> value of --stp-name. */
export function themeColours(element) {
  const css = getComputedStyle(element);
  return (name) => css.getPropertyValue(`--stp-${name}`).trim();
}
