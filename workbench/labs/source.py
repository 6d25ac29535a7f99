r"""A lab as text: Markdown with marked code blocks, read into values.

+++                              TOML: title, minutes, goals, rubric
title = "Fix the casts"
+++
Text and ```python blocks before the first task open the notebook.

## Task: Make it readable {#readable 1+2}
The heading names the task and its points: 1 for the public check, 2 for the hidden one.

```python starter    what the student gets
```python solution   what the instructor gets instead
```python check      public check: raises with a message that helps
```python hidden     the same with other inputs; only in what graders run
```python wrong 1 "no cast"   a common mistake, what it earns, and a part of the message
"""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.evidence import places

_TASK = re.compile(r"^## Task: (?P<title>.+?) \{#(?P<name>\w+) (?P<public>\d+)\+(?P<hidden>\d+)\}$")
_WRONG = re.compile(r'wrong (?P<points>\d+) "(?P<message>.+)"')
_BLOCK = re.compile(
    r"^```python(?: (?P<kind>[^\n]*))?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
FORMATS = ("plain", "otter", "nbgrader")
KINDS = ("starter", "solution", "check", "hidden")


class Wrong(NamedTuple):
    """A typical wrong answer: its code, the points it earns, and what its message must contain."""

    code: str
    points: int
    message: str


class Task(NamedTuple):
    """One task: its text, the code cells by kind, points of the public check and the hidden one."""

    name: str
    title: str
    text: str
    starter: str
    solution: str
    check: str
    hidden: str
    public_points: int
    hidden_points: int
    wrong: tuple[Wrong, ...] = ()

    @property
    def points(self) -> int:
        """All that the task is worth."""
        return self.public_points + self.hidden_points


class Lab(NamedTuple):
    """A lab: goals, opening cells as ("markdown" or "python", text), tasks in order."""

    name: str
    title: str
    minutes: int
    goals: tuple[str, ...]
    rubric: str
    opening: tuple[tuple[str, str], ...]
    tasks: tuple[Task, ...]

    @property
    def points(self) -> int:
        """All that the lab is worth."""
        return sum(task.points for task in self.tasks)


def directory() -> Path:
    """Where the labs' texts are; raises WorkbenchError outside a source checkout."""
    path = places.CHECKOUT / "notebooks" / "labs" / "source"
    if not path.is_dir():
        raise WorkbenchError("labs are built from a source checkout; an installation has no texts")
    return path


def labs() -> list[Lab]:
    """Read every lab, in order."""
    return [read_lab(path) for path in sorted(directory().glob("*.md"))]


def lab(name: str) -> Lab:
    """Read one lab by its name or number ("6", "06"); raises WorkbenchError for another one."""
    found = {lab.name: lab for lab in labs()}
    for key in found:
        number = key.partition("_")[0]
        if name in (key, number, number.lstrip("0")):
            return found[key]
    raise WorkbenchError(f"no lab '{name}'; there are {', '.join(found)}")


def read_lab(path: Path) -> Lab:
    """Read a lab's text; raises WorkbenchError that names the file and the task."""
    text = path.read_text(encoding="utf-8")
    try:
        _, head, body = text.split("+++\n", 2)
        about = tomllib.loads(head)
        opening, *rest = re.split(r"^(?=## Task: )", body, flags=re.MULTILINE)
        tasks = tuple(_task(part) for part in rest)
        goals = tuple(about["goals"])
        title, minutes, rubric = about["title"], int(about["minutes"]), about["rubric"]
    except (KeyError, ValueError) as error:
        raise WorkbenchError(f"{path.name}: {error}") from None
    return Lab(path.stem, title, minutes, goals, rubric, tuple(_cells(opening)), tasks)


def _cells(text: str) -> list[tuple[str, str]]:
    """Markdown and code of the opening, in order."""
    cells, at = [], 0
    for block in _BLOCK.finditer(text):
        cells += [("markdown", text[at : block.start()]), ("python", block["code"])]
        at = block.end()
    cells.append(("markdown", text[at:]))
    return [(kind, content.strip("\n")) for kind, content in cells if content.strip()]


def _task(text: str) -> Task:
    heading, _, body = text.partition("\n")
    about = _TASK.match(heading)
    if about is None:
        raise ValueError(f"'{heading}' is not '## Task: TITLE {{#name PUBLIC+HIDDEN}}'")
    code: dict[str, str] = {}
    wrong = []
    for block in _BLOCK.finditer(body):
        kind = block["kind"] or ""
        if mistake := _WRONG.fullmatch(kind):
            wrong.append(Wrong(block["code"], int(mistake["points"]), mistake["message"]))
        elif kind in KINDS and kind not in code:
            code[kind] = block["code"]
        else:
            raise ValueError(f"task '{about['name']}': unknown or repeated block '{kind}'")
    if missing := [kind for kind in KINDS if kind not in code]:
        raise ValueError(f"task '{about['name']}' lacks {', '.join(missing)}")
    prose = _BLOCK.sub("", body).strip()
    points = int(about["public"]), int(about["hidden"])
    return Task(about["name"], about["title"], prose, **code, public_points=points[0],
                hidden_points=points[1], wrong=tuple(wrong))  # fmt: skip
