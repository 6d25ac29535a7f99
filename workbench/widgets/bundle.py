"""One ES module out of several small ones, without a build step.

Browsers load a widget's module from a blob URL, from which relative imports do not resolve; so the
files are joined here, in the order of their dependencies. Each stays a normal module for Node.
"""

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
MODULES = (
    "js/payload.js",
    "js/decode.js",
    "js/replay.js",
    "js/memory.js",
    "js/words.js",
    "js/explain.js",
    "js/dom.js",
    "js/timeline.js",
    "js/controls.js",
    "js/listing.js",
    "js/registers.js",
    "js/bytes.js",
    "stepper.js",
)
_IMPORT = re.compile(r"^import\b[^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


@cache
def module() -> str:
    """Return the stepper's whole ES module as text."""
    parts = (f"// {name}\n{_joinable((HERE / name).read_text('utf-8'))}" for name in MODULES)
    return "\n".join(parts)


@cache
def style() -> str:
    """Return the stepper's style sheet."""
    return (HERE / "stepper.css").read_text("utf-8")


def _joinable(source: str) -> str:
    """Drop the import statements and the word `export`; an `export default` stays."""
    return _EXPORT.sub("", _IMPORT.sub("", source))
