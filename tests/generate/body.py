"""One function in the making, and the random choices that actions are made of."""

import random
from collections.abc import Callable
from typing import NamedTuple

from support import wire as b

from generate.state import ARENA, CTX, FRAME, SCALAR, State
from workbench.bpf.declarations import MapDefinition

PAGE = 4096
M32, M64 = (1 << 32) - 1, (1 << 64) - 1
CTX_BYTES, CTX_RANDOM, CTX_DIGEST, CTX_COUNTERS = 64, 32, 32, 48  # random stores end at CTX_RANDOM
EDGES = (0, 1, 2, 7, 31, 32, 63, 64, 0x80, 255, 4095, 4096, 0x7FFF, 0x8000, 0xFFFF, 1 << 31)
EDGES += ((1 << 31) - 1, M32, 1 << 32, 1 << 63, (1 << 63) - 1, M64, M64 - 1, 0x0123456789ABCDEF)

Action = Callable[["Body"], None]


class Function(NamedTuple):
    """A local function: kinds of its arguments and of its result, and where it is called.

    A `quiet` one neither adds nor removes a map's entries, and does not sleep.
    """

    arguments: tuple[str, ...]
    result: str
    depth: int
    calls: list[int]
    quiet: bool = False
    callback: str = ""  # of "loop", or of for_each over the map of this name


class Shared(NamedTuple):
    """What all functions of one program have in common."""

    rng: random.Random
    writer: b.Writer
    base: int  # user address of the arena
    pages: int
    actions: tuple[Action, ...]
    weights: tuple[float, ...]
    functions: list[Function]
    pinned: set[int]  # slots that a shrinker must leave alone
    maps: tuple[MapDefinition, ...] = ()
    kind: str = "syscall"


