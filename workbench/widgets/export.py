"""A recorded run as one HTML file that needs neither Python, nor Jupyter, nor a network."""

import base64
import html

from workbench.widgets import bundle
from workbench.widgets.payload import compress, read_meta

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
body {{ margin: 0; background: #fff; color: #1c1e21;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
main {{ max-width: 1440px; margin: 0 auto; padding: 12px 16px 24px; }}
h1 {{ margin: 4px 0 12px; font-size: 20px; font-weight: 600; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #101316; color: #e4e7eb; }} }}
{style}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<div id="stepper"></div>
<noscript>This page shows a recorded run and needs JavaScript.</noscript>
</main>
<script type="text/plain" id="payload">{payload}</script>
<script type="module">
{module}
{shim}
</script>
</body>
</html>
"""

_MODULE_EXPORT = "export default { render };"

# The part of a Jupyter widget model that the module uses; the address ends in the step, #t=123.
_SHIM = """\
const text = document.getElementById("payload").textContent;
const data = new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const stepIn = (address) => Number(/[#&]t=(\\d+)/.exec(address)?.[1] ?? 0);
const state = { data, t: stepIn(location.hash), breakpoints: [] }, listeners = {};
const model = {
  get: (name) => state[name],
  set(name, value) { state[name] = value; for (const f of listeners[`change:${name}`] ?? []) f(); },
  on: (event, f) => { (listeners[event] ??= new Set()).add(f); },
  off: (event, f) => { listeners[event]?.delete(f); },
  save_changes() { model.timer ??= setTimeout(saveAddress, 200); }, // browsers limit the rate
};
function saveAddress() {
  delete model.timer;
  try { history.replaceState(null, "", `#t=${state.t}`); } catch { /* a frame without address */ }
}
addEventListener("hashchange", (event) => model.set("t", stepIn(event.newURL)));
render({ model, el: document.getElementById("stepper") });"""


def to_html(payload: bytes, title: str = "") -> str:
    """Return a self-contained page with the stepper over a packed run; `#t=123` opens step 123.

    `title` defaults to the program's name. Raises TraceError if the bytes are not a packed run.
    """
    meta, _ = read_meta(payload)
    return _PAGE.format(
        title=html.escape(title or str(meta["name"])),
        style=bundle.style(),
        module=bundle.module().replace(_MODULE_EXPORT, ""),
        shim=_SHIM,
        payload=base64.b64encode(compress(payload, level=6)).decode("ascii"),
    )
