"""A slow, obviously correct BPF machine with an arena: the oracle that engines are compared with.

Nothing here comes from `workbench`: instructions are decoded from the wire bytes as RFC 9669 lays
them out, arena behaviour follows Linux 6.18. Numbers are Python integers masked to 64 bits. Whether
a register holds an arena pointer is not proven beforehand but carried along as a tag.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from oracles.naive_arena import EINVAL, NaiveArena
from oracles.naive_numbers import (
    ALU32,
    ALU64,
    CMPXCHG,
    FETCH,
    JMP32,
    JMP64,
    LOAD_ACQUIRE,
    M32,
    M64,
    MODE_ATOMIC,
    MODE_MEM,
    MODE_MEMSX,
    SIZES,
    ST,
    STORE_RELEASE,
    STX,
    Instruction,
    arithmetic,
    byte_order,
    decode,
    form,
    holds,
    modified,
    signed,
)

STACK_TOP = 0xFFFFC90000001000  # r10 of frame 0; every deeper frame is 512 bytes below
FRAME_BYTES, MAX_FRAMES = 512, 8
CONTEXT = 0xFFFF888000000000
RAW_MEMORY = 0xFFFF888100000000
MAP_HANDLE = 0xFFFF888300000000  # what `r1 = arena ll` yields: opaque to the program
CODE = 0xFFFFFFFFC0000000  # addresses of functions: this plus 8 bytes a slot
MAY_GOTO_LIMIT = 8 << 20
LD, LDX = 0, 1  # instruction classes


class Reference(Protocol):
    """What the instruction at `pc` names: `kind` is "arena", "map" or "kfunc"."""

    @property
    def pc(self) -> int: ...

    @property
    def name(self) -> str: ...


class Frame(NamedTuple):
    """A caller: where it goes on, its registers and their tags."""

    pc: int
    regs: list[int]
    tags: list[bool]


class Outcome(NamedTuple):
    """How a run ended: `stop` is "exit", "fuel" or "fault"; r0 is the full 64-bit register."""

    stop: str
    r0: int
    steps: int
    ctx: bytes
    pc: int
    reason: str
    executed: frozenset[tuple[int, ...]]  # forms (opcode, off or imm selector) that were executed


class Fault(Exception):
    """The program did something that the machine refuses."""


class Machine:
    """One run of one program.

    `verified` runs it as Linux does after its verifier: an arena pointer (a tag that cast_kern sets
    and arithmetic, moves and aligned 8-byte spills keep) makes an ALU64 instruction 32-bit and its
    accesses arena accesses. Otherwise nothing is rewritten, and an access is one to the arena if
    its base is below 2^32. With `memory` the program is a raw one: r1 = memory, r2 = length.
    """

    def __init__(
        self,
        bytecode: bytes,
        references: Sequence[Reference],
        arena: NaiveArena,
        ctx: bytes = b"",
        memory: bytes | None = None,
        verified: bool = True,
    ) -> None:
        self.code = decode(bytecode)
        self.names = {reference.pc: reference.name for reference in references}
        self.arena, self.verified = arena, verified
        self.stack = bytearray(MAX_FRAMES * FRAME_BYTES)
        self.ctx = bytearray(ctx if memory is None else memory)
        start = CONTEXT if memory is None else RAW_MEMORY
        self.regions = [(STACK_TOP - len(self.stack), self.stack), (start, self.ctx)]
        self.regs, self.tags = [0] * 11, [False] * 11
        self.regs[1], self.regs[10] = start if self.ctx else 0, STACK_TOP
        self.regs[2] = 0 if memory is None else len(memory)
        self.spills: set[int] = set()  # addresses of stack slots that hold an arena pointer
        self.frames: list[Frame] = []
        self.loops = [MAY_GOTO_LIMIT] * MAX_FRAMES
        self.pc = self.steps = 0
        self.executed: set[tuple[int, ...]] = set()

    def run(self, fuel: int = 1_000_000) -> Outcome:
        """Execute until exit, fault, or `fuel` instructions."""
        stop, reason = "fuel", ""
        try:
            while stop == "fuel" and self.steps < fuel:
                stop = "fuel" if self.step() else "exit"
        except Fault as fault:
            stop, reason = "fault", str(fault)
        forms = frozenset(self.executed)
        return Outcome(stop, self.regs[0], self.steps, bytes(self.ctx), self.pc, reason, forms)

    def step(self) -> bool:
        """Execute the instruction at pc; False when the program has exited."""
        self.steps += 1
        if not 0 <= self.pc < len(self.code) or self.code[self.pc].code == 0:
            raise Fault(f"no instruction at {self.pc}")
        instruction = self.code[self.pc]
        self.executed.add(form(instruction))
        family = instruction.code & 7
        if family in (JMP64, JMP32):
            return self.jump(instruction)
        if family in (ALU32, ALU64):
            self.alu(instruction)
        elif family in (ST, STX):
            self.store(instruction)
        elif family == LDX:
            self.load(instruction)
        else:
            self.load_constant(instruction)
        self.pc += 1
        return True

    # registers

    def put(self, register: int, value: int, arena: bool = False) -> None:
        if register == 10 and self.verified:
            raise Fault("r10 is read only")
        self.regs[register], self.tags[register] = value & M64, arena and self.verified

    def alu(self, instruction: Instruction) -> None:
        code, dst, src, off, imm = instruction
        bits, operation, by_register = 64 if code & 7 == ALU64 else 32, code & 0xF0, bool(code & 8)
        if operation == 0xD0:
            self.put(dst, byte_order(code, self.regs[dst], imm))
        elif operation == 0x80:
            self.put(dst, -self.regs[dst] & ((1 << bits) - 1))
        elif code == 0xBF and off == 1:
            self.cast(dst, src, imm)
        elif operation == 0xB0:
            kept = code == 0xBF and off == 0 and self.tags[src]
            operand = self.regs[src] if by_register else imm
            self.put(dst, arithmetic(0xB0, 0, operand & M64, bits, off), kept)
        else:
            arena = self.tags[dst] or (by_register and self.tags[src])
            operand = self.regs[src] if by_register else imm
            self.put(
                dst,
                arithmetic(operation, self.regs[dst], operand, 32 if arena else bits, off),
                arena,
            )

    def cast(self, dst: int, src: int, imm: int) -> None:
        low = self.regs[src] & M32
        if imm == 1:
            self.put(dst, low, arena=True)
        elif imm == 0x10000:
            self.put(
                dst, self.arena.user_address(low) if low and not self.arena.no_user_conv else low
            )
        else:
            raise Fault("a cast can only convert between address spaces 1 and 0")

    def load_constant(self, instruction: Instruction) -> None:
        if instruction.code != 0x18:
            raise Fault(f"unknown instruction {instruction.code:#x}")
        high = self.code[self.pc + 1].imm
        values = {0: (high << 32) | (instruction.imm & M32), 1: MAP_HANDLE, 5: MAP_HANDLE}
        values |= dict.fromkeys((2, 6), self.arena.user_start + (high & M32))
        values[4] = CODE + 8 * (self.pc + 1 + instruction.imm)
        self.put(instruction.dst, values[instruction.src])
        self.pc += 1

    # memory

    def place(self, register: int, off: int, size: int) -> tuple[bytearray, int] | None:
        """Buffer and position of an access to stack, context or memory; None for the arena."""
        base = self.regs[register]
        if self.tags[register] or (not self.verified and base <= M32):
            return None
        for start, content in self.regions:
            at = ((base + off) & M64) - start
            if 0 <= at <= len(content) - size:
                return content, at
        raise Fault(f"no memory at {(base + off) & M64:#x}")

    def read(self, register: int, off: int, size: int) -> int | None:
        """Content of memory, zero-extended; None if it touches an absent arena page."""
        place = self.place(register, off, size)
        if place is None:
            return self.arena.read((self.regs[register] & M32) + off, size)
        content, at = place
        return int.from_bytes(content[at : at + size], "little")

    def write(self, register: int, off: int, size: int, value: int) -> None:
        """Change memory; a write that touches an absent arena page is dropped as a whole."""
        place = self.place(register, off, size)
        if place is None:
            self.arena.write((self.regs[register] & M32) + off, size, value)
            return
        content, at = place
        content[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        address = self.regs[register] + off
        self.spills -= {slot for slot in self.spills if slot - size < address < slot + 8}

    def load(self, instruction: Instruction) -> None:
        code, dst, src, off, _ = instruction
        size, mode = SIZES[code & 0x18], code & 0xE0
        if mode not in (MODE_MEM, MODE_MEMSX) or (mode == MODE_MEMSX and size == 8):
            raise Fault(f"unknown instruction {code:#x}")
        spilled = size == 8 and not self.tags[src] and self.regs[src] + off in self.spills
        value = self.read(src, off, size) or 0
        self.put(dst, signed(value, 8 * size) if mode == MODE_MEMSX else value, spilled)

    def store(self, instruction: Instruction) -> None:
        code, dst, src, off, imm = instruction
        size, mode = SIZES[code & 0x18], code & 0xE0
        if mode == MODE_ATOMIC and code & 7 == STX:
            self.atomic(instruction, size)
        elif mode != MODE_MEM:
            raise Fault(f"unknown instruction {code:#x}")
        elif code & 7 == ST:
            self.write(dst, off, size, imm)
        else:
            self.write(dst, off, size, self.regs[src])
            at = self.regs[dst] + off
            if size == 8 and self.tags[src] and STACK_TOP - len(self.stack) <= at < STACK_TOP:
                self.spills.add(at)

    def atomic(self, instruction: Instruction, size: int) -> None:
        _, dst, src, off, operation = instruction
        if operation == LOAD_ACQUIRE:
            self.result(dst, self.read(src, off, size))
        elif operation == STORE_RELEASE:
            self.write(dst, off, size, self.regs[src])
        elif operation == CMPXCHG:
            self.compare_exchange(dst, src, off, size)
        elif size < 4 or operation & ~FETCH not in (0x00, 0x40, 0x50, 0xA0, 0xE0):
            raise Fault(f"unknown atomic operation {operation:#x}")
        else:
            operand, old = self.regs[src], self.read(dst, off, size)
            if old is not None:
                self.write(dst, off, size, modified(operation, old, operand, 8 * size))
            if operation & FETCH:
                self.result(src, old)

    def result(self, register: int, value: int | None) -> None:
        """Without a value the register stays: on Linux 6.18, after touching an absent page."""
        self.put(register, self.regs[register] if value is None else value)

    def compare_exchange(self, dst: int, src: int, off: int, size: int) -> None:
        """r0 becomes the old content; in an arena, r0 stays as it is if it was as expected.

        The difference is the upper half of r0. After a 32-bit exchange the verifier inserts the
        `w0 = w0` that x86 needs, but not after one in an arena.
        """
        mask = (1 << 8 * size) - 1
        old, stale = self.read(dst, off, size), self.place(dst, off, size) is None
        if old is not None and old == self.regs[0] & mask:
            self.write(dst, off, size, self.regs[src])
            old = None if stale else old
        self.result(0, old)

    # control

    def jump(self, instruction: Instruction) -> bool:
        code, dst, src, off, imm = instruction
        operation, bits = code & 0xF0, 64 if code & 7 == JMP64 else 32
        if operation == 0x80:
            return self.call(instruction)
        if operation == 0x90:
            return self.leave()
        if operation == 0x00:
            taken, off = True, off if bits == 64 else imm
        elif operation == 0xE0:
            self.loops[len(self.frames)] -= 1
            taken = self.loops[len(self.frames)] < 0
        else:
            taken = holds(operation, self.regs[dst], self.regs[src] if code & 8 else imm, bits)
        self.pc += 1 + (off if taken else 0)
        return True

    def call(self, instruction: Instruction) -> bool:
        if instruction.code == 0x8D:
            slot, odd = divmod(self.regs[instruction.dst] - CODE, 8)
            if odd or not 0 <= slot < len(self.code):
                raise Fault(f"no function at {self.regs[instruction.dst]:#x}")
            self.enter(slot)
        elif instruction.src == 1:
            self.enter(self.pc + 1 + instruction.imm)
        elif instruction.src == 2 and self.pc in self.names:
            self.result(0, self.call_kernel(self.names[self.pc]))
            self.pc += 1
        else:
            raise Fault(f"unknown function {instruction.imm}")
        return True

    def call_kernel(self, name: str) -> int | None:
        """Linux accepts another kind of map than an arena as r1, and then does nothing."""
        if self.regs[1] == MAP_HANDLE:
            return self.arena.call(name, self.regs[2:6])
        failures = {"bpf_arena_alloc_pages": 0, "bpf_arena_reserve_pages": -EINVAL & M32}
        return failures.get(name)

    def enter(self, target: int) -> None:
        if len(self.frames) + 1 == MAX_FRAMES:
            raise Fault("more than 8 frames")
        self.frames.append(Frame(self.pc + 1, self.regs[:], self.tags[:]))
        self.regs[10] = STACK_TOP - FRAME_BYTES * len(self.frames)
        self.loops[len(self.frames)] = MAY_GOTO_LIMIT
        self.pc = target

    def leave(self) -> bool:
        """Return r0 to r5 to the caller, whose others come back; False without a caller."""
        if not self.frames:
            return False
        self.pc, regs, tags = self.frames.pop()
        self.regs[6:], self.tags[6:] = regs[6:], tags[6:]
        return True
