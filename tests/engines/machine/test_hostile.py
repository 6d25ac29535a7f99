"""No program, whatever it does, ends or hangs this process, and both engines say the same of it."""

import ctypes
import faulthandler
from collections.abc import Callable

import pytest
from generate.wild import wild
from support import hostile
from support.hostile import compile_all, run_all

import workbench as wb
from workbench.bpf.functions import FUNCTIONS

FIRST = 19_000_000
ENGINES = pytest.mark.parametrize("engine", [wb.Interpreter, wb.Jit])


def test_wild_programs(scale: Callable[[int, int], int]) -> None:
    """Every function with arguments of all sorts, on every kind of map, in processes of their own.

    No crash, no hang, no difference between engines, no error that is not the workbench's.
    """
    compile_all()
    tally = run_all(range(FIRST, FIRST + scale(2000, 1_000_000)))
    assert not tally.findings, (tally.stops, tally.findings[:20])
    assert min(tally.stops[stop] for stop in ("exit", "fault", "VerificationError")) > 20


def test_wild_programs_call_everything() -> None:
    called = {name for seed in range(FIRST, FIRST + 500) for name in _called(seed)}
    assert called == {row.name for row in FUNCTIONS}


def _called(seed: int) -> list[str]:
    case = wild(seed)
    code = case.bytecode
    helpers = [
        int.from_bytes(code[at + 4 : at + 8], "little")
        for at in range(0, len(code), 8)
        if code[at] == 0x85 and code[at + 1] == 0
    ]
    known = {row.number: row.name for row in FUNCTIONS if row.kind == "helper"}
    kfuncs = [reference.name for reference in case.references if reference.kind == "kfunc"]
    return kfuncs + [known[number] for number in helpers]


@pytest.mark.parametrize("act", ["crash", "hang"])
def test_what_ends_a_process_is_found(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself: a program that kills its process, and one that never ends."""

    def fatal(seed: int) -> object:
        if seed != FIRST + 2:
            return "exit", None
        while act == "hang":
            pass
        faulthandler.disable()
        return ctypes.string_at(8)

    monkeypatch.setattr(hostile, "judged", fatal)
    monkeypatch.setattr(hostile, "CPU_SECONDS", 3)
    found = run_all(range(FIRST, FIRST + 4)).findings
    assert [(finding.kind, finding.seed) for finding in found] == [(act, FIRST + 2)]


NO_TYPE = "cannot call this"
FORGED = [
    ("raw", b"", "r2 = 100\ncall bpf_xdp_adjust_tail", NO_TYPE),
    ("raw", b"", "r2 = 100\ncall bpf_xdp_adjust_head", NO_TYPE),
    ("tc", bytes(64), "r2 = 3000\ncall bpf_xdp_adjust_tail", NO_TYPE),
    ("syscall", b"", "r4 = 0\ncall bpf_skb_load_bytes", NO_TYPE),
    ("socket_filter", bytes(64), "call bpf_throw", NO_TYPE),
    ("raw", b"", "call bpf_ringbuf_submit", "is in no memory"),
    ("raw", bytes(16), "r1 += 8\ncall bpf_ringbuf_submit", "no record that is being written"),
    ("raw", b"", "r1 = 7 ll\ncall bpf_spin_lock", "is in no memory"),
    ("raw", b"", "r1 = 1\nr2 = 99999\nr3 = 0\nr4 = 0\ncall bpf_loop", "not an instruction"),
    ("raw", b"abcd", "r2 = r1\nr1 = 1\nr4 = 0\ncall bpf_stream_vprintk", "has no end"),
    ("raw", b"", "r3 = 0x10000000000 ll\nr4 = 8\ncall bpf_csum_diff", "is in no memory"),
]


@ENGINES
@pytest.mark.parametrize(("type", "ctx", "text", "reason"), FORGED)
def test_forged_arguments_are_faults(
    engine: type, type: str, ctx: bytes, text: str, reason: str
) -> None:
    with engine(wb.assemble(f"{text}\nr0 = 0\nexit", type=type), verify=False) as machine:
        result = machine.run(ctx)
    assert result.stop == "fault"
    assert reason in result.reason


KEYLESS = ["ringbuf key=0 value=0 entries=4096", "queue key=0 value=8 entries=4"]
KEYLESS += ["stack key=0 value=8 entries=4", "bloom_filter key=0 value=8 entries=4"]
ON_MAPS = [
    "r1 = m ll\nr2 = function ll\nr3 = 0\nr4 = 0\ncall bpf_for_each_map_elem",
    "r2 = m ll\nr3 = 0\ncall bpf_tail_call",
    "r1 = m ll\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem",
    "r2 = m ll\nr3 = 0\nr4 = r10\nr4 += -8\nr5 = 8\ncall bpf_perf_event_output",
]


@ENGINES
@pytest.mark.parametrize("map", KEYLESS, ids=lambda text: text.split()[0])
@pytest.mark.parametrize("text", ON_MAPS, ids=lambda text: text.split("bpf_")[-1])
def test_maps_of_another_kind_are_faults(engine: type, map: str, text: str) -> None:
    """In a raw program that the verifier has passed, too: it proves nothing of calls."""
    program = f".map m {map}\n{text}\nexit\nfunction:\nr0 = 0\nexit"
    with engine(wb.assemble(program, type="raw"), verify=False) as machine:
        result = machine.run()
    assert result.stop == "fault"
    assert "is no map that can do this" in result.reason


@ENGINES
def test_a_packet_starts_where_it_is_whatever_the_context_says(engine: type) -> None:
    text = """
    *(u32 *)(r1 + 0) = 0x1fff0
    r6 = r1
    r2 = -300
    call bpf_xdp_adjust_head
    exit
    """
    with engine(wb.assemble(text, type="xdp"), verify=False) as machine:
        result = machine.run(bytes(range(64)))
    assert (result.stop, result.r0) == ("exit", 2**64 - 22)
    assert result.packet == bytes(range(64))
