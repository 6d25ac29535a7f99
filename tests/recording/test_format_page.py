"""docs/recording-format.md names what a file has: every column and field, and nothing else."""

import re
import struct
from dataclasses import replace
from typing import Any

import pytest
from support.paths import ROOT

import workbench as wb
from workbench.recording.file import columns, meta
from workbench.recording.format import COLUMNS, VERSION, WIDE_FIELDS, pack, unpack

PAGE = (ROOT / "docs" / "recording-format.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of the page."""
    section = re.split(rf"^#+ {heading}\n", PAGE, flags=re.MULTILINE)[1]
    rows = re.findall(r"^\| (`.*) \|$", re.split(r"^#", section, flags=re.MULTILINE)[0], re.M)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def names(heading: str) -> set[str]:
    rows = [row[0].strip("`") for row in table(heading)]
    assert len(rows) == len({*rows})
    return {*rows}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """The meta of a recording that has a value in every field."""
    example = wb.load_object(ROOT / "data" / "programs" / "c" / "tree.o")
    program = example.program("grow")
    program = replace(program, maps=(*program.maps, wb.MapDefinition("m", "array", 4, 8, 1)))
    trace = wb.record(program, example.arena(), ctx=struct.pack("<4Q", 9, 1, 0, 0))
    part = trace.window(256, 256)
    return unpack(pack(meta(part), columns(part)))[0]


def test_the_columns_and_their_types() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("Columns")}
    assert rows == {name: dtype.strip("<") for name, dtype in COLUMNS.items()}


def test_the_fields_of_meta(written: dict[str, Any]) -> None:
    assert names("meta") == {*written}


@pytest.mark.parametrize("part", ["arena", "program", "report"])
def test_the_fields_of_its_parts(written: dict[str, Any], part: str) -> None:
    assert names(part) == {*written[part]}


def test_the_fields_of_instructions_and_maps(written: dict[str, Any]) -> None:
    assert names("instructions") == {name for row in written["instructions"] for name in row}
    assert names("maps") == {*written["program"]["maps"][-1]}


def test_small_parts_are_named_where_they_stand(written: dict[str, Any]) -> None:
    said = {row[0].strip("`"): row[1] for row in table("meta")}
    for name in ("lines", "subprograms", "structures", "regions"):
        assert {*re.findall(r"`(\w+)`", said[name])} == {*written[name][0]}
    for name in ("stop", "part"):
        assert {*re.findall(r"`(\w+)`", said[name])} == {*written[name]}
    asked = {row[0].strip("`"): row[1] for row in table("report")}["asked"]
    assert {*re.findall(r"`(\w+)`", asked)} == {*written["report"]["asked"]}


def test_the_version_and_the_wide_fields() -> None:
    assert f"opens: version {VERSION}." in PAGE
    listed = re.search(r"every field named (.*)\.$", PAGE, re.MULTILINE)
    assert listed is not None
    assert {*re.findall(r"`(\w+)`", listed[1])} == WIDE_FIELDS
