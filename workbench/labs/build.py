"""Notebooks from a lab's text: for students, for instructors, and for two graders."""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from workbench.errors import WorkbenchError
from workbench.files import write_whole
from workbench.labs.source import FORMATS, Lab, Task

IMPORTS = (
    "import workbench as wb\nfrom workbench.labs.checks import *  # require, attempt, faults ...\n"
)
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def build(lab: Lab, format: str, directory: Path) -> list[Path]:
    """Write a lab's notebooks below `directory` and return their paths.

    "plain": NAME.ipynb for students and solutions/NAME.ipynb. "otter": NAME.ipynb, the input of
    `otter assign`. "nbgrader": source/NAME/NAME.ipynb in a course directory. Raises
    WorkbenchError for an unknown format.
    """
    if format not in FORMATS:
        raise WorkbenchError(f"unknown format '{format}'; choose from {', '.join(FORMATS)}")
    if format == "plain":
        student, solution = notebook(lab, _student), notebook(lab, _solved)
        return [
            _write(student, directory / f"{lab.name}.ipynb"),
            _write(solution, directory / "solutions" / f"{lab.name}.ipynb"),
        ]
    if format == "otter":
        return [_write(_for_otter(lab), directory / f"{lab.name}.ipynb")]
    place = directory / "source" / lab.name
    return [_write(notebook(lab, _for_nbgrader), place / f"{lab.name}.ipynb")]


def notebook(lab: Lab, cells: Callable[[Task], Iterator[NotebookNode]]) -> NotebookNode:
    """A lab as a notebook whose tasks are made of `cells(task)`."""
    book = new_notebook(metadata=_METADATA)
    book.cells = [*_opening(lab)]
    for task in lab.tasks:
        book.cells += [new_markdown_cell(_prompt(task)), *cells(task)]
    for number, cell in enumerate(book.cells):
        cell["id"] = f"{lab.name[:2]}-{number}"
    return book


def answered(lab: Lab, answers: dict[str, str], hidden: bool = False) -> NotebookNode:
    """The student's notebook with some tasks answered by code; the others are as handed out."""
    form = _solved if hidden else _student
    return notebook(lab, lambda task: form(task, answers.get(task.name)))


def _opening(lab: Lab) -> Iterator[NotebookNode]:
    goals = "\n".join(f"- {goal}" for goal in lab.goals)
    number = int(lab.name.partition("_")[0])
    yield new_markdown_cell(
        f"# Lab {number}: {lab.title}\n\n{lab.minutes} minutes, {lab.points} points. "
        f"You learn to:\n\n{goals}"
    )
    yield new_code_cell(IMPORTS.strip())
    for kind, text in lab.opening:
        yield new_markdown_cell(text) if kind == "markdown" else new_code_cell(text)


def _prompt(task: Task) -> str:
    return f"## {task.title} ({task.points} points)\n\n{task.text}"


def _code(text: str, task: Task, part: str) -> NotebookNode:
    return new_code_cell(text.rstrip(), metadata={"lab": {"task": task.name, "part": part}})


def _student(task: Task, answer: str | None = None) -> Iterator[NotebookNode]:
    yield _code(answer or task.starter, task, "answer")
    yield _code(f"# Check: run this cell, it says what is missing.\n{task.check}", task, "check")


def _solved(task: Task, answer: str | None = None) -> Iterator[NotebookNode]:
    yield from _student(task, answer or task.solution)
    yield _code(f"# Hidden test\n{task.hidden}", task, "hidden")


def _for_nbgrader(task: Task) -> Iterator[NotebookNode]:
    """Cells with nbgrader's metadata: an autograded answer and two locked tests."""
    answer = f"### BEGIN SOLUTION\n{task.solution.rstrip()}\n### END SOLUTION"
    yield _graded(answer, task, "answer", solution=True)
    yield _graded(task.check.rstrip(), task, "check", points=task.public_points)
    hidden = f"### BEGIN HIDDEN TESTS\n{task.hidden.rstrip()}\n### END HIDDEN TESTS"
    yield _graded(hidden, task, "hidden", points=task.hidden_points)


def _graded(
    text: str, task: Task, part: str, solution: bool = False, points: int | None = None
) -> NotebookNode:
    about = {
        "grade_id": f"{task.name}-{part}", "schema_version": 3, "solution": solution,
        "grade": points is not None, "locked": not solution, "task": False,
    }  # fmt: skip
    if points is not None:
        about["points"] = points
    cell = _code(text, task, part)
    cell.metadata["nbgrader"] = about
    return cell


def _for_otter(lab: Lab) -> NotebookNode:
    """The input of `otter assign`: raw cells mark questions, solutions and tests."""
    head = new_raw_cell(
        f"# ASSIGNMENT CONFIG\nname: {lab.name}\ninit_cell: true\ncheck_all_cell: true\n"
        "export_cell: false\nsolutions_pdf: false\ngenerate: true\ntests:\n  ok_format: true\n"
    )
    book = notebook(lab, _otter_cells)
    book.cells = [head, *_with_prompts(book.cells)]
    return book


def _with_prompts(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    """otter wants a question's text inside the question: behind its opening cell."""
    at = 0
    while at < len(cells):
        following = cells[at + 1] if at + 1 < len(cells) else None
        if following is not None and following.source.startswith("# BEGIN QUESTION"):
            yield following
            yield cells[at]
            at += 2
        else:
            yield cells[at]
            at += 1


def _otter_cells(task: Task) -> Iterator[NotebookNode]:
    yield new_raw_cell(f"# BEGIN QUESTION\nname: {task.name}\npoints: {task.points}\n")
    yield new_raw_cell("# BEGIN SOLUTION")
    prompt = task.starter.rstrip().replace('"""', "'''")
    text = (
        f'""" # BEGIN PROMPT\n{prompt}\n""" # END PROMPT\n'
        f"# BEGIN SOLUTION NO PROMPT\n{task.solution.rstrip()}\n# END SOLUTION"
    )
    yield _code(text, task, "answer")
    yield new_raw_cell("# END SOLUTION")
    yield new_raw_cell("# BEGIN TESTS")
    yield new_code_cell(_otter_test(task.check, task.public_points, hidden=False))
    yield new_code_cell(_otter_test(task.hidden, task.hidden_points, hidden=True))
    yield new_raw_cell("# END TESTS")
    yield new_raw_cell("# END QUESTION")


def _otter_test(code: str, points: int, hidden: bool) -> str:
    config = json.dumps({"points": points, "hidden": hidden})
    quiet = ast.unparse(_Quiet().visit(ast.parse(code)))
    return f'""" # BEGIN TEST CONFIG\n{config}\n""" # END TEST CONFIG\n{quiet}'


class _Quiet(ast.NodeTransformer):
    """otter's tests are doctests: the value of a bare expression would count as output."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Assign(
            targets=[ast.Name("_", ast.Store())], value=node.value, lineno=node.lineno
        )


def _write(book: NotebookNode, path: Path) -> Path:
    write_whole(path, f"{nbformat.writes(book)}\n")
    return path
