"""environment.yml, pyproject.toml and constraints.txt tell one story."""

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]


def pins() -> dict[str, Version]:
    """Every constraint as canonical name -> exact version."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line)
            assert match, f"constraints.txt: not an exact pin: {line!r}"
            found[canonicalize_name(match[1])] = Version(match[2])
    return found


def closure(lines: list[str]) -> set[str]:
    """Canonical names of the given requirements and of all that the installed ones require."""
    todo = [Requirement(line) for line in lines]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            children = map(Requirement, metadata.requires(name) or [])
            todo += [c for c in children if not c.marker or c.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def specifications(lines: list[str]) -> dict[str, str]:
    """Requirements as canonical name -> version range in one spelling."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): str(r.specifier) for r in parsed}


def test_conda_and_pip_ask_for_the_same() -> None:
    conda = specifications([line for line in CONDA["dependencies"] if isinstance(line, str)])
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda.pop("pip") == ""
    assert conda == specifications(PROJECT["dependencies"])


def test_conda_installs_the_checkout_with_known_extras() -> None:
    [pip] = [line["pip"] for line in CONDA["dependencies"] if isinstance(line, dict)]
    [match] = [re.fullmatch(r"-e \.\[([a-z,]+)\]", line) for line in pip]
    assert match is not None
    assert set(match[1].split(",")) <= set(EXTRAS)
    assert CONDA["name"] == PROJECT["name"]


@pytest.mark.parametrize("line", DECLARED)
def test_every_requirement_has_a_pin_in_its_range(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_what_the_requirements_require_is_pinned_too() -> None:
    assert closure([*PROJECT["dependencies"], *EXTRAS["dev"]]) - set(pins()) == set()


def test_the_version_is_told_once() -> None:
    import workbench

    assert f"version: {workbench.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert "version" in PROJECT["dynamic"]
