"""Callbacks and tail calls in machine code, as the interpreter does them."""

import pytest
from support.both_engines import agree, left_by

import workbench as wb

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
