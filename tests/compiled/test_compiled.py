"""Compiled code is cached under a name that every source it depends on goes into."""

import ast
from pathlib import Path

import pytest

import workbench
from workbench.compiled.cache import sources
from workbench.compiled.njit import njit

PACKAGE = Path(workbench.__file__).parent
SOURCES = sources()
MARKS = ("@njit", "@callback")
COMPILED = [path for path in SOURCES if any(mark in path.read_text() for mark in MARKS)]


def imported(path: Path) -> set[Path]:
    """The files of this package that a module imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workbench"):
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                file = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
                if file.is_file():
                    found.add(file)
    return found


def test_there_is_compiled_code_to_look_at() -> None:
    assert {"loop.py", "ranges.py", "state.py", "events.py"} <= {path.name for path in COMPILED}


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_compiled_code_imports_names_its_cache(path: Path) -> None:
    assert imported(path) <= set(SOURCES)


def test_no_module_compiles_outside_the_cache() -> None:
    uses = {path for path in PACKAGE.rglob("*.py") if "@njit" in path.read_text()}
    assert uses <= set(SOURCES)


def test_a_call_with_a_constant_is_compiled_for_any_number() -> None:
    @njit
    def double(number):  # type: ignore[no-untyped-def]
        return 2 * number

    @njit
    def several(number):  # type: ignore[no-untyped-def]
        return double(1) + double(2) + double(number)

    assert several(3) == 12
    assert len(double.signatures) == 1
