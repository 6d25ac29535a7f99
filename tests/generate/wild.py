"""Programs without manners: every helper and kfunc with arguments of all sorts, right and wrong.

What `generate` and `mixed` write is what Linux accepts; these programs lie. They forge pointers and
map handles, overwrite their context, call functions of other types of program, on maps of other
kinds, and go on with whatever comes back. `wild(seed)` is a pure function.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from support import wire as b
from support.wire import Reference, Writer

from workbench.bpf import addresses
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.functions import FUNCTIONS, Function
from workbench.bpf.map_types import MAPS, MapFlag, types_for
from workbench.bpf.program_types import PROGRAM_TYPES

PAGE = 4096
BASE = 0x100010000000
CTX, HELD, FOUND, NUMBER = 6, 7, 8, 9  # registers: context, a pointer, the last result, anything
SIZES = (14, 15, 60, 64, 512, 1500, 3520)  # of packets, from the shortest to the longest
OPERATIONS = (b.ADD, b.SUB, b.MUL, b.OR, b.AND, b.XOR, b.LSH, b.RSH, b.MOV, b.ARSH)
TEXTS = (b"%d %s %x\0", b"%s\0", b"%ps%pI4\0", b"%", b"%99999s\0", b"a" * 8, b"%pi6%pks\0")


class Wild(NamedTuple):
    """A program and what it runs on; `held` says which map holds which: the program or a map."""

    seed: int
    type: str
    verify: bool
    bytecode: bytes
    references: tuple[Reference, ...]
    maps: tuple[MapDefinition, ...]
    ctx: bytes
    pages: int

    def __repr__(self) -> str:
        return f"wild({self.seed}): {self.type}, {len(self.bytecode) // 8} slots"


def wild(seed: int) -> Wild:
    """A program of 20 to 200 slots, its maps and its context."""
    rng = random.Random(seed)
    type = rng.choice((*PROGRAM_TYPES, "raw", "xdp", "tc"))
    maps = tuple(some_map(rng, f"m{n}") for n in range(rng.choice((0, 1, 2, 3, 4))))
    body = Body(rng, type, maps, rng.choice((0, 0, 1, 8, 64)))
    body.write()
    size = rng.choice(SIZES if PROGRAM_TYPES[type].takes_packet else (0, 1, 8, *SIZES, 65535))
    writer = body.writer
    verify = rng.random() < (0.5 if type == "raw" else 0.05)
    return Wild(
        seed, type, verify, writer.bytes(), tuple(writer.references), maps,
        rng.randbytes(size), body.pages,
    )  # fmt: skip


def some_map(rng: random.Random, name: str) -> MapDefinition:
    """A map that Linux makes, of any kind, small or at the ends of what sizes there are."""
    row = rng.choice([row for row in MAPS.values() if row.kind])
    value = 4 if row.holder else rng.choice((1, 3, 4, 8, 12, 16, 16, 64, 4096, 32768))
    entries = rng.choice((1, 2, 3, 7, 64, 5000))
    key = {"array": 4, "hash": rng.choice((1, 4, 8, 13, 64, 512)), "trie": rng.choice((5, 8, 260))}
    flags = rng.choice((0, 0, 0, MapFlag.RDONLY_PROG, MapFlag.WRONLY_PROG)) & row.flags
    flags |= MapFlag.NO_PREALLOC if row.kind == "trie" else 0
    flags |= MapFlag.ZERO_SEED & row.flags
    if row.kind == "ring":
        return MapDefinition(name, row.name, 0, 0, PAGE << rng.choice((0, 0, 1, 8)))
    inner = MapDefinition("inner", "array", 4, 8, 2) if row.name.endswith("_of_maps") else None
    lockable = row.name in ("array", "hash") and value >= 8 and not flags & 0x180
    lock = rng.choice((-1, 0, value - 4 & ~3)) if lockable else -1
    extra = rng.randrange(16) if row.kind == "bloom" else 0
    return MapDefinition(
        name, row.name, key.get(row.kind, 0), value, entries, flags, extra, inner, lock=lock
    )


class Body:
    """Writes one program: actions, an end, then the functions that serve as callbacks."""

    def __init__(
        self, rng: random.Random, type: str, maps: tuple[MapDefinition, ...], pages: int
    ) -> None:
        self.rng, self.maps, self.pages = rng, maps, pages
        self.writer = Writer()
        self.care = rng.choice((1, 0.99, 0.95, 0.5))  # how often something fits
        self.fitting = [row for row in FUNCTIONS if row.type_bits & PROGRAM_TYPES[type].bit]
        self.calls: list[int] = []  # slots that want the address of a function

    def write(self) -> None:
        """The whole program; it ends well if nothing stops it before."""
        self.writer.alu(b.MOV, CTX, src=1)
        self.prepare()
        self.some(2, 9)
        self.writer.emit(0x95)
        starts = []
        for _ in range(2):
            starts.append(len(self.writer))
            self.some(0, 3)
            self.writer.alu(b.MOV, 0, imm=self.rng.choice((0, 0, 0, 1)))
            self.writer.emit(0x95)
        for call in self.calls:
            self.writer.land(call, self.rng.choice(starts))

    def prepare(self) -> None:
        """Something on the stack: a key, a text, numbers."""
        text = self.rng.choice(TEXTS).ljust(16, b"\x01")[:16]
        for at in (-16, -8):
            self.writer.constant(0, int.from_bytes(text[at + 16 : (at + 24) or None], "little"))
            self.writer.store(8, 10, at, 0)
        for at in (-24, -32, -40):
            self.writer.store_constant(8, 10, at, self.rng.choice((0, 1, 2, 8, -1)))
        for register in (HELD, FOUND, NUMBER):
            self.anything(register)

    def some(self, least: int, most: int) -> None:
        """A few actions."""
        for _ in range(self.rng.randint(least, most)):
            action = self.rng.choices(ACTIONS, WEIGHTS)[0]
            action(self)

    # values

    def anything(self, register: int) -> None:
        """A value of any sort."""
        self.rng.choice(VALUES)(self, register)

    def careful(self) -> bool:
        """Whether what comes next fits."""
        return self.rng.random() < self.care

    def number(self, register: int) -> None:
        """A number, mostly one at an edge."""
        edge = 1 << self.rng.choice((0, 1, 2, 3, 4, 6, 8, 12, 13, 16, 20, 30, 31, 32, 33, 62, 63))
        value = self.rng.choice((0, 1, -1, edge, edge - 1, -edge, self.rng.getrandbits(64)))
        self.writer.constant(register, value & (1 << 64) - 1)

    def small(self, register: int) -> None:
        """A size or an offset that may fit."""
        sizes: tuple[int, ...] = (24, 32, 40, 64, 96, 512, 4096, -1, -8, -14)
        if self.careful():
            sizes = (0, 1, 4, 7, 8, 12, 14, 16)
        self.writer.alu(b.MOV, register, imm=self.rng.choice(sizes))

    def stack(self, register: int) -> None:
        """A place on the stack, mostly inside."""
        self.writer.alu(b.MOV, register, src=10)
        places: tuple[int, ...] = (-64, -512, -1, 0, 8, -4096, 1 << 20)
        if self.careful():
            places = (-16, -24, -32, -40)
        self.writer.alu(b.ADD, register, imm=self.rng.choice(places))

    def context(self, register: int) -> None:
        """The context, or a place beside its start."""
        self.writer.alu(b.MOV, register, src=CTX)
        if not self.careful():
            self.writer.alu(b.ADD, register, imm=self.rng.choice((8, 16, -8, 60, 192)))

    def map(self, register: int) -> None:
        """A map that there is, or a handle that looks like one's."""
        if self.maps and self.careful():
            self.writer.map(register, self.rng.choice(self.maps).name)
        else:
            handle = addresses.map_handle(self.rng.randrange(6)) + self.rng.choice((0, 0, 1, -8))
            self.writer.constant(register, handle)

    def place(self, register: int) -> None:
        """Where something of the machine lies: forged."""
        number = self.rng.randrange(1, 5)
        start = self.rng.choice((
            addresses.STACK_START, addresses.frame_pointer(0), addresses.frame_pointer(7),
            addresses.CTX_START, addresses.MEMORY_START, addresses.PACKET_START,
            addresses.PACKET_START + 256, addresses.map_values(number), addresses.map_keys(number),
            addresses.CODE_START, BASE, BASE & 0xFFFFFFFF, 0x7F0000000000, 0,
        ))  # fmt: skip
        near = self.rng.choice((0, 0, 8, 16, -8, 1, 64, 256, 4095, 4096, 1 << 33, 8 * 30))
        self.writer.constant(register, start + near & (1 << 64) - 1)

    def found(self, register: int) -> None:
        """What a call gave, or one before it."""
        self.writer.alu(b.MOV, register, src=self.rng.choice((HELD, FOUND, NUMBER)))

    def arena(self, register: int) -> None:
        """The arena's map, or an address in it."""
        if not self.pages:
            self.number(register)
        elif self.rng.random() < 0.5:
            self.writer.arena_map(register)
        else:
            self.writer.arena_value(register, self.rng.randrange(0, self.pages * PAGE, 8))

    def function(self, register: int) -> None:
        """A function of the program."""
        self.calls.append(self.writer.function(register))

    # actions

    def call(self) -> None:
        """Any helper or kfunc; each argument fits, as far as one can see, or is anything."""
        row = self.rng.choice(self.fitting if self.careful() else FUNCTIONS)
        takers = [map for map in self.maps if map.type in types_for(row.name[4:])]
        if "map" in row.arguments and not takers and self.careful():
            return
        if self.rng.random() < 0.7:
            self.share(row)
        for register in range(1, 6):
            kind = row.arguments[register - 1] if register <= len(row.arguments) else ""
            fitting = FITTING.get(kind)
            if kind == "map" and takers and row.kind == "helper" and self.careful():
                self.writer.map(register, self.rng.choice(takers).name)
            elif fitting and self.careful():
                self.rng.choice(fitting)(self, register)
            elif kind or self.rng.random() < 0.3:
                self.anything(register)
        if row.kind == "helper":
            self.writer.helper(row.number)
        elif self.rng.random() < 0.9:
            self.writer.kfunc(row.name)
        else:
            self.writer.emit(0x85, 0, 2, 0, self.rng.choice((row.number, 0, -1, 99, 1 << 30)))
        self.keep()

    def share(self, row: Function) -> None:
        """Fresh content for what the arguments may point to."""
        content = self.rng.choice((0, 1, 2, 1 << 31, -1))
        self.writer.store_constant(8, 10, self.rng.choice((-24, -32, -40)), content)

    def keep(self) -> None:
        """Go on with a result in place of what there was."""
        register = self.rng.choice((HELD, FOUND, NUMBER, 0))
        if register:
            self.writer.alu(b.MOV, register, src=0)

    def load(self) -> None:
        """Read through something."""
        base, size = self.base(), self.rng.choice((1, 2, 4, 8))
        target = self.rng.choice((0, HELD, FOUND, NUMBER))
        self.writer.load(size, target, base, self.offset(base))

    def store(self) -> None:
        """Write through something: the context's pointers, a record's header, an iterator."""
        base, size = self.base(), self.rng.choice((1, 2, 4, 8))
        self.writer.store(
            size, base, self.offset(base), self.rng.choice((CTX, HELD, FOUND, NUMBER))
        )

    def atomic(self) -> None:
        """Change what something points to."""
        base, size = self.base(), self.rng.choice((4, 8))
        change = self.rng.choice((b.ADD, b.XOR | b.FETCH, b.XCHG, b.CMPXCHG))
        self.writer.atomic(size, change, base, self.offset(base), NUMBER)

    def base(self) -> int:
        """A register that may be a pointer."""
        if self.careful():
            return self.rng.choice((CTX, 10))
        return self.rng.choice((HELD, FOUND, NUMBER))

    def offset(self, base: int) -> int:
        """An offset of an instruction."""
        if base in (CTX, 10) and self.careful():
            return self.rng.choice((0, 4, 8, 76, 80) if base == CTX else (-8, -16, -24, -32, -40))
        return self.rng.choice((0, 0, 0, 4, 8, -8, -16, -24, -32, 16, 76, 80, -32768, 32767))

    def compute(self) -> None:
        """Arithmetic on what there is."""
        dst = self.rng.choice((HELD, FOUND, NUMBER))
        if self.rng.random() < 0.3:
            self.anything(dst)
        elif self.rng.random() < 0.5:
            self.writer.alu(self.rng.choice(OPERATIONS), dst, src=self.rng.choice((CTX, HELD, 10)))
        else:
            self.writer.alu(self.rng.choice(OPERATIONS), dst, imm=self.rng.choice((1, 8, -8, 63)))

    def call_local(self) -> None:
        """A function of the program, by its place or through a register."""
        if self.rng.random() < 0.5:
            self.calls.append(self.writer.emit(0x85, 0, 1))
        else:
            self.function(HELD)
            self.writer.emit(0x8D, HELD)
        self.keep()

    def call_register(self) -> None:
        """Whatever a register holds: a function's address, a helper's number, neither."""
        self.writer.alu(b.MOV, NUMBER, imm=self.rng.choice([row.number for row in FUNCTIONS]))
        if self.rng.random() < 0.5:
            self.anything(NUMBER)
        self.writer.emit(0x8D, NUMBER)
        self.keep()

    def packet(self) -> None:
        """LD_ABS or LD_IND."""
        code = self.rng.choice((0x20, 0x28, 0x30, 0x40, 0x48, 0x50))
        self.writer.emit(code, 0, NUMBER if code & 0x40 else 0, 0, self.rng.choice((0, 12, 63, -1)))


