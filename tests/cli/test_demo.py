"""`make demo`: the examples run, the user side agrees, and every file is there and whole."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from support.bpf_probe import refusal

import workbench as wb
from workbench.cli import demo
from workbench.errors import KernelError
from workbench.examples import c_programs, programs

FIGURES = {"page_events", "fragmentation", "holes", "conversion"}
TABLES = {"summary", "events", "steps", "fragmentation", "free_extents", "conversion"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> demo.Report:
    return demo.demo(tmp_path_factory.mktemp("demo") / "output")


def written(report: demo.Report, suffix: str) -> dict[str, Path]:
    """The files of one kind by their stem."""
    return {path.stem: path for path in report.files if path.suffix == suffix}


def test_every_example_agrees_on_every_engine(report: demo.Report) -> None:
    assert report.ok, str(report)
    engines = ["interpreter"] if report.kernel else ["interpreter", "kernel"]
    pairs = [(name, engine) for name in demo.EXAMPLES for engine in engines]
    engines.insert(1, "jit")
    pairs += [(f"{name}.c", engine) for name in c_programs.names() for engine in engines]
    assert [(row.program, row.engine) for row in report.rows] == pairs
    assert bool(report.kernel) == bool(refusal())


def test_the_rows_count(report: demo.Report) -> None:
    for row in report.rows:
        assert (row.steps is None) == (row.engine == "kernel")
        assert row.pages > 0
        assert row.faults > 0
        assert row.seconds > 0
    r0 = {row.program: row.r0 for row in report.rows if not row.program.endswith(".c")}
    assert r0 == {"list": sum(demo.list_model()), "hash": len(demo.hash_model()), "allocator": 2}


def test_every_file_is_there(report: demo.Report) -> None:
    assert all(path.stat().st_size > 200 for path in report.files)
    assert len(set(report.files)) == len(report.files)
    assert set(written(report, ".png")) == set(written(report, ".pdf")) == FIGURES
    assert set(written(report, ".parquet")) == TABLES
    assert set(written(report, ".html")) == {"demo", "hash", "allocator"}


def test_the_tables_are_tidy(report: demo.Report) -> None:
    tables = {name: pd.read_parquet(path) for name, path in written(report, ".parquet").items()}
    steps = tables["steps"].groupby("program").size()
    emulated = [row for row in report.rows if row.program in demo.EXAMPLES and row.steps]
    assert {row.program: row.steps for row in emulated} == steps.to_dict()
    assert {"alloc", "free", "user_fault", "user_minor", "segv"} <= set(tables["events"]["kind"])
    assert set(tables["conversion"]["program"]) == set(demo.EXAMPLES)
    assert tables["free_extents"]["pages"].sum() == tables["fragmentation"]["free_pages"].iloc[-1]
    assert len(pd.read_csv(written(report, ".csv")["summary"])) == len(report.rows)
    for table in tables.values():
        assert table.attrs["provenance"]["cpu"]


def test_the_page_needs_nothing_else(report: demo.Report) -> None:
    page = written(report, ".html")["demo"].read_text()
    assert page.count("<figure>") == len(FIGURES)
    assert page.count("</main>") == 1
    assert 'id="stepper"' in page
    assert not re.search(r"(?:src|href)\s*=\s*['\"](?!data:)", page)


def test_the_report_as_text_and_json(report: demo.Report) -> None:
    text = str(report)
    assert re.search(r"list +interpreter +1,250 +188 .* 0x24 +agrees +[\d,]+ µs", text)
    found = json.loads(json.dumps(report.to_json()))
    assert found["ok"] is True
    assert found["rows"][0]["r0"] == "0x24"


def test_a_difference_is_told(report: demo.Report) -> None:
    row = report.rows[0]._replace(difference="r0 is 0x1 on interpreter, 0x2 on kernel")
    changed = demo.Report((row,), "", report.about, (), 0.0)
    assert not changed.ok
    assert "DIFFERENT: list: r0 is 0x1" in str(changed)


def test_without_bpf_the_rest_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise KernelError("EPERM", "bpf(2) is not allowed")

    monkeypatch.setattr(demo, "_real", refuse)
    report = demo.demo(tmp_path)
    assert report.ok
    assert {row.engine for row in report.rows} == {"interpreter", "jit"}
    assert "kernel engine not run: EPERM: bpf(2) is not allowed" in str(report)


@pytest.mark.parametrize("pages", [20, 40, 64, 100])
def test_the_allocator_model(pages: int) -> None:
    program = programs.load("allocator")["main"]
    with wb.Arena(pages) as arena, wb.Interpreter(program, arena) as engine:
        engine.run()
        assert demo._runs_found(arena) == demo.allocator_model(pages)


def test_a_wrong_arena_does_not_agree() -> None:
    program = programs.load("list")["add"]
    with wb.Arena(64) as arena, wb.Interpreter(program, arena) as engine:
        engine.run(bytes(16))
        assert not demo._agrees("list", arena)
