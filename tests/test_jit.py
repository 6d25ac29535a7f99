"""The JIT against the interpreter: corners by hand, random and broken programs, the examples."""

import contextlib
import json
import random
import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from agreement import (
    FUEL,
    TOO_COMPLEX,
    Final,
    as_by_kernel,
    by_kernel,
    difference,
    emulated_arena,
    final_of,
    program_of,
)
from click.testing import CliRunner
from generate import Case, generate
from kernel_support import REASON
from test_oracle import broken

import workbench as wb
from workbench.bpf.files import read_programs
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.cli import cli
from workbench.engines.jit import cache, native, tiers
from workbench.engines.jit.function import EMITTERS
from workbench.errors import DecodeError, Unsupported, VerificationError, WorkbenchError
from workbench.examples import programs as corpus
from workbench.objects import load_object

MASK = (1 << 64) - 1
BASE = 0x100010000000


class Left(NamedTuple):
    """All that a run leaves behind, page events with their times included."""

    final: Final
    pc: int
    reason: str
    clock: int
    events: pd.DataFrame


@contextlib.contextmanager
def hurried(program: Program) -> Iterator[None]:
    """Good machine code at once, as usual, or after a few steps; the program decides which."""
    with pytest.MonkeyPatch.context() as patch:
        patience = (0, tiers.PATIENCE, 1, 50)[zlib.crc32(program.bytecode) % 4]
        patch.setattr(tiers, "PATIENCE", patience)
        patch.setattr(tiers, "is_compiled", lambda wanted: False)
        yield


def left_by(
    engine: type,
    program: Program,
    arena: "wb.Arena",
    ctx: bytes,
    verify: bool = True,
    fuel: int | None = FUEL,
) -> Left:
    with hurried(program), engine(program, arena=arena, verify=verify) as machine:
        result = machine.run(ctx, fuel=fuel)
    final = final_of(arena, result.stop, result.r0, result.steps, result.ctx)
    return Left(final, result.pc, result.reason, arena.clock, arena.events)


def agree(one: Left, other: Left, what: object) -> str:
    """Hold both to the same answer; returns how the program stopped."""
    assert one.final == other.final, f"{what}: {difference(one.final, other.final)}"
    assert one[1:4] == other[1:4], what
    assert one.events.equals(other.events), what
    return one.final.stop


def check(case: Case, verify: bool = True, fuel: int = FUEL, raw: bool = False) -> str:
    program = program_of(case, "raw" if raw else "syscall")
    try:
        one, other = (
            left_by(engine, program, emulated_arena(case), case.ctx, verify, fuel)
            for engine in (wb.Interpreter, wb.Jit)
        )
    except VerificationError as refusal:
        if refusal.reason != TOO_COMPLEX:
            raise
        return "exit"  # as Linux does
    return agree(one, other, case)


def run_both(text: str, ctx: bytes = b"", type: str = "syscall", verify: bool = False) -> int:
    """Run assembly on both, with two pages of an arena of eight present; returns r0."""
    program = wb.assemble(text, type=type)
    found = []
    for engine in (wb.Interpreter, wb.Jit):
        arena = wb.Arena(8, 0, BASE)
        arena.user.write(BASE, bytes(range(1, 129)) * 64)
        found.append(left_by(engine, program, arena, ctx, verify))
    agree(*found, text)
    return found[0].final.r0


def test_every_operation_can_be_written() -> None:
    missing = [op.name for op in Op if op not in EMITTERS]
    assert not missing, f"the jit lacks {', '.join(missing)}"


# Corners


VALUES = (
    0,
    1,
    2,
    7,
    31,
    32,
    63,
    64,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 63,
    MASK,
    0x8000000000000001,
    0x123456789ABCDEF0,
    MASK - 0xFFFF,
)
BINARY = ("+=", "-=", "*=", "/=", "%=", "s/=", "s%=", "|=", "&=", "^=", "<<=", ">>=", "s>>=")
COMPARISONS = ("==", "!=", ">", ">=", "<", "<=", "&", "s>", "s>=", "s<", "s<=")