Action = Callable[[Body], None]
ACTIONS: tuple[Action, ...] = (
    Body.call, Body.load, Body.store, Body.atomic, Body.compute, Body.call_local,
    Body.call_register, Body.packet,
)  # fmt: skip
WEIGHTS = (20, 3, 4, 1, 3, 1, 1, 0.3)

Value = Callable[[Body, int], None]
VALUES: tuple[Value, ...] = (
    Body.number, Body.small, Body.stack, Body.context, Body.map, Body.place, Body.found,
    Body.arena, Body.function,
)  # fmt: skip
FITTING: dict[str, tuple[Value, ...]] = {
    "scalar": (Body.small, Body.number),
    "anything": (Body.small, Body.small, Body.number),
    "ctx": (Body.context,),
    "map": (Body.map, Body.map, Body.map, Body.arena),
    "map_key": (Body.stack,),
    "map_value": (Body.stack, Body.stack, Body.stack, Body.found),
    "map_value_uninit": (Body.stack, Body.stack, Body.stack, Body.found),
    "mem": (Body.stack, Body.stack, Body.stack, Body.found),
    "mem_or_null": (Body.stack,),
    "mem_uninit": (Body.stack, Body.stack, Body.stack, Body.found),
    "size": (Body.small,),
    "size_or_zero": (Body.small,),
    "record_size": (Body.small,),
    "record": (Body.found,),
    "callback": (Body.function,),
    "stack_or_null": (Body.stack,),
    "spin_lock": (Body.found, Body.stack, Body.stack),
    "text": (Body.stack, Body.stack, Body.place),
    "iterator_new": (Body.stack,),
    "iterator": (Body.stack,),
    "iterator_end": (Body.stack,),
    "irq_flag_new": (Body.stack,),
    "irq_flag": (Body.stack,),
}
