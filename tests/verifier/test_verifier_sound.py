"""The verifier against runs: values lie in its states, and what it accepts touches only its own."""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from generate import generate
from support.agreement import emulated_arena, program_of

import workbench as wb
from workbench import verifier
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.bpf.releases import DEFAULT
from workbench.errors import Unsupported, WorkbenchError
from workbench.experiments import seeds, verdicts
from workbench.experiments.verdicts import Start
from workbench.verifier.paths import checkpoints, explore
from workbench.verifier.paths.equality import COVERED, equal
from workbench.verifier.paths.flow import analyse
from workbench.verifier.paths.recorder import Seen
from workbench.verifier.rules.facts import BYTES as BYTES_OF
from workbench.verifier.rules.facts import FETCHES
from workbench.verifier.values.domain import ARENA, CTX, SCALAR, STACK, UNSET, Value
from workbench.verifier.values.numbers import contains
from workbench.verifier.values.tnum import MASK

Scale = Callable[[int, int], int]
ACQUIRES = {op for op in Op if op.name.startswith("LOAD_ACQUIRE")}
STEPS = 300
BYTES, PAGES = 2048, 16  # of the context, which Linux wants as long as it is used; of an arena


def holds(value: Value, number: int, bases: dict[int, int]) -> bool:
    """Whether a register may hold a number; `bases` are where the stack and the context begin."""
    if value.kind == SCALAR:
        return contains(value.number, number)
    if value.kind in bases:
        return contains(value.number, number - bases[value.kind] - value.off & MASK)
    return True


def explains(seen: Seen, registers: list[int], live: int, ctx: int) -> bool:
    """Whether all registers that are read later lie in a state."""
    bases = {CTX: ctx}
    for n, value in enumerate(seen.registers[:10]):
        number = registers[n]
        if not live >> n & 1:
            continue
        if value.kind == STACK and value.about == seen.frame:
            bases[STACK] = registers[10]
        elif value.kind in (STACK, UNSET, ARENA):
            continue
        if not holds(value, number, bases):
            return False
    return True


def check_run(program: Program, arena: "wb.Arena | None", ctx: bytes) -> int:
    """Run a program; returns at how many steps its registers were in a state seen there."""
    with wb.Interpreter(program, arena=arena) as engine:
        trace = engine.run(ctx, fuel=STEPS, trace="steps").trace
    assert trace is not None
    assert trace.steps is not None
    states = wb.verify(program, log_level=2).states
    about = verifier._Verification(program, None, 2, DEFAULT)
    live = analyse(about.instructions, about.setting).live
    ctx_base = int(trace.state(0).registers[1])
    for t in range(len(trace)):
        pc, _, registers = trace.state(t)
        numbers = registers.tolist()
        seen = states.get(pc, ())
        found = any(explains(state, numbers, live[pc], ctx_base) for state in seen)
        assert found, "\n".join([f"step {t}, instruction {pc}: {numbers}", *map(str, seen)])
    return len(trace)


@pytest.fixture
def every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths end in an earlier state only if all numbers lie within, mattering or not."""

    def strictly(old, new, how, flow):  # type: ignore[no-untyped-def]
        return how != COVERED and equal(old, new, how, flow)

    monkeypatch.setattr(checkpoints, "equal", strictly)


def keeps_registers(program: Program) -> bool:
    """Whether something atomic loads less than 64 bits.

    In an arena, on a page that is absent, Linux 6.18 and so the engines leave the register as it
    was, and not as their verifiers think.
    """
    ops = {Op(op) for op in program.instructions["op"].tolist()}
    return any(op in FETCHES | ACQUIRES and BYTES_OF[op] < 8 for op in ops)


def random_bytes(rng: random.Random, size: int) -> bytes:
    """Numbers of all widths, often small or nearly all ones."""
    words = (rng.getrandbits(rng.choice((1, 4, 8, 32, 64))) * rng.choice((1, 1, MASK)) & MASK
             for _ in range(size // 8))  # fmt: skip
    return b"".join(word.to_bytes(8, "little") for word in words)


@pytest.mark.usefixtures("every_path")
@pytest.mark.parametrize("name", [n for n, p in seeds.seeds().items() if p.type == "syscall"])
def test_registers_of_seeds_lie_in_a_state(name: str, scale: Scale) -> None:
    program, rng = seeds.seeds()[name], random.Random(name)
    for _ in range(scale(2, 50)):
        try:
            assert check_run(program, None, random_bytes(rng, BYTES))
        except Unsupported as error:
            pytest.skip(str(error))


@pytest.mark.usefixtures("every_path")
def test_registers_of_random_programs_lie_in_a_state(scale: Scale) -> None:
    checked = 0
    for seed in range(scale(25, 1_000)):
        case = generate(seed, 40)
        program = program_of(case)
        if wb.verify(program).processed < 2_000 and not keeps_registers(program):
            checked += check_run(program, emulated_arena(case), case.ctx)
    assert checked > scale(200, 20_000)


@pytest.mark.usefixtures("every_path")
def test_registers_of_random_arithmetic_lie_in_a_state(scale: Scale) -> None:
    checked = 0
    for seed in range(scale(25, 3_000)):
        rng = random.Random(seed)
        program = seeds.arithmetic(rng)
        if wb.verify(program).ok:
            checked += check_run(program, None, random_bytes(rng, BYTES))
    assert checked > scale(200, 30_000)


def accepted(count: int, seed: int) -> Iterator[Program]:
    """Changed programs that the verifier accepts, as `workbench agreement` makes them."""
    rng = random.Random(seed)
    names = {"seeds": list(seeds.seeds()), "examples": list(seeds.examples())}
    while count:
        source = rng.choice(("seeds", "arithmetic", "examples"))
        origin = f"{source}/{rng.choice(names[source])}" if source in names else source
        program = verdicts.program_of(Start(origin, rng.getrandbits(31)))
        if len(program) < 150 and wb.verify(program, arena_pages=PAGES).ok:
            count -= 1
            yield program


def test_what_is_accepted_touches_only_its_own_memory(
    scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter checks every access as it happens: none of them may fail."""
    monkeypatch.setattr(explore, "LIMIT", 20_000)  # larger ones are left out
    ran: Counter[str] = Counter()
    for number, program in enumerate(accepted(scale(60, 20_000), 7)):
        rng = random.Random(number)
        try:
            with wb.Interpreter(program, wb.Arena(PAGES) if program.uses_arena else None) as engine:
                result = engine.run(random_bytes(rng, BYTES), fuel=20_000)
        except WorkbenchError as error:
            ran[type(error).__name__] += 1
            continue
        ran[result.stop] += 1
        assert result.stop != "fault", f"{result}\n{program}"
    assert ran["exit"] + ran["fuel"] > scale(40, 15_000), ran
