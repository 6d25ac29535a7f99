"""Helpers in programs: interpreter, jit and the running kernel give the same r0 and contents."""

import random
import struct
from collections.abc import Callable

import pytest
from support.kernel_support import KERNEL
from support.on_all import on_all

import workbench as wb
from workbench.engines.base import Result
from workbench.maps import Map, MapDefinition, drained

pytestmark = KERNEL
ZERO_SEED, NO_PREALLOC = 1 << 6, 1

# Context, or packet: operation, flags, key, value, answer; the stack holds key and value.
TABLE = """
    r6 = r1
    r7 = *(u64 *)(r6 + 0)
    r8 = *(u64 *)(r6 + 8)
    r1 = *(u64 *)(r6 + 16)
    *(u64 *)(r10 - 8) = r1
    r1 = *(u64 *)(r6 + 24)
    *(u64 *)(r10 - 16) = r1
    r1 = m ll
    r2 = r10
    r2 += -8
    r3 = r10
    r3 += -16
    r4 = r8
    if r7 == 1 goto update
    if r7 == 2 goto delete
    call bpf_map_lookup_elem
    if r0 == 0 goto absent
    r1 = *(u64 *)(r0 + 0)
    *(u64 *)(r6 + 32) = r1
    r1 += 1
    *(u64 *)(r0 + 0) = r1
    r0 = 1
    exit
update: call bpf_map_update_elem
    exit
delete: call bpf_map_delete_elem
    exit
absent: exit
"""

QUEUE = """
    r6 = r1
    r7 = *(u64 *)(r6 + 0)
    r3 = *(u64 *)(r6 + 8)
    r1 = *(u64 *)(r6 + 24)
    *(u64 *)(r10 - 16) = r1
    r1 = m ll
    r2 = r10
    r2 += -16
    if r7 == 1 goto push
    if r7 == 2 goto pop
    call bpf_map_peek_elem
    goto out
push: call bpf_map_push_elem
    goto out
pop: call bpf_map_pop_elem
out: r1 = *(u64 *)(r10 - 16)
    *(u64 *)(r6 + 32) = r1
    exit
"""

IN_PACKET = """
    r6 = *(u32 *)(r1 + 76)
    r2 = *(u32 *)(r1 + 80)
    r3 = r6
    r3 += 40
    r0 = 0
    if r3 <= r2 goto +1
    exit
"""

CASES = [
    (TABLE, MapDefinition("m", "array", 8 - 4, 8, 6)),
    (TABLE, MapDefinition("m", "hash", 8, 8, 5, ZERO_SEED)),
    (TABLE, MapDefinition("m", "hash", 8, 8, 5, ZERO_SEED | NO_PREALLOC)),
    (TABLE, MapDefinition("m", "percpu_array", 4, 8, 4)),
    (TABLE, MapDefinition("m", "percpu_hash", 8, 8, 4, ZERO_SEED)),
    (TABLE, MapDefinition("m", "lpm_trie", 8, 8, 5, NO_PREALLOC)),
    (QUEUE, MapDefinition("m", "queue", 0, 8, 4)),
    (QUEUE, MapDefinition("m", "stack", 0, 8, 4)),
]


def pinned_run(engine: "wb.Kernel | wb.Interpreter | wb.Jit", ctx: bytes) -> Result:
    from workbench.evidence.measurement import pinned

    with pinned(0):
        return engine.run(ctx)


@pytest.mark.parametrize(("text", "definition"), CASES, ids=lambda c: getattr(c, "type", ""))
def test_random_operations(
    text: str, definition: MapDefinition, scale: Callable[[int, int], int]
) -> None:
    if definition.type in ("queue", "stack", "lpm_trie"):  # not for sleepable programs
        program = wb.assemble(text.replace("    r6 = r1\n", IN_PACKET), type="tc")
    else:
        program = wb.assemble(text)
    rng = random.Random(5)
    with (
        wb.kernel_map(definition) as real,
        wb.Kernel(program, maps={"m": real}) as kernel,
        wb.Interpreter(program, verify=False, maps={"m": wb.Map(definition)}) as ours,
        wb.Jit(program, verify=False, maps={"m": wb.Map(definition)}) as jit,
    ):
        for step in range(scale(300, 20_000)):
            key = rng.randrange(8)
            if definition.type == "lpm_trie":
                key = rng.choice((0, 3, 8, 32, 33)) | rng.choice((0, 0x80, 0xC0, 0xFF)) << 32
            words = rng.randrange(3), rng.choice((0, 0, 0, 1, 2, 3, 4, 8)), key, rng.getrandbits(64)
            ctx = struct.pack("<5Q", *words, 0)
            theirs = pinned_run(kernel, ctx)
            for engine in (ours, jit):
                found = pinned_run(engine, ctx)
                assert found.stop == "exit", found
                assert found.r0 & 0xFFFFFFFF == theirs.r0, (step, words)
                assert found.ctx == theirs.ctx, (step, words)
        contents = [drained(map) for map in (real, ours.maps["m"], jit.maps["m"])]
        assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("where", ["0", str(1 << 46), str(1 << 47), str(1 << 63), "stack"])
