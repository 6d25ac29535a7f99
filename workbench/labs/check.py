"""What a student's notebook is worth so far: it is run and checked in a kernel of its own.

A task whose code never ends, or takes the kernel down, loses its own points only: the notebook is
run again without that answer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from workbench.errors import WorkbenchError
from workbench.files import write_whole
from workbench.labs.source import Lab, Task, labs

CELL_SECONDS = 60  # bounds a cell that never ends; not measured
OPENING_SECONDS = 300  # the first run of all may have to compile the interpreter


class Mark(NamedTuple):
    """A task, whether its check holds, and what the check said if not."""

    task: str
    passed: bool
    message: str = ""


class Grade(NamedTuple):
    """Points earned by a task out of all that it is worth, and the first message."""

    points: int
    out_of: int
    message: str = ""


def grade(lab: Lab, answers: Mapping[str, str]) -> dict[str, Grade]:
    """Grade answers in this process, hidden tests included: tasks without an answer get 0."""
    from workbench.labs.build import IMPORTS

    space: dict[str, object] = {}
    exec(IMPORTS, space)
    for kind, text in lab.opening:
        if kind == "python":
            exec(text, space)
    return {
        task.name: _grade(task, answers.get(task.name, task.starter), space) for task in lab.tasks
    }


def _grade(task: Task, answer: str, space: dict[str, object]) -> Grade:
    points, first = 0, ""
    failed = _failure(answer, space)
    for code, worth in ((task.check, task.public_points), (task.hidden, task.hidden_points)):
        message = failed or _failure(code, space)
        points += 0 if message else worth
        first = first or message
    return Grade(points, task.points, first)


def _failure(code: str, space: dict[str, object]) -> str:
    """Run a cell; returns what it says when it fails."""
    try:
        exec(code, space)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def check_notebook(path: str | Path, seconds: int = CELL_SECONDS) -> list[Mark]:
    """Run a student's notebook and say which public checks hold.

    `seconds` is what one cell may take. Raises WorkbenchError for a file that is no lab.
    """
    book = _read(path)
    tasks = dict.fromkeys(_task(cell) for cell in book.cells if _part(cell) == "check")
    if not tasks:
        raise WorkbenchError(f"{path} is no lab: it has no check cells; start from a built one")
    marks = {task: Mark(task, False, message) for task, message in culprits(book, seconds).items()}
    for cell in book.cells:
        if _part(cell) == "check" and _task(cell) not in marks:
            marks[_task(cell)] = _mark(cell)
    return [marks[task] for task in tasks]


def guard(path: str | Path, output: Path, seconds: int = CELL_SECONDS) -> dict[str, str]:
    """Copy a submission for a grader without the answers that would hang it or take it down.

    Each answer is tried under the lab's public and hidden tests; one that never ends, or takes
    Python down, raises its message instead. Returns those messages by task. Raises
    WorkbenchError for a file that is no lab's notebook.
    """
    from workbench.labs.build import answered

    book = _read(path)
    cells = {_task(cell): cell for cell in book.cells if _part(cell) == "answer"}
    lab = next((lab for lab in labs() if {task.name for task in lab.tasks} == set(cells)), None)
    if lab is None:
        raise WorkbenchError(f"{path} is no lab's notebook: its answer cells belong to none")
    answers = {task: cell.source for task, cell in cells.items()}
    found = culprits(answered(lab, answers, hidden=True), seconds)
    for task, message in found.items():
        cells[task].source = f"raise RuntimeError({message!r})"
    write_whole(output / Path(path).name, f"{nbformat.writes(book)}\n")
    return found


def culprits(book: NotebookNode, seconds: int = CELL_SECONDS) -> dict[str, str]:
    """Run a notebook; tasks that hung or took the kernel down, and how. The others' outputs stay.

    It is run again without each culprit's cells.
    """
    found: dict[str, str] = {}
    kept = list(book.cells)
    while True:
        trial = NotebookNode(book, cells=[cell for cell in kept if _task(cell) not in found])
        culprit, message = _run(trial, seconds)
        if culprit is None:
            return found
        found[culprit] = message


def _read(path: str | Path) -> NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        raise WorkbenchError(f"cannot read {path} as a notebook: {error}") from None


def _task(cell: NotebookNode) -> str:
    return str(cell.metadata.get("lab", {}).get("task", ""))


def _part(cell: NotebookNode) -> str:
    return str(cell.metadata.get("lab", {}).get("part", ""))


def _run(book: NotebookNode, seconds: int) -> tuple[str | None, str]:
    """Run all cells; (task, message) of one that hung or took the kernel down, else (None, "")."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    client = NotebookClient(book, timeout=seconds, allow_errors=True, kernel_name="python3")
    current = ""
    try:
        with client.setup_kernel():
            for at, cell in enumerate(book.cells):
                current = _task(cell)
                if cell.cell_type == "code":
                    client.timeout = seconds if current else max(seconds, OPENING_SECONDS)
                    client.execute_cell(cell, at)
    except CellTimeoutError:
        message = f"still running after {seconds} seconds; is there a loop without an end?"
    except DeadKernelError:
        message = "the code took Python down; is there a wild pointer in it?"
    else:
        return None, ""
    if not current:
        raise WorkbenchError(f"a cell before the first task did not end well: {message}")
    return current, message


def _mark(cell: NotebookNode) -> Mark:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    message = errors[0].evalue if errors else ""
    return Mark(_task(cell), not errors, message)