@pytest.mark.parametrize(("sign", "register"), list(product(BINARY, "rw")))
def test_arithmetic(sign: str, register: str) -> None:
    """All pairs of awkward values, results collected: division by 0, INT_MIN / -1, wild shifts."""
    lines = ["r0 = 0"]
    for a, b in product(VALUES, VALUES):
        lines += [
            f"r1 = {a} ll",
            f"r2 = {b} ll",
            f"{register}1 {sign} {register}2",
            "r0 *= 31",
            "r0 ^= r1",
        ]
    for a, imm in product(VALUES, (0, 1, -1, 3, 31, -(1 << 31))):
        if ("<<" not in sign and ">>" not in sign) or 0 <= imm < 32:
            lines += [f"r1 = {a} ll", f"{register}1 {sign} {imm}", "r0 *= 31", "r0 ^= r1"]
    assert run_both("\n".join([*lines, "exit"])) != 0


@pytest.mark.parametrize(("sign", "register"), list(product(COMPARISONS, "rw")))
def test_comparisons(sign: str, register: str) -> None:
    lines = ["r0 = 0"]
    for n, (a, b) in enumerate(product(VALUES, VALUES)):
        lines += [
            f"r1 = {a} ll",
            f"r2 = {b} ll",
            "r0 *= 3",
            f"if {register}1 {sign} {register}2 goto x{n}",
            "r0 += 1",
            f"x{n}:",
            f"if {register}1 {sign} -1 goto y{n}",
            "r0 += 1",
            f"y{n}:",
        ]
    run_both("\n".join([*lines, "exit"]))


UNARY = (
    "r1 = -r1",
    "w1 = -w1",
    "r1 = (s8)r1",
    "r1 = (s16)r1",
    "r1 = (s32)r1",
    "w1 = (s8)w1",
    "w1 = (s16)w1",
    "w1 = w1",
    "r1 = r1",
    "w1 = -5",
    "r1 = -5",
    *(f"r1 = {way}{size} r1" for way in ("le", "be", "bswap") for size in (16, 32, 64)),
    "r1 = cast_kern(r1)",
    "r1 = cast_user(r1)",
)


@pytest.mark.parametrize("line", UNARY)
def test_moves(line: str) -> None:
    lines = ["r9 = arena ll", "r0 = 0"]
    for value in VALUES:
        lines += [f"r1 = {value} ll", line, "r0 *= 31", "r0 ^= r1"]
    run_both("\n".join([*lines, "exit"]))