@pytest.mark.parametrize("size", [0, 3])
def test_reads_where_nothing_can_be_read(where: str, size: int) -> None:
    """No bytes are no reason not to look at the address, for some."""
    lines = ["r6 = r1", "r7 = 0"]
    for name in ("read_user", "read_kernel", "read_user_str", "read_kernel_str"):
        if where == "stack" and "user" in name:
            continue
        lines += ["*(u64 *)(r10 - 8) = 65", "*(u64 *)(r10 - 16) = -1", "r1 = r10", "r1 += -16"]
        lines += [f"r2 = {size}", "r3 = r10\nr3 += -8" if where == "stack" else f"r3 = {where} ll"]
        lines += [f"call bpf_probe_{name}", "r7 *= 31", "r7 += r0", "r1 = *(u64 *)(r10 - 16)"]
        lines += ["r7 *= 31", "r7 ^= r1"]
    lines += ["*(u64 *)(r6 + 0) = r7", "r0 = 0", "exit"]
    on_all(wb.assemble("\n".join(lines)), bytes(8))


@pytest.mark.parametrize("sizes", [(0, 6), (6, 0), (5, 7), (3, 3), (1, 2), (16, 13), (0, 0)])
@pytest.mark.parametrize("seed", [-77, 0, 0x90ABCDEF - (1 << 32) + 0x5678])
def test_checksum_of_any_size(sizes: tuple[int, int], seed: int) -> None:
    """Linux 6.18 takes sizes that are no multiple of 4; the last seed is what 6 bytes sum to."""
    old, new = sizes
    lines = ["r1 = 0x1234567890abcdef ll", "*(u64 *)(r10 - 16) = r1", "*(u64 *)(r10 - 8) = -5"]
    lines += ["r1 = r10\nr1 += -16" if old else "r1 = 0", f"r2 = {old}"]
    lines += ["r3 = r10\nr3 += -16" if new else "r3 = 0", f"r4 = {new}"]
    lines += [f"r5 = {seed}", "call bpf_csum_diff", "exit"]
    on_all(wb.assemble("\n".join(lines), type="tc"), bytes(64))


RING = """
    r6 = r1
    r1 = m ll
    r2 = 24
    r3 = 0
    call bpf_ringbuf_reserve
    if r0 == 0 goto full
    r7 = r0
    *(u64 *)(r7 + 0) = 17
    *(u64 *)(r7 + 8) = 18
    *(u64 *)(r7 + 16) = 19
    r1 = r7
    r2 = 0
    r3 = *(u64 *)(r6 + 0)
    if r3 == 1 goto drop
    call bpf_ringbuf_submit
    goto more
drop: call bpf_ringbuf_discard
more: r1 = m ll
    r2 = r6
    r2 = r10
    r2 += -16
    *(u64 *)(r10 - 16) = 5
    *(u64 *)(r10 - 8) = 6
    r3 = 11
    r4 = 0
    call bpf_ringbuf_output
    r8 = r0
    r1 = m ll
    r2 = 3
    call bpf_ringbuf_query
    r0 += r8
    exit
full: r0 = 99
    exit
"""


@pytest.mark.parametrize("drop", [0, 1])
def test_ring_buffer(drop: int) -> None:
    on_all(wb.assemble(RING), struct.pack("<Q", drop), m=MapDefinition("m", "ringbuf", 0, 0, 4096))


def test_tail_calls_end_after_33() -> None:
    """A program that tail-calls itself counts to 33 more runs, on every engine."""
    again = wb.assemble(
        "r6 = r1\nr1 = count ll\n*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\n"
        "call bpf_map_lookup_elem\nif r0 == 0 goto +4\nr1 = *(u64 *)(r0 + 0)\nr1 += 1\n"
        "*(u64 *)(r0 + 0) = r1\nr0 = 0\nr1 = r6\nr2 = jumps ll\nr3 = 1\ncall bpf_tail_call\n"
        "r0 = 7\nexit\n",
        type="xdp",
    )
    jumps = MapDefinition("jumps", "prog_array", 4, 4, 2)
    count = MapDefinition("count", "array", 4, 8, 1)
    seen = []
    for engine, make in ((wb.Kernel, wb.kernel_map), (wb.Interpreter, Map), (wb.Jit, Map)):
        maps = {"jumps": make(jumps), "count": make(count)}
        maps["jumps"][1] = again
        options = {} if engine is wb.Kernel else {"verify": False}
        with engine(again, maps=maps, **options) as loaded:
            seen.append((loaded.run(bytes(64)).r0, maps["count"][0]))
    assert seen == [(7, 34)] * 3


def test_packets_come_back_changed() -> None:
    """An xdp program that grows its packet at the front and writes there."""
    text = """
        r6 = r1
        r2 = -8
        call bpf_xdp_adjust_head
        if r0 != 0 goto out
        r2 = *(u32 *)(r6 + 0)
        r3 = *(u32 *)(r6 + 4)
        r4 = r2
        r4 += 8
        if r4 > r3 goto out
        *(u64 *)(r2 + 0) = 1234
        r0 = 2
    out: exit
    """
    program = wb.assemble(text, type="xdp")
    results = on_all(program, bytes(range(64)))
    assert results[0].packet == (1234).to_bytes(8, "little") + bytes(range(64))
    assert {r.packet for r in results} == {results[0].packet}


def test_printing() -> None:
    text = """
        *(u64 *)(r10 - 24) = 0
        r1 = 0x782520642520434c ll
        *(u64 *)(r10 - 24) = r1
        *(u64 *)(r10 - 16) = 0
        r1 = r10
        r1 += -24
        r2 = 16
        r3 = -5
        r4 = 255
        r5 = 0
        call bpf_trace_printk
        exit
    """
    with wb.Interpreter(wb.assemble(text), verify=False) as engine:
        result = engine.run()
        assert result.r0 == 2 + 1 + 2 + 1 + 2
        assert engine.printed["text"].tolist() == ["LC -5 ff"]
