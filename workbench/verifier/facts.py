"""What must hold before an instruction runs, derived from the instruction alone.

`check` decides whether a fact holds in a state, `transfer` says what the instruction does then.
The order of an instruction's facts is the order in which Linux looks.
"""

from collections.abc import Mapping
from typing import NamedTuple

from workbench import isa
from workbench.functions import HELPERS, KFUNCS
from workbench.isa import FRAME_POINTER, Op


class Instruction(NamedTuple):
    """A decoded instruction with Python integers; the fields of isa.INSTRUCTION."""

    op: int
    dst: int
    src: int
    mark: int
    off: int
    imm: int


class Never(NamedTuple):
    """The instruction is refused wherever it is reached."""

    reason: str


class Readable(NamedTuple):
    """The register was written on every path."""

    register: int


class Arithmetic(NamedTuple):
    """The operand kinds allow `dst op= src`."""

    op: int
    dst: int
    src: int
    imm: int


class Access(NamedTuple):
    """`size` bytes at `regs[base] + off` may be touched; `stored` is a register or -1.

    `result` is the register that an atomic operation fetches into, or -1.
    """

    base: int
    off: int
    size: int
    write: bool
    atomic: bool = False
    in_arena: bool = True
    stored: int = -1
    fills: bool = False
    result: int = -1


class Argument(NamedTuple):
    """The register suits a parameter of kind "map", "scalar" or "arena_or_scalar"."""

    register: int
    kind: str


class Packet(NamedTuple):
    """r6 holds the packet's context."""


class Shallow(NamedTuple):
    """One more frame still fits."""


class Returnable(NamedTuple):
    """r0 may be handed to the caller."""


Fact = Never | Readable | Arithmetic | Access | Argument | Packet | Shallow | Returnable


KEPT_IN_RAW = (Never, Readable, Shallow, Returnable)
"""Facts that type `raw` proves as well; its engine checks the others as the program runs."""


class Setting(NamedTuple):
    """What holds for the whole program."""

    type: str
    raw: bool
    arena: bool
    names: Mapping[int, tuple[str, str]]  # slot -> kind and name of what it refers to