PLACES = {  # name: how r7 comes to point there
    "arena": f"r7 = {BASE + 64} ll\nr7 = cast_kern(r7)",
    "absent": f"r7 = {BASE + 5 * 4096} ll\nr7 = cast_kern(r7)",
    "straddling": f"r7 = {BASE + 2 * 4096 - 64 - 3} ll\nr7 = cast_kern(r7)",
    "stack": "r7 = r10\nr7 += -128",
    "context": "r7 = r6",
}
ATOMICS = tuple(
    text.format(u=f"u{bits}", r=r)
    for bits, r in ((64, "r"), (32, "w"))
    for text in (
        "lock *({u} *)(r7 + OFF) += {r}1",
        "lock *({u} *)(r7 + OFF) |= {r}1",
        "lock *({u} *)(r7 + OFF) &= {r}1",
        "lock *({u} *)(r7 + OFF) ^= {r}1",
        "{r}1 = atomic_fetch_add(({u} *)(r7 + OFF), {r}1)",
        "{r}1 = atomic_fetch_or(({u} *)(r7 + OFF), {r}1)",
        "{r}1 = atomic_fetch_and(({u} *)(r7 + OFF), {r}1)",
        "{r}1 = atomic_fetch_xor(({u} *)(r7 + OFF), {r}1)",
    )
)
EXCHANGES = (
    "r1 = xchg_64(r7 + OFF, r1)",
    "w1 = xchg32_32(r7 + OFF, w1)",
    "r0 = cmpxchg_64(r7 + OFF, r0, r1)",
    "w0 = cmpxchg32_32(r7 + OFF, w0, w1)",
)
PLAIN = tuple(
    text.format(bits=bits, r="r" if bits == 64 else "w")
    for bits in (8, 16, 32, 64)
    for text in (
        "r1 = *(u{bits} *)(r7 + OFF)",
        "*(u{bits} *)(r7 + OFF) = r1",
        "*(u{bits} *)(r7 + OFF) = -2",
        "{r}1 = load_acquire((u{bits} *)(r7 + OFF))",
        "store_release((u{bits} *)(r7 + OFF), {r}1)",
    )
) + tuple(f"r1 = *(s{bits} *)(r7 + OFF)" for bits in (8, 16, 32))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("line", [*PLAIN, *ATOMICS, *EXCHANGES])
def test_memory(line: str, place: str) -> None:
    """Aligned, unaligned, and around the edge of a page; twice, so that cmpxchg can succeed."""
    head = ["r6 = r1", "r9 = arena ll", PLACES[place], "r0 = 0x1122334455667788 ll"]
    offsets = (0, 8, 3, 56, 61, 64) if place != "context" else (0, 8, 3, 48, 53)
    lines = []
    for off in offsets:
        again = line.replace("OFF", str(off))
        lines += ["r1 = -3", again, "r8 ^= r1", "r8 *= 31", "r8 ^= r0"]
        lines += [again, "r8 ^= r1", "r8 *= 31", "r8 ^= r0"]
    rest = [f"r1 = *(u64 *)(r7 + {off})\nr8 *= 31\nr8 ^= r1" for off in (0, 8, 40)]
    run_both("\n".join([*head, *lines, *rest, "r0 = r8", "exit"]), bytes(range(64)))
    if (
        place in ("arena", "absent")
        and "fetch_and" not in line
        and "fetch_or" not in line
        and "fetch_xor" not in line
    ):
        verified = "\n".join(
            [
                *head[:4],
                "r8 = 0",
                "r1 = 5",
                line.replace("OFF", "8"),
                line.replace("OFF", "11"),
                "r0 += r1",
                "exit",
            ]
        )
        run_both(verified, bytes(64), verify=True)


CONTROL = {
    "endless": "x: goto x",
    "may_goto": "r0 = 0\nx: may_goto out\nr0 += 1\nif r0 != 5000 goto x\nout: exit",
    "stray jump": "goto +70\nexit",
    "deep": "call x\nexit\nx: call x\nexit",
    "division in a call": "r1 = 9\nr6 = 4\ncall x\nr0 += r6\nexit\nx: r6 = 0\nr0 = r1\n"
    "r0 /= r6\nr0 += 7\nexit",
    "wild read": "r1 = 77\nr0 = *(u64 *)(r1 + 0)\nexit",
    "read-only nowhere": "r1 = r10\n*(u64 *)(r1 + 0) = 1\nexit",
    "wild callx": "r1 = 5\ncallx r1\nexit",
    "callx": "r1 = func x ll\nr2 = 3\ncallx r1\nr0 += 1\nexit\nx: r0 = r2\nexit",
    "recursion": "r1 = 5\ncall f\nexit\nf: if r1 == 0 goto end\nr6 = r1\nr1 -= 1\ncall f\n"
    "r0 += r6\nexit\nend: r0 = 0\nexit",
    "random": "call 7\nr6 = r0\ncall 7\nr0 ^= r6\nexit",
    "clock": "r0 = 0\nr0 += 1\ncall 5\nexit",
}


@pytest.mark.parametrize("name", CONTROL)
def test_control(name: str) -> None:
    run_both(CONTROL[name])


