"""Workloads run alike everywhere; machine code, walks and break-even say what is so."""

import numpy as np
import pandas as pd
import pytest
from support.kernel_support import KERNEL, held

import workbench as wb
from workbench.compiled.lazy import bytes_at
from workbench.errors import Unsupported, WorkbenchError
from workbench.models import conversion
from workbench.models.conversion import break_even, machine_code, timing, user_side, workloads

STRUCTURES = workloads.names("structures")
ON = [pytest.param("kernel", marks=KERNEL), "jit", "interpreter"]


@pytest.mark.parametrize("engine", ON)
@pytest.mark.parametrize("name", [*STRUCTURES, "stores, 25 % pointers", "pointers, 50 % NULL"])
def test_a_workload_runs_under_both_flags(name, engine):
    before = held()
    frame = timing.time_workload(name, engine, iterations=2, warmup=0)
    assert frame.groupby(["subject", "phase"]).size().to_dict() == {
        (flag, phase): count
        for flag in timing.FLAGS
        for phase, count in [("open", 1), ("timed", 2)]
    }
    assert (frame["value"] > 0).all()
    if engine == "kernel":
        assert held() == before


@pytest.mark.parametrize("engine", [pytest.param("kernel", marks=KERNEL)])
def test_conversion_costs_what_stores_of_pointers_cost(engine):
    """The ratio grows with the share of pointers: the kernel really converts."""
    ratios = []
    for share in (0, 100):
        name = workloads.names("stores")[workloads.SHARES.index(share)]
        frame = timing.time_workload(name, engine, iterations=15)
        frame = frame[frame["phase"] == "timed"]
        medians = frame.groupby("subject")["value"].median()
        ratios.append(medians["conversion"] / medians["no_user_conv"])
    assert ratios[1] > 1.5 * ratios[0]


@pytest.mark.parametrize("share", workloads.SHARES)
def test_stores_have_the_casts_of_their_share(share):
    load = workloads.workload(f"stores, {share} % pointers")
    counts = wb.Interpreter(load.program, wb.Arena(1)).run(
        (3).to_bytes(8, "little"), trace="counts"
    )
    casts = conversion.count_casts(load.program.instructions, counts.trace.counts, False)
    assert casts.conversions_executed == 3 * workloads.UNROLL * share // 100


@pytest.mark.parametrize("share", workloads.SHARES)
@pytest.mark.parametrize("flag", timing.FLAGS)
def test_nulls_stay_null_and_pointers_become_addresses(share, flag):
    load = workloads.workload(f"pointers, {share} % NULL")
    with wb.Arena(load.pages, timing.FLAGS[flag]) as arena:
        load.setup(arena, wb.Interpreter)
        with wb.Interpreter(load.program, arena) as engine:
            engine.run((1).to_bytes(8, "little"))
        table = arena.user.array(arena.user_start, "u64", 2 * workloads.TABLE)
        pointers, stored = table[: workloads.TABLE], table[workloads.TABLE :]
        assert (pointers == 0).sum() == workloads.TABLE * share // 100
        upper = np.uint64(0 if flag == "no_user_conv" else arena.user_start >> 32 << 32)
        assert (stored == np.where(pointers == 0, 0, pointers | upper)).all()


def test_unknown_names():
    with pytest.raises(WorkbenchError, match="no workload 'heap'; there are list build"):
        workloads.workload("heap")
    with pytest.raises(WorkbenchError, match="no walk 'heap'; there are list"):
        user_side.time_walk("heap")
    with pytest.raises(WorkbenchError, match="no engine 'gpu'; choose from kernel"):
        timing.time_workload("list build", "gpu")


def test_a_wrong_result_is_not_timed():
    load = workloads.workload("list build")._replace(r0=1)
    with (
        timing.opened(load, "interpreter", wb.ArenaFlags(0)) as run,
        pytest.raises(WorkbenchError, match="list build gave 0xfa0 on interpreter, not 0x1"),
    ):
        run()


# Machine code


