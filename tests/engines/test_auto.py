"""The choice of an engine: by loops, fuel and what is recorded; both have the same maps."""

import pytest

import workbench as wb

COUNTING_IN_A_MAP = """
.map m array key=4 value=8 entries=1
    *(u32 *)(r10 - 4) = 0
    r1 = m ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r1 = 0
again: r2 = *(u64 *)(r0 + 0)
    r2 += 1
    *(u64 *)(r0 + 0) = r2
    r1 += 1
    if r1 != 9 goto again
out: r0 = 0
    exit
"""


@pytest.mark.parametrize(
    ("text", "fuel", "trace", "name"),
    [
        ("r0 = 1\nexit", None, None, "interpreter"),
        ("r0 = 1\nx: r0 += 1\nif r0 != 9 goto x\nexit", None, None, "jit"),
        ("r0 = 1\nx: r0 += 1\nif r0 != 9 goto x\nexit", 40, None, "interpreter"),
        ("r0 = 1\nx: r0 += 1\nif r0 != 9 goto x\nexit", None, "steps", "interpreter"),
        ("r0 = 1\nx: r0 += 1\nif r0 != 9 goto x\nexit", None, "counts", "jit"),
    ],
)
def test_auto_chooses(text: str, fuel: int | None, trace: str | None, name: str) -> None:
    with wb.Auto(wb.assemble(text)) as engine:
        result = engine.run(fuel=fuel, trace=trace)
        assert result.engine == engine.choice == name
        assert engine.reason
        assert result.r0 == (1 if "x:" not in text else 9)


def test_auto_gives_both_engines_the_same_maps() -> None:
    program = wb.assemble(COUNTING_IN_A_MAP)
    maps = wb.Interpreter(program).maps
    with wb.Auto(program, maps=maps) as engine:
        assert engine.run(fuel=100).engine == "interpreter"
        assert engine.run().engine == "jit"
    assert engine.maps["m"] is maps["m"]
    assert maps["m"][0] == 2 * 9
