"""Hostile programs write nothing beside the memory that an engine made for them."""

import contextlib
import random
import tomllib
from collections.abc import Callable

import numpy as np
import pytest
from generate import generate
from generate.damage import broken
from support.agreement import emulated_arena, program_of
from support.paths import CONFORMANCE

import workbench as wb
from workbench.engines.machine import prepared
from workbench.engines.machine.state import Machine
from workbench.errors import DecodeError, Unsupported

ROWS = tomllib.loads(CONFORMANCE.read_text())["row"]
MARGIN, PATTERN = 512, 0xA5
LAZY = ("journal", "printed")  # mappings of their own, half a megabyte and more
ENGINES = pytest.mark.parametrize("engine", [wb.Interpreter, wb.Jit])


class Fences:
    """Copies of arrays between margins whose bytes must stay as they are."""

    def __init__(self) -> None:
        self.rooms: list[tuple[str, np.ndarray]] = []

    def around(self, name: str, array: np.ndarray) -> np.ndarray:
        room = np.full(array.nbytes + 2 * MARGIN, PATTERN, np.uint8)
        inside = room[MARGIN : MARGIN + array.nbytes]
        inside[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.rooms.append((name, room))
        return inside.view(array.dtype).reshape(array.shape)

    def broken(self) -> list[str]:
        """What was written outside: the array and the first byte, from its start."""
        found = []
        for name, room in self.rooms:
            margins = np.concatenate((room[:MARGIN], room[-MARGIN:])) != PATTERN
            if margins.any():
                at = int(margins.argmax())
                found.append(
                    f"{name}: byte {at - MARGIN if at < MARGIN else len(room) - 3 * MARGIN + at}"
                )
        self.rooms.clear()
        return found


@pytest.fixture
def fences(monkeypatch: pytest.MonkeyPatch) -> Fences:
    """Fences around every array of the machines, stacks, contexts and packets made from now on."""
    made, plain = Fences(), prepared.Prepared.__init__
    machine, inputs = prepared._machine, prepared.inputs

    def inside(*args: object) -> Machine:
        arrays = machine(*args)._asdict()  # type: ignore[arg-type]
        return Machine(**{k: v if k in LAZY else made.around(k, v) for k, v in arrays.items()})

    def fenced(self: prepared.Prepared, *args: object, **named: object) -> None:
        plain(self, *args, **named)  # type: ignore[arg-type]
        self.stack = made.around("stack", self.stack)

    def fenced_inputs(type: str, ctx: bytes) -> object:
        found = inputs(type, ctx)
        return found._replace(
            ctx=made.around("context", found.ctx), buffer=made.around("packet", found.buffer)
        )

    monkeypatch.setattr(prepared, "_machine", inside)
    monkeypatch.setattr(prepared.Prepared, "__init__", fenced)
    monkeypatch.setattr(prepared, "inputs", fenced_inputs)
    return made


@ENGINES
def test_a_write_outside_is_seen(engine: type, fences: Fences) -> None:
    with engine(wb.assemble("r0 = 0\nexit"), verify=False) as machine:
        machine.run(bytes(8))
        assert fences.rooms
        fences.rooms[0][1][MARGIN - 1] = 0
    assert fences.broken() == ["code: byte -1"]


@ENGINES
def test_corners_of_single_instructions(engine: type, fences: Fences) -> None:
    for row in ROWS:
        with engine(wb.assemble(row["asm"], type="raw"), verify=False) as machine:
            machine.run(bytes.fromhex(row.get("memory", "")))
        assert not fences.broken(), row["name"]


@ENGINES
def test_damaged_programs(engine: type, fences: Fences, scale: Callable[[int, int], int]) -> None:
    for seed in range(2_500_000, 2_500_000 + scale(100, 5000)):
        case = broken(generate(seed), random.Random(seed))
        with contextlib.suppress(DecodeError, Unsupported):
            program, arena = (
                program_of(case, "raw" if seed % 2 else "syscall"),
                emulated_arena(case),
            )
            with engine(program, arena=arena, verify=False) as machine:
                machine.run(case.ctx, fuel=2000)
        assert not fences.broken(), case


@ENGINES
@pytest.mark.parametrize("type", ["xdp", "tc", "socket_filter"])
def test_packet_programs_at_the_edges(engine: type, type: str, fences: Fences) -> None:
    """Stores of every size around both ends of whatever r1 and its packet point to."""
    for size in ("u8", "u16", "u32", "u64"):
        for offset in (-8, -4, -1, 0, 13, 14, 56, 60, 63, 64, 180, 191, 4088, 4095):
            for base in ("r1", "r2"):
                text = f"r2 = *(u32 *)(r1 + 0)\n*({size} *)({base} {offset:+}) = 77\nr0 = 0\nexit"
                with engine(wb.assemble(text, type=type), verify=False) as machine:
                    machine.run(bytes(64))
                assert not fences.broken(), text
