"""Where the verifiers' test programs start from: seeds.bpf, data/programs, and random arithmetic.

Every one is a program that Linux accepts, or nearly so; `mutate` changes them.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from workbench.bpf.assembler import assemble, assemble_all
from workbench.bpf.declarations import MapDefinition, Subprogram
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.examples import programs
from workbench.objects import load_object

TEXT = Path(__file__).with_name("seeds.bpf")
MAPS = (
    MapDefinition("counters", "array", 4, 32, 4),
    MapDefinition("settings", "array", 4, 32, 1),
    MapDefinition("table", "hash", 4, 8, 16),
    MapDefinition("work", "queue", 0, 8, 8),
    MapDefinition("ring", "ringbuf", 0, 0, 4096),
    MapDefinition("locked", "array", 4, 24, 1, lock=0),
    MapDefinition("jumps", "prog_array", 4, 4, 4),
)
GLOBALS = {
    "global_function": ("global_add", ("scalar",)),
    "global_memory": ("global_store", ("mem:16", "scalar")),
    "global_arena": ("global_touch", ("arena",)),
}
"""Programs whose one function is verified on its own: its name and its arguments."""


def seeds() -> dict[str, Program]:
    """The programs of seeds.bpf by name, with the maps and functions that they declare."""
    return {name: _declared(program) for name, program in assemble_all(TEXT.read_text()).items()}


def examples() -> dict[str, Program]:
    """Every program of data/programs, assembly and objects, as FILE/NAME."""
    found: dict[str, Program] = {}
    for name in programs.names():
        found |= {f"{name}/{key}": program for key, program in programs.load(name).items()}
    for path in sorted(programs.directory().rglob("*.o")):
        loaded = load_object(path).programs
        found |= {f"{path.name}/{key}": program for key, program in loaded.items()}
    return found


def _declared(program: Program) -> Program:
    named = {reference.name for reference in program.references if reference.kind == "map"}
    maps = tuple(declared for declared in MAPS if declared.name in named)
    if program.name not in GLOBALS:
        return replace(program, maps=maps)
    name, arguments = GLOBALS[program.name]
    calls = [pc for pc, op in enumerate(program.instructions["op"]) if op == Op.CALL_LOCAL]
    start = calls[0] + 1 + int(program.instructions["off"][calls[0]])
    return replace(program, maps=maps, subprograms=(Subprogram(start, name, True, arguments),))


_LOADS = ("u8", "u16", "u32", "u64", "s8", "s16", "s32")
_OPERATORS = ("+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>=", "s>>=", "/=", "%=", "=")
_COMPARISONS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
_NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 63, 64, 255, 4095, 65535, -1, -8, 1 << 30, -(1 << 31))


def arithmetic(rng: random.Random) -> Program:
    """Numbers from the context, random operations and branches; one then indexes the stack."""
    lines = ["r9 = r1", *(f"*(u64 *)(r10 - {at}) = 0" for at in range(8, 72, 8))]
    for register in range(2, 7):
        lines.append(f"r{register} = *({rng.choice(_LOADS)} *)(r9 + {8 * register})")
    for _ in range(rng.randrange(4, 14)):
        lines += list(_random_line(rng))
    index = rng.randrange(2, 7)
    lines += [f"r{index} &= {rng.choice((7, 15, 31, 63))}"] if rng.random() < 0.4 else []
    lines += [f"if r{index} > {rng.choice((7, 15, 55, 56, 63))} goto out"]
    lines += ["r1 = r10", "r1 += -64", f"r1 += r{index}", "r0 = *(u8 *)(r1 + 0)"]
    lines += ["out:", "r0 = 0", "exit"]
    return replace(assemble("\n".join(lines)), name="arithmetic")


def _random_line(rng: random.Random) -> Iterator[str]:
    """One operation, sometimes behind a branch."""
    size = rng.choice("rrw")
    left, right = rng.randrange(2, 7), rng.randrange(2, 7)
    if rng.random() < 0.3:
        other = str(rng.choice(_NUMBERS)) if rng.random() < 0.7 else f"{size}{right}"
        yield f"if {size}{left} {rng.choice(_COMPARISONS)} {other} goto +{rng.choice((1, 1, 1))}"
    operator = rng.choice(_OPERATORS)
    if rng.random() < 0.4:
        yield f"{size}{left} {operator} {size}{right}"
        return
    number = rng.choice(_NUMBERS)
    if operator in ("<<=", ">>=", "s>>="):
        number = rng.randrange(64 if size == "r" else 32)
    if operator in ("/=", "%="):
        number = abs(number) % 4096 or 3
    yield f"{size}{left} {operator} {number}"
