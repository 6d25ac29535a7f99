"""Every module that notebooks, labs and pages name is there, under the name of this release."""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from support.paths import ROOT

import workbench
from workbench import moved

PAGES = [
    *sorted((ROOT / "notebooks").rglob("*.ipynb")),
    *sorted((ROOT / "notebooks" / "labs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(p for p in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if p.is_file()),
]
pytestmark = pytest.mark.filterwarnings("error:workbench:DeprecationWarning")
DOTTED = re.compile(r"\bworkbench(?:\.[A-Za-z_]\w*)+")
FENCED = re.compile(r"^```\{?(?:python|code-cell)\b.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def texts(path: Path) -> tuple[str, list[str]]:
    """What a page says, outputs left out, and its pieces of Python."""
    if path.suffix == ".md":
        page = path.read_text()
        return page, FENCED.findall(page)
    cells = json.loads(path.read_text())["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    code = [text for kind, text in sources if kind == "code" and not text.startswith("%%bpf")]
    return "\n".join(text for _, text in sources), code


def is_old(module: str) -> bool:
    """Whether a module has another name by now, and none on the package itself (`wb.faults`)."""
    return moved.new_name(module) is not None and module.split(".")[1] not in dir(workbench)


def resolved(name: str) -> object:
    """The module or attribute of a dotted name; None where there is none, or only an old one."""
    found: object = workbench
    parts = name.split(".")[1:]
    for count, part in enumerate(parts, 1):
        module = ".".join(["workbench", *parts[:count]])
        if is_old(module):
            return None
        if not hasattr(found, part):
            with suppress(ModuleNotFoundError):
                import_module(module)
        found = getattr(found, part, None)
    return found


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in the code, full name) of each thing that the code imports from the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [(alias.asname or alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [
                (alias.asname or alias.name, f"{node.module}.{alias.name}".removesuffix(".*"))
                for alias in node.names
            ]
        else:
            continue
        yield from ((own, full) for own, full in names if full.split(".")[0] == "workbench")


def statements(tree: ast.AST) -> Iterator[str]:
    """Modules by the names that import statements write out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def used(tree: ast.AST, modules: dict[str, str]) -> Iterator[str]:
    """Full names of what the code takes from the modules that it has, by their names in it."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name(own), name) if own in modules:
                yield f"{modules[own]}.{name}"


def in_code(pieces: list[str]) -> set[str]:
    """Full names of what pieces of Python, one after the other, import and use."""
    lines = [line for piece in pieces for line in piece.splitlines()]
    tree = ast.parse("\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines))
    names = dict(imported(tree))
    old = {name for name in statements(tree) if moved.new_name(name)}
    assert not old, "names of the last release"
    modules = {own: full for own, full in names.items() if isinstance(resolved(full), ModuleType)}
    return {*names.values(), *used(tree, modules)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_what_is_there(path: Path) -> None:
    text, code = texts(path)
    names = set(DOTTED.findall(text)) | in_code(code)
    assert not sorted(name for name in names if resolved(name) is None)


def test_the_pages_are_found() -> None:
    named = {name for path in PAGES for name in in_code(texts(path)[1])}
    assert len(PAGES) > 30
    assert len(named) > 100


@pytest.mark.parametrize("name", ["workbench.corpus", "workbench.bpf.isa.Nothing", "workbench.no"])
def test_a_wrong_name_is_seen(name: str) -> None:
    assert resolved(name) is None
