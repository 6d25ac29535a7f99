"""Docstrings stand alone, say what is raised, and those of public names carry examples that run."""

import ast
import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kernel_support import KERNEL

import workbench as wb
from workbench.errors import Unsupported
from workbench.objects.compiler import find_compiler

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workbench").rglob("*.py"))
LEANING = ("The same", "As `", "As above", "Ditto", "Likewise", "The other", "Like the")
MODULES = {name for name in wb.__all__ if type(getattr(wb, name)).__name__ == "module"}
PUBLIC = sorted(set(wb.__all__) - MODULES - {"__version__"})
REAL = {"Kernel", "KernelArena", "kernel_map"}  # their examples need a kernel with bpf(2)


def documented(tree: ast.Module) -> Iterator[tuple[str, ast.AST, str]]:
    """Every function and class of a module: dotted name, node, docstring with its class's."""
    todo: list[tuple[str, ast.AST, str]] = [("", tree, "")]
    while todo:
        prefix, parent, above = todo.pop()
        for node in ast.iter_child_nodes(parent):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            own = ast.get_docstring(node) or ""
            name = f"{prefix}{node.name}"
            yield name, node, own + above if node.name == "__init__" else own
            if isinstance(node, ast.ClassDef):
                todo.append((f"{name}.", node, own))


def public(name: str) -> bool:
    return not any(p.startswith("_") and p != "__init__" for p in name.split("."))


def raised(node: ast.AST) -> set[str]:
    """Names of the exceptions that a function raises itself."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Raise) and inner.exc is not None:
            what = inner.exc.func if isinstance(inner.exc, ast.Call) else inner.exc
            found.add(ast.unparse(what).rpartition(".")[2])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_stand_alone_and_say_what_is_raised(path: Path) -> None:
    wrong = []
    for name, node, text in documented(ast.parse(path.read_text(encoding="utf-8"))):
        if text.startswith(LEANING):
            wrong.append(f"{name}: leans on its neighbour: {text.splitlines()[0]}")
        if not public(name) or isinstance(node, ast.ClassDef):
            continue
        names = raised(node)
        if names and "aises" not in text and not any(error in text for error in names):
            wrong.append(f"{name}: does not say that it raises {', '.join(sorted(names))}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=KERNEL if name in REAL else []) for name in PUBLIC]
)
def test_the_example_of_a_public_name_runs(name: str) -> None:
    if name == "compile_c":
        try:
            find_compiler()
        except Unsupported as error:
            pytest.skip(str(error))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    for test in examples(name):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example(name: str) -> None:
    assert examples(name), f"wb.{name} has no example"


def examples(name: str) -> list[doctest.DocTest]:
    """The examples in the docstring of a public name."""
    found = doctest.DocTestFinder(recurse=False).find(getattr(wb, name), name, globs={"wb": wb})
    return [test for test in found if test.examples]
