"""Every lab: the solution earns all points; typical mistakes earn theirs, with a fitting word."""

import nbformat
import pytest

from workbench.errors import WorkbenchError
from workbench.labs import check, source
from workbench.labs.build import answered, build
from workbench.labs.guide import guide

LABS = source.labs()
MISTAKES = [
    (lab, task, number) for lab in LABS for task in lab.tasks for number in range(len(task.wrong))
]


def solutions(lab):
    return {task.name: task.solution for task in lab.tasks}


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_solution_earns_all_points(lab):
    grades = check.grade(lab, solutions(lab))
    assert {name: grade.message for name, grade in grades.items() if grade.message} == {}
    assert sum(grade.points for grade in grades.values()) == lab.points


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_what_is_handed_out_earns_nothing(lab):
    grades = check.grade(lab, {})
    assert sum(grade.points for grade in grades.values()) == 0


@pytest.mark.parametrize(
    ("lab", "task", "number"), MISTAKES, ids=[f"{a.name}-{b.name}-{n}" for a, b, n in MISTAKES]
)
def test_a_mistake_earns_its_points_and_a_message(lab, task, number):
    wrong = task.wrong[number]
    before = {t.name: t.solution for t in lab.tasks}
    grade = check.grade(lab, before | {task.name: wrong.code})[task.name]
    assert wrong.message in grade.message
    assert grade.points == wrong.points


def test_labs_are_whole():
    assert [lab.name[:2] for lab in LABS] == [f"{n:02}" for n in range(1, 9)]
    for lab in LABS:
        assert 60 <= lab.minutes <= 90
        assert len(lab.goals) >= 3
        assert sum(len(task.wrong) for task in lab.tasks) >= 3


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_notebook_in_git_is_the_one_that_is_built(lab, tmp_path):
    student, _ = build(lab, "plain", tmp_path)
    committed = source.directory().parent / student.name
    assert committed.read_text() == student.read_text(), (
        "run: workbench labs build --output notebooks/labs"
    )


def test_an_endless_loop_and_a_crash_cost_one_task_each(tmp_path):
    lab = source.lab("4")
    crash = "import ctypes\nctypes.string_at(8)\n"
    answers = solutions(lab) | {"dense": "while True:\n    pass\n", "peek": crash}
    path = tmp_path / "mine.ipynb"
    nbformat.write(answered(lab, answers), path)
    marks = check.check_notebook(path, seconds=10)
    assert [mark.passed for mark in marks] == [False, True, False]
    assert "still running after 10 seconds" in marks[0].message
    assert "took Python down" in marks[2].message


def test_what_is_no_lab_is_refused(tmp_path):
    path = tmp_path / "other.ipynb"
    for bad in (b"{", b"", b"[]", b"\xff\xfe\x00", b"{}"):
        path.write_bytes(bad)
        with pytest.raises(WorkbenchError, match="cannot read"):
            check.check_notebook(path)
    nbformat.write(nbformat.v4.new_notebook(), path)
    with pytest.raises(WorkbenchError, match="is no lab"):
        check.check_notebook(path)
    with pytest.raises(WorkbenchError, match="is no lab"):
        check.guard(path, tmp_path / "guarded")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no head", "not enough values"),
        ('+++\ntitle = "x"\n+++\n', "goals"),
        ('+++\ntitle="x"\nminutes=60\ngoals=[]\nrubric=""\n+++\n## Task: y\n', "is not '## Task"),
        (
            '+++\ntitle="x"\nminutes=60\ngoals=[]\nrubric=""\n+++\n## Task: y {#y 1+1}\n',
            "task 'y' lacks starter, solution, check, hidden",
        ),
    ],
)
def test_a_broken_text_is_refused_with_its_place(text, message, tmp_path):
    path = tmp_path / "09_broken.md"
    path.write_text(text)
    with pytest.raises(WorkbenchError, match=r"09_broken\.md") as error:
        source.read_lab(path)
    assert message in str(error.value)


def test_the_instructors_page_is_current():
    committed = source.directory().parent / "README.md"
    assert committed.read_text() == guide(LABS), (
        "run: workbench labs guide > notebooks/labs/README.md"
    )
