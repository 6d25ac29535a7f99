"""One ES module out of several small ones, without a build step.

Browsers load a widget's module from a blob URL, from which relative imports do not resolve; so the
files are joined here, in the order of their dependencies, each in a scope of its own:

    const replay = (() => { ...; return { openRun, nearest }; })();

Each file stays a normal module for Node.
"""

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:default .*\n)?", re.MULTILINE)


@cache
def module(entry: str = "stepper.js") -> str:
    """Return the ES module of a widget, with all that it imports, as text."""
    order: dict[Path, str] = {}
    _collect((HERE / entry).resolve(), order)
    used = _used_names(order)
    *parts, (last, source) = order.items()
    scopes = [_scope(path, text, used[path]) for path, text in parts]
    return "\n".join(
        [*scopes, re.sub(r"^export (?!default)", "", _linked(last, source), flags=re.M)]
    )


@cache
def style() -> str:
    """Return the style sheet that the widgets share."""
    return (HERE / "stepper.css").read_text("utf-8")


def _collect(path: Path, order: dict[Path, str]) -> None:
    """Add a file behind the files that it imports from."""
    source = path.read_text("utf-8")
    for _, name in _IMPORT.findall(source):
        if (imported := _resolved(path, name)) not in order:
            _collect(imported, order)
    order[path] = source


def _resolved(path: Path, name: str) -> Path:
    return (path.parent / name).resolve()


def _used_names(order: dict[Path, str]) -> dict[Path, set[str]]:
    """The names that other files import from each file."""
    used: dict[Path, set[str]] = {path: set() for path in order}
    for path, source in order.items():
        for names, imported in _IMPORT.findall(source):
            used[_resolved(path, imported)].update(re.findall(r"\w+", names))
    return used


def _scope(path: Path, source: str, names: set[str]) -> str:
    exported = ", ".join(sorted(names))
    body = _EXPORT.sub("", _linked(path, source))
    return f"const {_name(path)} = (() => {{\n{body}return {{ {exported} }};\n}})();"


def _linked(path: Path, source: str) -> str:
    """Turn imports into constants that take the names out of the other files' scopes."""

    def constant(match: re.Match[str]) -> str:
        names = " ".join(match[1].split()).rstrip(",")
        return f"const {{ {names} }} = {_name(_resolved(path, match[2]))};\n"

    return _IMPORT.sub(constant, source)


def _name(path: Path) -> str:
    return f"from_{path.stem}"