ROUNDS = """
    r6 = 3
    *(u64 *)(r10 - 8) = 0
    r1 = {rounds}
    r2 = each ll
    r3 = r10
    r3 += -8
    r4 = 0
    call bpf_loop
    r1 = *(u64 *)(r10 - 8)
    r0 += r1
    r0 += r6
    exit
each:
    r6 = r1
    r7 = r2
    {body}
    r3 = *(u64 *)(r7 + 0)
    r3 += r6
    *(u64 *)(r7 + 0) = r3
    r0 = 0
    if r6 != {last} goto out
    r0 = 1
out:
    exit
"""
INNER = """
    r1 = r6
    r2 = inner ll
    r3 = r10
    r3 += -8
    *(u64 *)(r10 - 8) = 0
    r4 = 0
    call bpf_loop
    r1 = *(u64 *)(r10 - 8)
    r6 += r1
"""
INNERMOST = """
inner:
    r3 = *(u64 *)(r2 + 0)
    r3 += 2
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    exit
"""
ENTERING = {
    "rounds": ROUNDS.format(rounds=50, body="r0 = 0", last=99),
    "ended": ROUNDS.format(rounds=50, body="r0 = 0", last=7),
    "none": ROUNDS.format(rounds=0, body="r0 = 0", last=7),
    "too many": ROUNDS.format(rounds=(8 << 20) + 1, body="r0 = 0", last=7),
    "helper inside": ROUNDS.format(rounds=20, body="call bpf_get_prandom_u32\nr6 ^= r0", last=99),
    "one in another": ROUNDS.format(rounds=9, body=INNER, last=99) + INNERMOST,
    "thrown": "r6 = 5\ncall f\nr0 = 1\nexit\nf: r1 = 77\ncall bpf_throw\nr0 = 2\nexit",
    "thrown at once": "r6 = 1\nr1 = 77\ncall bpf_throw\nr0 = 2\nexit",
}
OUTSIDE = {
    "wild": "r1 = 3\nr2 = 5\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit",
    "no function": "r1 = 3\nr2 = 0xffffffffc0000038 ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\n"
    "r0 = r7\nr7 += r1\nr0 = 0\nexit",
    "unset": ROUNDS.format(rounds=5, body="r3 = r8\nr8 += 9\nr6 += r3\nr6 += r5", last=99),
    "fault": ROUNDS.format(rounds=5, body="r1 = *(u64 *)(r6 + 0)", last=99),
    "thrown in a callback": ROUNDS.format(rounds=5, body="r1 = 7\ncall bpf_throw", last=99),
    "main again": "r1 = 3\nr2 = main ll\nmain: r3 = 0\nr4 = 0\ncall bpf_loop\nr0 += 1\nexit",
}


@pytest.mark.parametrize("name", [*ENTERING, *OUTSIDE])
def test_callbacks(name: str) -> None:
    """Whole, cut short anywhere, and counted: as the interpreter does it."""
    verify = name in ENTERING
    text = ENTERING[name] if verify else OUTSIDE[name]
    program = wb.assemble(text)
    for fuel in (None, *range(1, 60, 3), 200, 1000):
        found = [
            left_by(engine, program, wb.Arena(1), b"", verify, fuel)
            for engine in (wb.Interpreter, wb.Jit)
        ]
        agree(*found, (name, fuel))
    for fuel in (None, 40, 200):
        counted = []
        for engine in (wb.Interpreter, wb.Jit):
            with engine(program, verify=verify) as machine:
                counted.append(machine.run(fuel=fuel, trace="blocks").trace.counts.tolist())
        assert counted[0] == counted[1], (name, fuel)


@pytest.mark.parametrize("name", ENTERING)
def test_callbacks_are_machine_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with wb.Jit(wb.assemble(ENTERING[name])) as engine:
        expected = engine.run()
        monkeypatch.setattr("workbench.engines.jit.engine.interpret", None)
        assert engine.run().r0 == expected.r0


