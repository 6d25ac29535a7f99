"""Helpers that call functions back: as often, and with the same results, as Linux does."""

import pytest
from support.kernel_support import KERNEL
from support.on_all import on_all

import workbench as wb
from workbench.maps import Map, MapDefinition

pytestmark = KERNEL
ZERO_SEED = 1 << 6

LOOP = """
    *(u64 *)(r10 - 8) = 0
    r1 = ROUNDS
    r2 = add ll
    r3 = r10
    r3 += -8
    r4 = 0
    call bpf_loop
    r0 <<= 32
    r1 = *(u64 *)(r10 - 8)
    r0 >>= 16
    r0 += r1
    exit
add: r3 = *(u64 *)(r2 + 0)
    r3 += r1
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    if r1 != LAST goto +1
    r0 = 1
    exit
"""


@pytest.mark.parametrize(("rounds", "last"), [(0, 5), (1, 5), (10, 50), (10, 5), (100, 99)])
def test_loop(rounds: int, last: int) -> None:
    text = LOOP.replace("ROUNDS", str(rounds)).replace("LAST", str(last))
    on_all(wb.assemble(text))


CORNER = """
    r6 = r1
    r7 = *(u64 *)(r1 + 0)
    r1 = ROUNDS ll
    r2 = add ll
    r3 = 0
    r4 = FLAGS
    call bpf_loop
    *(u64 *)(r6 + 0) = r0
    exit
add: r0 = 0
    exit
"""


@pytest.mark.parametrize("rounds", [3, 1 << 23, (1 << 23) + 1, 1 << 32 | 3, (1 << 64) - 1])
@pytest.mark.parametrize("flags", ["0", "1", "r7"])
def test_loop_out_of_range(rounds: int, flags: str) -> None:
    """All of r0: where flags are known to be 0, Linux writes the loop out, with another errno."""
    program = wb.assemble(CORNER.replace("ROUNDS", str(rounds)).replace("FLAGS", flags))
    found = wb.compare(program, ("kernel", "interpreter", "jit"), bytes(8))
    assert found.equal, str(found)


NEVER = """
    r1 = 0
    r2 = add ll
    r3 = 0
    r4 = 0
    call bpf_loop
    CALL
    exit
BEFORE
add: r0 = 0
    exit
BEHIND
"""
OTHER = "other: r0 = 3\nexit"


@pytest.mark.parametrize(
    ("call", "before", "behind", "runs"),
    [
        ("", "", "", True),
        ("call other", OTHER, "", False),
        ("call other", "", OTHER, True),
        ("call other\nif r0 == 0 goto dead\nexit\ndead: r0 = 1", "", OTHER, False),
        ("r1 = 5\ncall bpf_throw", "", "", False),
    ],
)
def test_callback_that_is_never_entered(call: str, before: str, behind: str, runs: bool) -> None:
    """Linux takes it out; it cannot find it again where a function is left, but none behind it."""
    text = NEVER.replace("CALL", call).replace("BEFORE", before).replace("BEHIND", behind)
    found = wb.compare(wb.assemble(text), ("kernel", "interpreter"))
    assert found.equal, str(found)
    assert bool(found.results) == runs


EACH = """
    r6 = 0
    *(u64 *)(r10 - 8) = 0
    r1 = m ll
    r2 = add ll
    r3 = r10
    r3 += -8
    r4 = 0
    call bpf_for_each_map_elem
    r1 = *(u64 *)(r10 - 8)
    r1 <<= 8
    r0 += r1
    exit
add: r5 = *(u64 *)(r4 + 0)
    r5 *= 3
    r1 = *(u32 *)(r2 + 0)
    r5 += r1
    r1 = *(u64 *)(r3 + 0)
    r5 += r1
    r1 += 1
    *(u64 *)(r3 + 0) = r1
    *(u64 *)(r4 + 0) = r5
    r0 = 0
    exit
"""


@pytest.mark.parametrize(
    "definition",
    [MapDefinition("m", "array", 4, 8, 7), MapDefinition("m", "hash", 4, 8, 9, ZERO_SEED)],
    ids=["array", "hash"],
)
def test_for_each(definition: MapDefinition) -> None:
    """The order of a hash made with BPF_F_ZERO_SEED is the kernel's, too."""
    program, answers = wb.assemble(EACH), []
    for engine, make in ((wb.Kernel, wb.kernel_map), (wb.Interpreter, Map), (wb.Jit, Map)):
        with make(definition) as map:
            for key in range(6):
                map[key] = key * key + 1
            options = {} if engine is wb.Kernel else {"verify": False}
            with engine(program, maps={"m": map}, **options) as loaded:
                answers.append((loaded.run().r0 & 0xFFFFFFFF, dict(map)))
    assert answers[0] == answers[1] == answers[2]