class Body:
    """Writes one function; `left` is how many instructions the current block may still take."""

    def __init__(self, shared: Shared, function: Function, stack_bytes: int) -> None:
        self.shared, self.function = shared, function
        self.rng, self.writer = shared.rng, shared.writer
        self.state = State(stack_bytes)
        for register, kind in enumerate(function.arguments, start=1):
            self.state.kinds[register] = kind
        self.state.kinds[10] = FRAME
        self.reserved = {10}  # registers that actions leave alone
        self.loop_head: State | None = None  # inside a loop: what its first instruction relies on
        self.quiet, self.holding = function.quiet, False  # holding: something to be given back
        self.ctx: int | None = None
        self.left = self.nesting = 0
        if CTX in function.arguments:
            self.keep_ctx()

    def keep_ctx(self) -> None:
        """Keep the context pointer, which comes in r1, in r6."""
        self.writer.alu(b.MOV, 6, src=1)
        self.ctx, self.state.kinds[6], self.state.kinds[1] = 6, CTX, None
        self.reserved.add(6)

    def block(self, size: int) -> None:
        """Random actions until about `size` instructions are written."""
        outer, self.left = self.left, size
        while self.left > 0:
            start = len(self.writer)
            self.rng.choices(self.shared.actions, self.shared.weights)[0](self)
            self.left -= max(1, len(self.writer) - start)
        self.left = outer

    def finish(self) -> None:
        """Leave the function with a result of the promised kind; main stores its digest first."""
        found = self.pick(self.function.result)
        if self.function.depth == 0:
            self.digest()
        elif found is None:
            self.remake(0, self.function.result)
        elif self.state.kinds[0] != self.function.result:
            self.writer.alu(b.MOV, 0, src=found)
        self.writer.emit(0x95)

    def digest(self) -> None:
        """Store r0, and a hash of all registers and stack slots, which is also the result."""
        kinds, state = self.state.kinds, self.state
        if kinds[0] is None:
            self.writer.alu(b.MOV, 0)
        self.writer.store(8, 6, CTX_DIGEST, 0)
        self.writer.alu(b.MOV, 0, src=0, bits=32)
        for register in range(1, 10):
            if kinds[register] in (SCALAR, ARENA):
                self.mix(register, kinds[register] == ARENA)
        for off in range(-state.stack_bytes, 0, 8):
            if state.readable(off, 8):
                self.writer.load(8, 1, 10, off)
                self.mix(1, off in state.spilled)
        self.writer.store(8, 6, CTX_DIGEST + 8, 0)

    def mix(self, register: int, arena: bool) -> None:
        """Hash one register into r0; an arena pointer, 32 bits, is made a scalar first."""
        if arena:
            self.writer.alu(b.MOV, register, src=register, bits=32)
        self.writer.alu(b.MUL, 0, imm=1000003)
        self.writer.alu(b.XOR, 0, src=register)

    # choices

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def value(self) -> int:
        """64 bits: an edge case, something small, or anything."""
        draw = self.rng.random()
        if draw < 0.4:
            return self.rng.choice(EDGES)
        return self.rng.randrange(64) if draw < 0.7 else self.rng.getrandbits(64)

    def immediate(self) -> int:
        """The same, as a signed 32-bit number."""
        value = self.value() & M32
        return value - (1 << 32) if value >> 31 else value

    def target(self, *other: int) -> int:
        """A register that may be overwritten, none of the others."""
        return self.rng.choice([r for r in range(10) if r not in self.reserved | set(other)])

    def pick(self, *kinds: str) -> int | None:
        """A register of one of the kinds, by default a scalar or an arena pointer."""
        wanted = kinds or (SCALAR, ARENA)
        found = [register for register, kind in enumerate(self.state.kinds) if kind in wanted]
        return self.rng.choice(found) if found else None

    def changeable(self, *kinds: str) -> int | None:
        """The same, and it may be changed in place."""
        wanted, kept = kinds or (SCALAR, ARENA), self.state.kinds
        found = [r for r in range(10) if kept[r] in wanted and r not in self.reserved]
        return self.rng.choice(found) if found else None

    def scalar(self) -> int:
        """A register with a scalar, made if there is none."""
        found = self.pick(SCALAR)
        return self.made(SCALAR) if found is None else found

    def pointer(self) -> int:
        """A register with an arena pointer; often a new one, as old ones have gone astray."""
        found = self.pick(ARENA)
        return self.made(ARENA) if found is None or self.chance(0.4) else found

    def made(self, kind: str) -> int:
        register = self.target()
        self.remake(register, kind)
        return register

    def remake(self, register: int, kind: str) -> None:
        """Put some value of a kind into a register."""
        if kind == ARENA:
            self.address(register)
            self.writer.cast(register, register, b.CAST_KERN)
        elif self.chance(0.5):
            bits = self.rng.choice((32, 64))
            self.writer.alu(b.MOV, register, imm=self.immediate(), bits=bits)
        else:
            self.writer.constant(register, self.value())
        self.state.kinds[register] = kind

    def address(self, register: int) -> None:
        """Put an address in or near the arena into a register, in a form a program may hold."""
        size, draw = self.shared.pages * PAGE, self.rng.random()
        if draw < 0.06:
            near = self.rng.choice((0, 8, 0xFFFFF000, 0xFFFFFFFC, 0xFFFFFFFF, M32 - 7))
            self.writer.constant(register, near)
        elif draw < 0.3:
            self.writer.arena_value(register, self.inside(size))
        else:
            address = self.shared.base + self.inside(size)
            upper = self.rng.choice((address >> 32, address >> 32, 0, 0xDEADBEEF, M32))
            self.writer.constant(register, upper << 32 | address & M32)

    def inside(self, size: int) -> int:
        """An offset into the arena: near the start or the end of a page, or anywhere in it."""
        page, draw = self.rng.randrange(size // PAGE) * PAGE, self.rng.random()
        if draw < 0.4:
            return page + self.rng.randrange(16) * 8
        return page + (PAGE - self.rng.randrange(1, 9) if draw < 0.6 else self.rng.randrange(PAGE))
