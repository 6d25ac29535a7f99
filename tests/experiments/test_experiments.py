"""Experiments: recorded results are whole and hold here; figures say what they show; live runs."""

from pathlib import Path

import pandas as pd
import pytest
from support.kernel_support import KERNEL, held
from support.paths import ROOT

from workbench.errors import KernelError, Unsupported, WorkbenchError
from workbench.evidence import provenance
from workbench.experiments import (
    __main__ as command,
)
from workbench.experiments import kernel_costs, real_faults, results, same_program, touch_costs

live = [pytest.param(run, id=name, marks=KERNEL) for name, run in {
    "conversion_costs": lambda: kernel_costs.run(2, 64),
    "touch_costs": lambda: touch_costs.run(2, 32),
    "page_events": real_faults.run,
    "same_program": same_program.run,
}.items()]  # fmt: skip


# Recorded


@pytest.mark.parametrize("name", command.RECORDED)
def test_recorded_results_say_where_they_come_from(name: str) -> None:
    frame = results.load(name)
    about = frame.attrs[provenance.KEY]
    assert set(about) == set(provenance.provenance())
    assert about["dirty"] is False
    readme = (ROOT / "data" / "results" / "README.md").read_text()
    assert f"`{name}.parquet`" in readme
    assert about["kernel"].partition("-")[0] in readme
    assert about["cpu"] in readme


def test_nothing_else_is_recorded() -> None:
    files = {path.stem for path in results.directory().glob("*.parquet")}
    assert files == set(command.RECORDED)


def test_the_interpreter_comes_to_the_recorded_digests() -> None:
    recorded = results.load("same_program")
    assert set(recorded["engine"]) == {"kernel"}
    assert same_program.same(recorded, same_program.emulated(recorded))


def test_the_emulated_arena_has_the_recorded_page_events() -> None:
    recorded = results.load("page_events")
    assert recorded.attrs["lost"] == 0
    assert recorded["ns"].is_monotonic_increasing
    assert real_faults.same(recorded, real_faults.emulated(real_faults.accesses()))


def test_the_model_counts_the_recorded_machine_code() -> None:
    from workbench.models.conversion import CONVERT_COPY, CONVERT_IN_PLACE, MOVE

    length = results.load("machine_code").groupby(["flag", "bpf"]).size()
    assert length["conversion", "r2 = cast_user(r1)"] == CONVERT_COPY
    assert length["conversion", "r1 = cast_user(r1)"] == CONVERT_IN_PLACE
    assert set(length["no_user_conv"]) == {length["conversion", "r1 = cast_kern(r1)"]} == {MOVE}


def test_summary_by_hand() -> None:
    values = [("conversion", [6.0, 8.0, 10.0]), ("no_user_conv", [2.0, 2.0, 5.0])]
    frame = pd.DataFrame(
        [("chain", flag, n, value) for flag, column in values for n, value in enumerate(column)],
        columns=["case", "flag", "repeat", "value"],
    )
    row = kernel_costs.summary(frame).loc["chain"]
    assert row["conversion"].tolist() == [7, 8, 9]
    assert row["no_user_conv"].tolist() == [2, 2, 3.5]
    assert row["ratio", "median"] == 3
    assert kernel_costs.table(frame).loc["chain", "reference ratio"] == "3.38"


def test_machine_code_side_by_side() -> None:
    table = kernel_costs.side_by_side(results.load("machine_code"))
    cast = table.loc["r2 = cast_user(r1)"]
    assert cast["conversion", "native"].str.split().str[0].tolist() == [
        "mov", "shl", "or", "rol", "xor", "test", "cmove"
    ]  # fmt: skip
    assert cast["no_user_conv", "native"].tolist()[1:] == [""] * 6


@pytest.mark.parametrize(
    ("name", "draw", "said"),
    [
        ("conversion_costs", kernel_costs.plot, "chain 1."),
        ("touch_costs", touch_costs.plot, "load, absent 1,"),
        ("page_events", real_faults.plot, "kernel: program allocates 13×"),
    ],
)
def test_figures(name: str, draw, said: str, tmp_path: Path) -> None:
    frame = results.load(name)
    figure = draw(frame, "recorded")
    assert said in figure.workbench_alt
    figure.savefig(tmp_path / "figure.pdf")
    empty = draw(frame.iloc[:0])
    assert empty.workbench_alt
    empty.savefig(tmp_path / "empty.png")


# Here or recorded


@pytest.mark.parametrize("error", [KernelError("EPERM", "no"), Unsupported("no capstone")])
def test_without_a_kernel_the_recorded_result_is_shown(error: WorkbenchError) -> None:
    def refuse() -> pd.DataFrame:
        raise error

    found = results.here_or_recorded("touch_costs", refuse)
    about = found.frame.attrs[provenance.KEY]
    assert found.recorded
    assert found.reason == str(error)
    assert found.label == f"recorded ({about['kernel']}, {about['cpu']}, {about['date'][:10]})"


def test_with_a_kernel_it_is_measured() -> None:
    found = results.here_or_recorded("touch_costs", lambda: pd.DataFrame({"value": [1]}))
    assert not found.recorded
    assert found.label.startswith("measured here (")
    assert provenance.KEY in found.frame.attrs


def test_other_errors_are_not_hidden() -> None:
    def wrong() -> pd.DataFrame:
        raise WorkbenchError("a mistake")

    with pytest.raises(WorkbenchError, match="a mistake"):
        results.here_or_recorded("touch_costs", wrong)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(results, "directory", lambda: tmp_path)
    return tmp_path


def test_recording(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(command.RECORDED, "touch_costs", lambda: pd.DataFrame({"value": [1]}))
    assert command.main(["touch_costs"]) == 0
    assert list(nowhere.iterdir()) == []
    assert command.main(["--record", "touch_costs"]) == 0
    assert "recorded as touch_costs.parquet" in capsys.readouterr().out
    assert provenance.KEY in results.load("touch_costs").attrs


def test_recording_what_fails(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> pd.DataFrame:
        raise KernelError("EPERM", "run as root")

    monkeypatch.setitem(command.RECORDED, "touch_costs", refuse)
    assert command.main(["--record", "touch_costs"]) == 1
    assert capsys.readouterr().err == "KernelError: EPERM: run as root\n"
    assert list(nowhere.iterdir()) == []
    with pytest.raises(SystemExit):
        command.main(["no_such_thing"])


# Live


@pytest.mark.parametrize("run", live)
def test_live(run) -> None:
    run()
    kept = held()
    frame = run()
    assert len(frame)
    assert held() == kept


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=KERNEL) for seed in range(5)])
def test_page_events_of_other_lists(seed: int) -> None:
    todo = real_faults.accesses(seed, 200, 16)
    assert real_faults.same(real_faults.run(todo, 16), real_faults.emulated(todo, 16))


@pytest.mark.parametrize("repeats", [pytest.param(3, marks=KERNEL)])
def test_conversion_costs_something(repeats: int) -> None:
    frame = kernel_costs.run(repeats, 1024)
    assert len(frame) == 2 * repeats * len(kernel_costs.CASES)
    assert (frame["value"] > 0).all()
    ratio = kernel_costs.summary(frame)["ratio", "median"]
    assert ratio["chain, add"] > 1.5
