"""The instructor's page, made of the labs' own texts."""

from collections.abc import Iterator, Sequence

from workbench.labs.source import Lab, Task

_HEAD = """# Labs: the instructor's page

Written by `workbench labs guide`; the labs' texts with their solutions are in `source/`.

| lab | minutes | points | title |
|---|---|---|---|
{table}

No lab needs root, a BPF-capable kernel or a compiler: checks run on the interpreter, with fuel.

## Hand out and grade

- **Without a grader**: give students `NAME.ipynb` from this folder. `workbench labs check
  NAME.ipynb` runs it and says which checks hold; a loop without an end, or code that takes Python
  down, costs its own task only. Hidden tests are not in these notebooks.
- **otter-grader** (`pip install 'bpf-arena-workbench[labs]'`): `workbench labs build --format otter
  --output course`, then in `course`: `otter assign NAME.ipynb dist` and, for each submission,
  `otter run -a dist/autograder/*.zip SUBMISSION.ipynb`.
- **nbgrader** (same extra): `workbench labs build --format nbgrader --output course`, then in
  `course`: `nbgrader generate_assignment NAME`, hand out `release/NAME`, collect into
  `submitted/STUDENT/NAME/NAME.ipynb`, `nbgrader autograde NAME`.

An answer that never ends would hold otter-grader up for ever, and one that takes Python down (a
wild pointer through `ctypes`, say) costs a whole submission. `workbench labs guard
SUBMISSION.ipynb --output DIRECTORY` copies submissions for the grader: it tries each answer under
all tests and replaces such answers by an error that says what they did.

Both graders are run on these labs by the project's tests: the solution and typical mistakes get the
points that stand here. Solutions for your own use: `workbench labs build --format plain`.

## A hub

A student's Python process took 120 to 340 MiB at its peak (measured: resident memory, each lab's
solution with all checks); plan 512 MiB a student. Compiled code is kept below `WORKBENCH_CACHE`, or
the user's cache directory. Fill it once in the image (`workbench demo` as root does; students read
it, nobody else may write it) and every first cell answers in a second or two, not some ten.
JupyterLab is what the project's tests run; the labs use no widgets, so VS Code and Colab should
show them, but neither was tried.
"""


def guide(labs: Sequence[Lab]) -> str:
    """The instructor's page as Markdown: times, goals, rubrics, common mistakes, how to grade."""
    rows = [
        f"| [{lab.name}]({lab.name}.ipynb) | {lab.minutes} | {lab.points} | {lab.title} |"
        for lab in labs
    ]
    parts = [_HEAD.format(table="\n".join(rows)), *(text for lab in labs for text in _about(lab))]
    return "\n".join(parts) + "\n"


def _about(lab: Lab) -> Iterator[str]:
    goals = "\n".join(f"- {goal}" for goal in lab.goals)
    yield f"## {lab.name}: {lab.title}\n\n{goals}\n\nRubric: {lab.rubric}\n"
    yield "| task | points (public + hidden) | common mistakes: points, what the student reads |"
    yield "|---|---|---|"
    for task in lab.tasks:
        yield f"| {task.title} | {task.public_points} + {task.hidden_points} | {_mistakes(task)} |"
    yield ""


def _mistakes(task: Task) -> str:
    return "; ".join(f"{wrong.points}: … {wrong.message} …" for wrong in task.wrong)