ALU_BINARY = {op for op in Op if op <= Op.ARSH64 or Op.ADD32 <= op <= Op.ARSH32}
SHIFTS = {Op.LSH64: 64, Op.RSH64: 64, Op.ARSH64: 64, Op.LSH32: 32, Op.RSH32: 32, Op.ARSH32: 32}
DIVISIONS = {Op.DIV64, Op.MOD64, Op.SDIV64, Op.SMOD64, Op.DIV32, Op.MOD32, Op.SDIV32, Op.SMOD32}
MOVES = {
    Op.MOV64, Op.MOV32, Op.MOVSX8_64, Op.MOVSX16_64, Op.MOVSX32_64, Op.MOVSX8_32, Op.MOVSX16_32,
}  # fmt: skip
CASTS = {Op.CAST_KERN, Op.CAST_USER}
UNARY = {op for op in Op if Op.NEG64 <= op <= Op.NEG32 or Op.LE16 <= op <= Op.BSWAP64}
JUMPS = {op for op in Op if Op.JEQ64 <= op <= Op.JSLE32}
PACKET_LOADS = {op for op in Op if Op.LD_ABS8 <= op <= Op.LD_IND32}
PLAIN = {op for op in Op if op < isa.FIRST_ARENA_OP}
LOADS = {op for op in PLAIN if op.name.startswith(("LDX", "LOAD_ACQUIRE"))}
STORES = {op for op in PLAIN if op.name.startswith(("STX", "STORE_RELEASE"))}
UPDATES = {op for op in Op if Op.ATOMIC_ADD32 <= op <= Op.CMPXCHG64}
FETCHES = {op for op in UPDATES if not op.name.startswith("ATOMIC")}
BYTES = {op: int("".join(filter(str.isdigit, op.name))) // 8 for op in LOADS | STORES | UPDATES}

NO_ASSOCIATION = "addr_space_cast insn can only be used in a program that has an associated arena"
NO_RESULT = ("bpf_arena_free_pages",)
"""Functions of C type void: r0 holds nothing after them."""
PACKET_TYPES = ("socket_filter", "tc")
"""Where LD_ABS and LD_IND exist."""


def facts_of(instruction: Instruction, pc: int, setting: Setting) -> tuple[Fact, ...]:
    """List what must hold before the instruction at slot `pc` runs."""
    facts = _FACTS[instruction.op](instruction, pc, setting)
    if setting.raw:
        return tuple(fact for fact in facts if isinstance(fact, KEPT_IN_RAW))
    return tuple(facts)


def _written(register: int) -> list[Fact]:
    return [Never("frame pointer is read only")] if register == FRAME_POINTER else []


def _read(*registers: int) -> list[Fact]:
    return [Readable(register) for register in registers if register != isa.ZERO]


def _binary(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if i.src == isa.ZERO and not setting.raw:
        if i.op in DIVISIONS and i.imm == 0:
            return [Never("div by zero")]
        if i.op in SHIFTS and not 0 <= i.imm < SHIFTS[Op(i.op)]:
            return [Never(f"invalid shift {i.imm}")]
    return [*_read(i.src, i.dst), *_written(i.dst), Arithmetic(i.op, i.dst, i.src, i.imm)]


def _unary(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [*_read(i.dst), *_written(i.dst)]


def _move(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [*_read(i.src), *_written(i.dst)]


def _cast(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if not setting.arena and not setting.raw:
        return [Never(NO_ASSOCIATION)]
    return _move(i, pc, setting)


def _jump(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return _read(i.src, i.dst)


def _nothing(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return []


def _load(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    acquire = i.op >= Op.LOAD_ACQUIRE8
    access = Access(i.src, i.off, BYTES[Op(i.op)], False, atomic=acquire, fills=True)
    return [*_read(i.src), *_written(i.dst), access]


def _store(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    release = i.op >= Op.STORE_RELEASE8
    stored = -1 if i.src == isa.ZERO else i.src
    access = Access(i.dst, i.off, BYTES[Op(i.op)], True, atomic=release, stored=stored)
    return [*_read(i.src, i.dst), access]


def _update(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    """Atomic read-modify-write; x86 has no single instruction for fetching and, or, xor."""
    compares = i.op in (Op.CMPXCHG32, Op.CMPXCHG64)
    fetches = i.op in FETCHES
    single = not Op(i.op).name.startswith(("FETCH_AND", "FETCH_OR", "FETCH_XOR"))
    result = (0 if compares else i.src) if fetches else -1
    access = Access(i.dst, i.off, BYTES[Op(i.op)], True, True, single, -1, fetches, result)
    return [*_read(i.src, i.dst, *((0,) if compares else ())), *_written(result), access]


def _helper(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    row = HELPERS.get(i.imm)
    if row is None:
        number = f"invalid func unknown#{i.imm & 0xFFFFFFFF}"
        return [Never(f"{number}: the workbench has no such helper")]
    return _arguments(row.arguments)


def _kfunc(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    _, name = setting.names.get(pc, ("", ""))
    row = KFUNCS.get(name)
    if row is None:
        return [Never(unresolved(i, pc, setting))]
    if row.sleepable and setting.type not in ("syscall", "raw"):
        return [Never(f"program must be sleepable to call sleepable kfunc {name}")]
    return _arguments(row.arguments)


def _arguments(kinds: tuple[str, ...]) -> list[Fact]:
    found: list[Fact] = []
    for register, kind in enumerate(kinds, 1):
        found += [Readable(register)] if kind == "arena_or_scalar" else []
        found.append(Argument(register, kind))
    return found


def _local(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [Shallow()]


def _callx(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if not setting.raw:
        return [Never("unknown opcode 8d")]
    return [*_read(i.dst), Shallow()]


def _exit(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [Returnable()]


def _wide(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if i.op == Op.LD_FUNC and not setting.raw:
        return [Never("missing btf func_info")]
    return _written(i.dst)


def unresolved(i: Instruction, pc: int, setting: Setting) -> str:
    """Say why what an instruction refers to cannot be found, or nothing; Linux asks this first."""
    kind, name = setting.names.get(pc, ("", ""))
    number = (i.imm & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    if i.op == Op.CALL_KFUNC and name not in KFUNCS:
        return f"calling kernel function {name or number} is not allowed"
    if i.op == Op.CALL_KFUNC and i.off:
        return "kfunc offset > 0 without fd_array is invalid"
    if i.op == Op.LD_BTF_ID:
        return "kernel variables (btf_id) are not supported by the workbench"
    if i.op in (Op.LD_MAP_FD, Op.LD_MAP_VALUE) and not kind:
        return f"fd {number} is not pointing to valid bpf_map"
    if i.op in (Op.LD_MAP_IDX, Op.LD_MAP_IDX_VALUE) and not kind and number:
        return "fd_idx without fd_array is invalid"
    if i.op in (Op.LD_MAP_VALUE, Op.LD_MAP_IDX_VALUE):
        return _bad_map_value(i, kind)
    return ""


def _bad_map_value(i: Instruction, kind: str) -> str:
    offset = i.imm >> 32 & 0xFFFFFFFF
    if kind == "map":
        return "values of maps other than the arena are not supported by the workbench"
    return f"direct value offset of {offset} is not allowed" if offset >= 1 << 29 else ""


def _packet(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if setting.type not in PACKET_TYPES:
        return [Never("BPF_LD_[ABS|IND] instructions not allowed for this program type")]
    indirect = i.op >= Op.LD_IND8
    return [Readable(6), Packet(), *(_read(i.src) if indirect else ())]


def _invalid(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [Never("unknown opcode 00")]


_FACTS = {int(op): _invalid for op in Op}
for _ops, _function in (
    (ALU_BINARY, _binary),
    (UNARY, _unary),
    (MOVES, _move),
    (CASTS, _cast),
    (JUMPS, _jump),
    ((Op.JA, Op.JA32, Op.MAY_GOTO), _nothing),
    (LOADS, _load),
    (STORES, _store),
    (UPDATES, _update),
    (isa.WIDE, _wide),
    (PACKET_LOADS, _packet),
    ((Op.CALL_HELPER,), _helper),
    ((Op.CALL_KFUNC,), _kfunc),
    ((Op.CALL_LOCAL,), _local),
    ((Op.CALLX,), _callx),
    ((Op.EXIT,), _exit),
):
    _FACTS |= {int(op): _function for op in _ops}
