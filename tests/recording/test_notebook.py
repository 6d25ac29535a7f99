"""The methods of a recording that live above it: named once, found by people and by checkers."""

import ast
import inspect
import pydoc
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

import workbench as wb
from workbench.recording import notebook
from workbench.recording.trace import Trace

TREE = ast.parse(inspect.getsource(notebook))
DECLARED = {
    node.name: node
    for parent in ast.walk(TREE)
    if isinstance(parent, ast.ClassDef) and parent.name == "_Signatures"
    for node in parent.body
    if isinstance(node, ast.FunctionDef)
}


def declared(node: ast.FunctionDef) -> list[tuple[str, str]]:
    """The parameters of a declaration after the first, with their defaults."""
    rows = node.args.args
    defaults = [""] * (len(rows) - len(node.args.defaults)) + [
        *map(ast.unparse, node.args.defaults)
    ]
    return [(row.arg, default) for row, default in zip(rows, defaults, strict=True)][1:]


def defined(function: Any) -> list[tuple[str, str]]:
    """The parameters of a function after the first, those by keyword alone left out."""
    parameters = [
        p for p in inspect.signature(function).parameters.values() if p.kind != p.VAR_KEYWORD
    ]
    return [(p.name, "" if p.default is p.empty else repr(p.default)) for p in parameters][1:]


def test_every_method_is_declared() -> None:
    assert [*DECLARED] == [*notebook.METHODS]


@pytest.mark.parametrize("name", notebook.METHODS)
def test_a_method_is_what_is_declared_and_is_explained(name: str) -> None:
    function = getattr(Trace, name)
    assert (function.__module__, function.__name__) == notebook.METHODS[name]
    assert declared(DECLARED[name]) == defined(function)
    assert inspect.getdoc(function)


def test_completion_and_help_know_the_methods() -> None:
    trace = wb.record(wb.assemble("r0 = 0\nexit"))
    assert {*notebook.METHODS} <= {*dir(trace)}
    assert inspect.getdoc(trace.stepper).startswith("A widget that moves through the run")  # type: ignore[union-attr]
    assert str(inspect.signature(trace.fork)).startswith("(step: int, registers:")
    text = pydoc.plain(pydoc.render_doc(Trace))
    assert "fork(trace: workbench.recording.trace.Trace, step: int" in text
    assert "Mistakes" in text or "Find mistakes with arena memory" in text


def test_a_trace_stays_a_frozen_value() -> None:
    trace = wb.record(wb.assemble("r0 = 0\nexit"))
    with pytest.raises(FrozenInstanceError):
        trace.stop = "fault"  # type: ignore[misc]
    assert trace._repr_mimebundle_(include=None)["text/plain"] == repr(trace)