@pytest.mark.parametrize("verify", [False, True])
def test_tail_calls_are_machine_code(verify: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the main function, and from another whose caller goes on afterwards."""
    last = wb.assemble("r0 = 40\nexit", type="xdp")
    around = "" if verify else "call f\nr0 += 1\nexit\nf:\n"  # Linux wants BTF for that
    middle = wb.assemble(
        f"{around}r2 = jumps ll\nr3 = 0\ncall bpf_tail_call\nr0 = 9\nexit", type="xdp"
    )
    first = wb.assemble(
        ".map jumps prog_array key=4 value=4 entries=3\n"
        "r6 = r1\nr2 = jumps ll\nr3 = 7\ncall bpf_tail_call\nr1 = r6\nr2 = jumps ll\n"
        "r3 = 1\ncall bpf_tail_call\nr0 = 8\nexit",
        type="xdp",
    )
    answers = []
    for engine in (wb.Interpreter, wb.Jit):
        maps = {"jumps": wb.Map(first.maps[0])}
        maps["jumps"][0], maps["jumps"][1] = last, middle
        with engine(first, verify=verify, maps=maps) as machine:
            runs = [machine.run(bytes(64), fuel=fuel) for fuel in (None, *range(16))]
            answers.append([(r.stop, r.r0, r.steps, r.pc) for r in runs])
            if engine is wb.Jit:
                monkeypatch.setattr("workbench.engines.jit.engine.interpret", None)
                machine.run(bytes(64))
    assert answers[0] == answers[1]
    assert answers[0][0][:2] == ("exit", 40 if verify else 41)


def test_packet_loads() -> None:
    for size, off in product((8, 16, 32), (0, 1, 14, 15, 16)):
        run_both(
            f"r0 = 9\nr6 = r1\nr0 = *(u{size} *)skb[{off}]\nr0 += 1\nexit",
            bytes(range(200, 216)),
            "raw",
        )


# Random programs


def judged(case: Case) -> bool:
    """Hold all engines to the same answer; False if the program is refused.

    Interpreter and jit: r0, stop, steps, context, pages, bytes, free ranges and events, times
    included. Linux, where it can be asked: all of these but steps and events.
    """
    program = program_of(case)
    try:
        linux = None if REASON else by_kernel(case)
        one, other = (
            left_by(engine, program, emulated_arena(case), case.ctx)
            for engine in (wb.Interpreter, wb.Jit)
        )
    except VerificationError:
        return False
    assert agree(one, other, case) == "exit"
    found = as_by_kernel(other.final)
    assert linux in (None, found), f"{case}: {difference(linux or found, found)}"
    return True


def test_all_engines_agree(scale: Callable[[int, int], int]) -> None:
    """Random verified programs; few does Linux refuse."""
    count = scale(100, 50_000)
    agreed = sum(judged(generate(seed)) for seed in range(2_000_000, 2_000_000 + count))
    assert agreed >= 0.97 * count


def test_unverified_programs(scale: Callable[[int, int], int]) -> None:
    for seed in range(2_100_000, 2_100_000 + scale(60, 3000)):
        check(generate(seed), verify=False, raw=bool(seed % 2))


def test_runs_cut_short(scale: Callable[[int, int], int]) -> None:
    """Out of fuel after exactly as many steps, in the same state."""
    for seed in range(2_200_000, 2_200_000 + scale(60, 3000)):
        check(generate(seed), fuel=random.Random(seed).randrange(1000))


def test_broken_programs_do_the_same_wrong_things(scale: Callable[[int, int], int]) -> None:
    stops = set()
    for seed in range(2_300_000, 2_300_000 + scale(130, 5000)):
        case = broken(generate(seed), random.Random(seed))
        with contextlib.suppress(DecodeError, Unsupported):
            stops.add(check(case, verify=False, fuel=2000))
    assert {"exit", "fault", "fuel"} <= stops


# The examples


@pytest.mark.parametrize("name", corpus.programs())
def test_examples(name: str) -> None:
    """Every program of the corpus in turn on one arena, with the quick size where there is one."""
    example = corpus.example(name)
    programs = corpus.load(name)
    order = ["setup"] * ("setup" in programs) + [n for n in programs if n != "setup"]
    arenas = [wb.Arena(example.pages), wb.Arena(example.pages)]
    for key in order:
        for count in (example.sizes.quick if example.sizes else 5, 0):
            ctx = example.contexts[key]
            values = ctx.pack(*[count][: len(ctx.fields)])
            one, other = (
                left_by(engine, programs[key], arena, values, fuel=None)
                for engine, arena in zip((wb.Interpreter, wb.Jit), arenas, strict=True)
            )
            assert agree(one, other, (name, key)) == "exit"


FILES = sorted(corpus.directory().rglob("*.bpf")) + sorted(corpus.directory().rglob("*.o"))


def told(path: Path, names: list[str], engine: str) -> list[dict[str, object]]:
    """What `workbench run --json` says of programs in turn; C examples declare their arenas."""
    whole = ("sparse.o", "sparse_array.o")  # arenas of 4 GiB, which begin on such a line
    base = 1 << 44 if path.name in whole else BASE
    arguments = ["run", str(path), "--engine", engine, "--json", "--user-base", f"{base:x}"]
    arguments += ["--pages", "256"] if path.suffix == ".bpf" else []
    size = 128 if path.parent.name == "studies" else 32
    for name in names:
        ctx = b"" if name == "setup" else (3).to_bytes(size, "little")
        arguments += ["--program", name, "--ctx", ctx.hex()]
    found = json.loads(CliRunner().invoke(cli, arguments).stdout)
    return list(found.get("runs", [found]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_command_line_gives_the_same(path: Path) -> None:
    """Every program of data/programs, by its JSON: interpreter, jit, and Linux where it is."""
    declared = load_object(path).programs if path.suffix == ".o" else read_programs(path)
    for name in declared:
        if declared[name].type != "syscall":  # wants a packet: see test_kv
            continue
        names = ["setup", name] if "setup" in declared and name != "setup" else [name]
        one, other = (told(path, names, engine) for engine in ("interpreter", "jit"))
        assert [result["stop"] for result in one] == ["exit"] * len(names), name
        for result in (*one, *other):
            del result["seconds"], result["engine"]
        assert one == other
        linux = [] if REASON else told(path, names, "kernel")
        for mine, theirs in zip(one, linux, strict=not REASON):
            assert (theirs["stop"], theirs["ctx"]) == ("exit", mine["ctx"]), name
            assert int(str(theirs["r0"]), 16) == int(str(mine["r0"]), 16) & 0xFFFFFFFF, name


@pytest.mark.parametrize("flags", [0, wb.ArenaFlags.NO_USER_CONV])
def test_compare_knows_it(flags: int) -> None:
    found = wb.compare(corpus.load("hash")["main"], ("interpreter", "jit"), flags=flags)
    assert found.equal, found


# The engine


def test_says_what_it_cannot_do() -> None:
    program = wb.assemble("r0 = 0\nexit")
    with wb.Jit(program) as engine:
        with pytest.raises(Unsupported, match="use the interpreter"):
            engine.run(trace="steps")
        with pytest.raises(WorkbenchError, match="fuel must not be negative"):
            engine.run(fuel=-1)
    with pytest.raises(VerificationError):
        wb.Jit(wb.assemble("r0 = *(u64 *)(r1 + 8)\nr0 = *(u64 *)(r0 + 0)\nexit"))
    large = wb.assemble("\n".join(["r0 = 0"] * 20_001 + ["exit"]))
    with pytest.raises(Unsupported, match="20002 slots"):
        wb.Jit(large)


def test_shows_its_code() -> None:
    """Machine code belongs to instructions, but for the entry; Linux's is beside it."""
    program = corpus.load("memsum")["memsum"]
    with wb.Jit(program) as engine:
        assert "define" in engine.llvm_ir
        table = engine.native
        size = len(engine.machine_code)
    assert set(table["pc"]) <= set(range(len(program)))
    ours = table[table["native"] != ""]
    assert 0.7 * size < sum(len(code) // 2 for code in ours["code"]) <= size
    assert not ours["address"].duplicated().any()
    loads = set(table[table["bpf"] == "r4 = *(u64 *)(r1 + 0)"]["kernel"])
    if REASON:
        assert loads == {""}
    else:
        assert any("qword ptr" in text for text in loads)


def test_runs_again_and_again() -> None:
    program = wb.assemble("r0 = *(u64 *)(r1 + 0)\nr0 += 1\n*(u64 *)(r1 + 0) = r0\nexit")
    with wb.Jit(program) as engine:
        for n in range(5):
            result = engine.run(n.to_bytes(8, "little"))
            assert (result.r0, result.ctx) == (n + 1, (n + 1).to_bytes(8, "little"))


def test_ctrl_c_stops_an_endless_program() -> None:
    program = wb.assemble("x: r0 += 1\ngoto x")
    with wb.Jit(program, verify=False) as engine:
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
        timer.start()
        result = engine.run()
        timer.join()
    assert result.stop == "interrupt"
    assert result.steps > 0


LOCKED = """
    r6 = *(u64 *)(r1 + 0)
    r7 = arena + 0 ll
    r7 = cast_kern(r7)
again:
    may_goto out
    if r6 == 0 goto out
    r6 -= 1
take:
    may_goto out
    r1 = 1
    w1 = xchg32_32(r7 + 0, w1)
    if w1 != 0 goto take
    r2 = *(u64 *)(r7 + 8)
    r2 += 1
    *(u64 *)(r7 + 8) = r2
    r1 = 0
    store_release((u32 *)(r7 + 0), w1)
    goto again
out:
    r0 = r6
    exit
"""


def in_threads(engines: list[wb.Jit], ctx: bytes = b"") -> list[int]:
    """Run all at once; returns what each gave."""
    left: list[int] = []
    threads = [threading.Thread(target=lambda e=e: left.append(e.run(ctx).r0)) for e in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return left


def test_two_threads_count_under_a_lock() -> None:
    """The GIL is released, and atomics are atomic: a spin lock in the arena loses no count."""
    count, arena = 200_000, wb.Arena(1)
    arena.alloc(1)
    engines = [wb.Jit(wb.assemble(LOCKED), arena) for _ in range(2)]
    assert in_threads(engines, count.to_bytes(8, "little")) == [0, 0]
    assert arena.user.load(arena.user_start + 8) == 2 * count


PAGES_TAKEN = """
    r6 = *(u64 *)(r1 + 0)             ; a known number of rounds would be followed one by one
    r7 = 0
again:
    may_goto out
    if r6 == 0 goto out
    r6 -= 1
    r1 = arena ll
    r2 = 0
    r3 = 1
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    if r0 == 0 goto again
    r7 += 1
    r8 = r0
    r1 = cast_kern(r0)
    r2 = *(u64 *)(r1 + 0)
    r7 += r2
    *(u64 *)(r1 + 0) = 1000000
    r2 = *(u64 *)(r1 + 8192)
    r1 = arena ll
    r2 = r8
    r3 = 1
    call bpf_arena_free_pages
    goto again
out:
    r0 = r7
    exit
"""


def test_threads_share_page_tables_and_events() -> None:
    """No page is given to two at once, each comes zeroed, and no event is lost."""
    rounds, arena = 5_000, wb.Arena(8)
    program = wb.assemble(PAGES_TAKEN)
    engines = [wb.Jit(program, arena) for _ in range(4)]
    assert in_threads(engines, rounds.to_bytes(8, "little")) == [rounds] * 4
    assert arena.live_pages == 0
    assert arena.free_extents.tolist() == [[0, 8]]
    kinds = arena.events["kind"].value_counts()
    assert kinds["alloc"] == kinds["free"] == 4 * rounds
    assert not kinds["alloc_failed"]


def test_may_goto_ends_exactly() -> None:
    """The budget is used up to the last round, whatever way it is counted."""
    for text in ("", "call f\n"):
        lines = f"r0 = 0\nx: may_goto out\nr0 += 1\n{text}goto x\nout: exit\nf: r0 += 1\nexit"
        program = wb.assemble(lines if text else lines.split("\nf:")[0])
        with wb.Jit(program, verify=False) as engine:
            result = engine.run()
        assert result.stop == "exit"
        assert result.r0 == (1 << 28) * (2 if text else 1)


@pytest.mark.parametrize("trace", ["counts", "blocks", "pages", "faults"])
@pytest.mark.parametrize("verify", [True, False])
def test_counts_are_those_of_the_interpreter(
    trace: str, verify: bool, scale: Callable[[int, int], int]
) -> None:
    begin = 2_400_000
    into_wide = begin + 1579  # broken, it jumps into the middle of a wide instruction
    for seed in (into_wide, *range(begin, begin + scale(8, 2000))):
        fuel = random.Random(seed).choice((None, 700))
        case = generate(seed)
        if not verify:
            case = broken(case, random.Random(seed))
            fuel = 2000
        with contextlib.suppress(DecodeError, Unsupported):
            try:
                check_counts(case, trace, verify, fuel)
            except VerificationError as refusal:
                if refusal.reason != TOO_COMPLEX:
                    raise


def check_counts(case: Case, trace: str, verify: bool, fuel: int | None) -> None:
    program, traces = program_of(case), []
    for engine in (wb.Interpreter, wb.Jit):
        with engine(program, arena=emulated_arena(case), verify=verify) as machine:
            traces.append(machine.run(case.ctx, fuel=fuel, trace=trace).trace)
    one, other = traces
    assert one is not None
    assert other is not None
    assert one.events.equals(other.events)
    assert (one.counted is None) == (other.counted is None)
    if one.counted is not None:
        assert one.counts.tolist() == other.counts.tolist(), case
    if one.page_counts is not None:
        assert one.page_counts.equals(other.page_counts), case


# Kept machine code


def test_code_is_found_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_directory", lambda: tmp_path / "new" / "jit")
    program = wb.assemble("r0 = 6\nr0 *= 77\nexit")
    for expected in (False, True):
        native.forget()
        engine = wb.Jit(program)
        assert engine._tiers.current.cached == expected
        assert engine.run().r0 == 462


@pytest.mark.parametrize("damage", [b"", b"x" * 5000, None])
def test_damaged_and_foreign_code_is_ignored(
    damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty, overwritten, or the code of another program under this one's name."""
    monkeypatch.setattr(cache, "_directory", lambda: tmp_path)
    native.forget()
    wb.Jit(wb.assemble("r0 = 1\nexit"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    native.forget()
    wb.Jit(wb.assemble("r0 = 2\nexit"))
    (mine,) = (path for path in tmp_path.iterdir() if path.name not in before)
    mine.write_bytes(next(iter(before.values())) if damage is None else damage)
    native.forget()
    engine = wb.Jit(wb.assemble("r0 = 2\nexit"))
    assert not engine._tiers.current.cached
    assert engine.run().r0 == 2


def test_without_a_disk_code_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_directory", lambda: Path("/dev/null/nowhere"))
    for _ in range(2):
        native.forget()
        assert not wb.Jit(wb.assemble("r0 = 3\nexit"))._tiers.current.cached


def test_the_key_tells_everything_apart() -> None:
    keys = [cache.key(*parts) for parts in (("a",), ("a", "b"), ("ab",), (b"a", True), ("b", "a"))]
    assert len(set(keys)) == len(keys)


# The choice of an engine

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
