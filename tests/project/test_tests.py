"""How the tests are built: what several of them need lies beside them, not in one of them."""

import ast
from pathlib import Path

from support.paths import TESTS

FILES = sorted(TESTS.rglob("*.py"))
MODULES = {path.stem for path in FILES if path.name.startswith("test_")} | {"conftest"}


def name_of(path: Path) -> str:
    return str(path.relative_to(TESTS))


def imported(path: Path) -> set[str]:
    """Every part of every dotted name that a file imports: a.b.test_x -> a, b, test_x."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {part for alias in node.names for part in alias.name.split(".")}
            found |= set((node.module or "").split("."))
        elif isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in alias.name.split(".")}
    return found


def test_nothing_imports_from_a_test() -> None:
    found = {name_of(path): imported(path) & MODULES for path in FILES}
    assert not {name: modules for name, modules in found.items() if modules}, "put it in support/"


def test_every_test_lies_in_the_folder_of_what_it_tests() -> None:
    others = {"project", "oracles"}
    tested = {path.name for path in (TESTS.parent / "workbench").iterdir() if path.is_dir()}
    for path in FILES:
        if path.name.startswith("test_"):
            assert path.relative_to(TESTS).parts[0] in tested | others, name_of(path)


def test_names_of_tests_are_unique() -> None:
    names = [path.name for path in FILES if path.name.startswith("test_")]
    assert len(names) == len(set(names))
