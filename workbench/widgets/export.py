"""A recorded run as one HTML file that needs neither Python, nor Jupyter, nor a network."""

import base64
import html
import json
from collections.abc import Mapping
from typing import Any

from workbench.recording.format import compress, read_meta
from workbench.widgets import bundle

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
main {{ max-width: 1880px; margin: 0 auto; padding: 12px 16px 24px; }}
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
<script type="text/plain" id="other">{other}</script>
<script type="application/json" id="shown">{shown}</script>
<script type="module">
{module}
</script>
</body>
</html>
"""


def to_html(
    payload: bytes, title: str = "", shown: Mapping[str, Any] | None = None, other: bytes = b""
) -> str:
    """Return a self-contained page with the stepper over a packed run; `#t=123` opens step 123.

    The address goes along with the reader: `#t=123&select=r1&stop=16` has all that is needed.
    `title` defaults to the program's name. `shown` are traits of the Stepper to begin with; with
    its `aligned`, `other` is the run below. Raises TraceError if the bytes are not a packed run.
    """
    meta, _ = read_meta(payload)
    return _PAGE.format(
        title=html.escape(title or str(meta["name"])),
        style=bundle.style(),
        module=bundle.module("page.js"),
        payload=_text(payload),
        other=_text(other) if other else "",
        shown=json.dumps(dict(shown or {})).replace("<", "\\u003c"),
    )


def _text(payload: bytes) -> str:
    return base64.b64encode(compress(payload, level=6)).decode("ascii")
