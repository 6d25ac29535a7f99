"""Labs really graded: the solution and typical mistakes, by otter-grader and by nbgrader."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support.paths import ROOT

from workbench.labs import source
from workbench.labs.build import build
from workbench.labs.check import guard

TOOLS = Path(sys.executable).parent
PATH = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"  # nbgrader looks for alembic there
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PATH": PATH}
LAB = source.lab("2")
LOOP, CRASH = "while True:\n    pass\n", "import ctypes\nctypes.string_at(8)\n"
HOSTILE = {"store": LOOP, "pages": CRASH}
TOLD = {"store": "is there a loop without an end?", "pages": "took Python down"}
STUDENTS = {"right": {}, "hostile": HOSTILE} | {
    f"wrong{n}": {task.name: task.wrong[n].code for task in LAB.tasks} for n in range(3)
}


def expected(student: str) -> dict[str, int]:
    """Points by task."""
    points = {task.name: task.points for task in LAB.tasks}
    if student == "hostile":
        return points | dict.fromkeys(HOSTILE, 0)
    if student != "right":
        points = {task.name: task.wrong[int(student[-1])].points for task in LAB.tasks}
    return points


def fill_in(book, student: str, task_of) -> None:
    """Put a student's answers where `task_of(cell)` names a task."""
    solutions = {task.name: task.solution for task in LAB.tasks} | STUDENTS[student]
    answered = []
    for cell in book.cells:
        if (name := task_of(cell)) in solutions:
            cell.source = solutions[name]
            answered.append(name)
    assert answered == [task.name for task in LAB.tasks]


def command(*arguments: str, cwd: Path) -> str:
    """Run a tool of this environment; its output."""
    tool = TOOLS / arguments[0]
    settings = {"cwd": cwd, "env": ENVIRONMENT, "capture_output": True, "text": True}
    done = subprocess.run([tool, *arguments[1:]], **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def students(scale):
    """In CI the solution and a mistake in each task, by nbgrader a loop and a crash too."""
    return scale(("right", "wrong0"), tuple(STUDENTS))


def test_otter_gives_the_points(students, tmp_path):
    pytest.importorskip("otter", reason="no otter-grader; install the extra 'labs'")
    (path,) = build(LAB, "otter", tmp_path)
    command("otter", "assign", path.name, "dist", "--no-run-tests", cwd=tmp_path)
    (autograder,) = (tmp_path / "dist" / "autograder").glob("*.zip")
    handed_out = tmp_path / "dist" / "student" / path.name
    assert "HIDDEN" not in handed_out.read_text()
    assert all(task.hidden.split("\n")[0] not in handed_out.read_text() for task in LAB.tasks)
    prompts = {task.starter.strip().replace('"""', "'''"): task.name for task in LAB.tasks}
    for student in students:
        book = nbformat.read(handed_out, as_version=4)
        fill_in(book, student, lambda cell: prompts.get(cell.source.strip()))
        submission = tmp_path / f"{student}.ipynb"
        nbformat.write(book, submission)
        if student == "hostile":
            assert set(guard(submission, tmp_path, seconds=10)) == set(HOSTILE)
        output = tmp_path / student
        output.mkdir()
        command(
            "otter", "run", "-a", str(autograder), "-o", str(output), submission.name, cwd=tmp_path
        )
        tests = json.loads((output / "results.json").read_text())["tests"]
        points = {test["name"]: test["score"] for test in tests if "score" in test}
        assert points == expected(student)
        if student.startswith("wrong"):
            shown = {test["name"]: test.get("output", "") for test in tests}
            for task in LAB.tasks:
                assert task.wrong[int(student[-1])].message in shown[task.name]


def test_nbgrader_gives_the_points(students, tmp_path, monkeypatch):
    pytest.importorskip("nbgrader", reason="no nbgrader; install the extra 'labs'")
    build(LAB, "nbgrader", tmp_path)
    (tmp_path / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'arena'\n"
    )
    command("nbgrader", "generate_assignment", LAB.name, cwd=tmp_path)
    released = tmp_path / "release" / LAB.name / f"{LAB.name}.ipynb"
    assert all(task.hidden.split("\n")[0] not in released.read_text() for task in LAB.tasks)
    students = dict.fromkeys((*students, "hostile"))
    for student in students:
        book = nbformat.read(released, as_version=4)
        fill_in(book, student, _nbgrader_task)
        place = tmp_path / "submitted" / student / LAB.name / released.name
        place.parent.mkdir(parents=True)
        nbformat.write(book, place)
        if student == "hostile":
            found = guard(place, place.parent, seconds=10)
            assert all(TOLD[task] in message for task, message in found.items())
            assert set(found) == set(HOSTILE)
    command("nbgrader", "autograde", LAB.name, cwd=tmp_path)
    from nbgrader.api import Gradebook

    monkeypatch.setenv("PATH", PATH)
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        for student in students:
            (notebook,) = book.find_submission(LAB.name, student).notebooks
            points = dict.fromkeys(expected(student), 0)
            for grade in notebook.grades:
                points[grade.name.rpartition("-")[0]] += grade.score
            assert points == expected(student)


def _nbgrader_task(cell) -> str | None:
    about = cell.metadata.get("nbgrader", {})
    return about["grade_id"].removesuffix("-answer") if about.get("solution") else None