@pytest.mark.parametrize("engine", [pytest.param("kernel", marks=KERNEL), "jit"])
def test_the_machine_code_of_a_cast(engine):
    frame = machine_code.sizes(["cast_user", "cast_user, store", "cast_kern"], engine)
    assert set(frame["cast_user"]) == {0, 16}
    extra = machine_code.per_cast(frame).set_index("workload")
    assert "cast_kern" not in extra.index
    if engine == "kernel":  # 7 instructions instead of 1, as the model has it
        expected = conversion.CONVERT_COPY - conversion.MOVE
        assert extra["instructions"].to_dict() == pytest.approx(
            {"cast_user": expected, "cast_user, store": expected}, abs=0.07
        )
    # LLVM drops casts whose result is not used
    assert extra.loc["cast_user, store", "instructions"] >= 0


def test_the_interpreter_has_no_machine_code():
    with pytest.raises(Unsupported, match="use jit or kernel"):
        machine_code.sizes(["list build"], "interpreter")


# The user side


@pytest.mark.parametrize("engine", ON)
@pytest.mark.parametrize("name", user_side.WALKS)
def test_both_kinds_of_pointers_lead_to_the_same(name, engine):
    """`opened` compares the sum of every walk with that of a checked one."""
    before = held()
    frame = user_side.time_walk(name, engine, iterations=1)
    assert (frame["value"] > 0).all()
    if engine == "kernel":
        assert held() == before


def test_memory_at_an_address():
    with bytes_at(1 << 44, 8192) as content:
        assert content.ctypes.data == 1 << 44
        assert content.sum() == 0
        content[:] = 1
        with (
            pytest.raises(MemoryError, match="cannot map 4096 bytes at 0x100000001000"),
            bytes_at((1 << 44) + 4096, 4096),
        ):
            pass


# Break-even


def sides(conversion_ns: float, offsets_ns: float, noise: float) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    rows = [
        (subject, process, 0, iteration, value * generator.lognormal(0, noise))
        for process in range(10)
        for iteration in range(5)
        for subject, value in (("conversion", conversion_ns), ("no_user_conv", offsets_ns))
    ]
    return pd.DataFrame(rows, columns=["subject", "process", "instance", "iteration", "value"])


@pytest.mark.parametrize(
    ("build", "walk", "walks", "said"),
    [
        ((30, 20), (2, 4), 5, "conversion pays from 4."),
        ((30, 20), (4, 2), np.inf, "never pays: set NO_USER_CONV"),
        ((20, 30), (2, 4), 0, "costs nothing here: leave it on"),
        ((30, 20), (4.0, 4.003), None, "if at all"),
    ],
)
def test_break_even(build, walk, walks, said):
    costs = break_even.costs(sides(*build, 0.01), sides(*walk, 0.01))
    found = break_even.break_even(costs)
    if walks is not None:
        assert found.low <= walks <= found.high
        assert found.walks == pytest.approx(walks, rel=0.1)
    assert said in found.verdict


def test_the_curves_cross_at_the_break_even():
    build, walk = sides(30, 20, 0.001), sides(2, 4, 0.001)
    curve = break_even.curve(break_even.costs(build, walk), np.array([0, 5, 10]))
    assert curve["value"].tolist() == pytest.approx([10, 0, -10], abs=0.2)
    assert (curve["low"] <= curve["value"]).all()
    assert (curve["value"] <= curve["high"]).all()


def test_a_build_without_casts_costs_nothing_whatever_was_measured():
    costs = break_even.costs(sides(30, 20, 0.01), sides(2, 4, 0.01), casts=False)
    found = break_even.break_even(costs)
    assert (found.walks, found.low, found.high) == (0, 0, 0)
    assert found.verdict == "conversion costs nothing here: leave it on"


def test_walks_that_gain_nothing_settle_it_however_noisy_the_build():
    costs = break_even.costs(sides(20, 20, 0.3), sides(4, 2, 0.001))
    found = break_even.break_even(costs)
    assert found.settled
    assert "never pays" in found.verdict


def test_a_break_even_of_little_is_refused():
    few = sides(3, 2, 0.01).query("process < 3")
    with pytest.raises(WorkbenchError, match="needs 6 units"):
        break_even.costs(few, few)
    half = sides(3, 2, 0.01).query("subject == 'conversion'")
    with pytest.raises(WorkbenchError, match="'no_user_conv' was not measured"):
        break_even.costs(half, half)
