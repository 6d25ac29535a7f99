"""What must hold before an instruction runs, derived from the instruction alone.

`check` decides whether a fact holds on a path, `transfer` says what the instruction does then.
The order of an instruction's facts is the order in which Linux looks.
"""

from collections.abc import Mapping
from typing import NamedTuple

from workbench.bpf import isa
from workbench.bpf.declarations import MapDefinition, Subprogram
from workbench.bpf.functions import HELPERS, KFUNCS, Function, missing
from workbench.bpf.isa import FRAME_POINTER, Op
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.bpf.releases import DEFAULT, Release


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
    """The register was written."""

    register: int


class Arithmetic(NamedTuple):
    """The operand kinds allow `dst op= src`."""

    op: int
    dst: int
    src: int
    imm: int


class Access(NamedTuple):
    """`size` bytes at `regs[base] + off` may be touched.

    `stored` is the register whose value is written, or -1; `filled` the one that is loaded into,
    or -1; `atomic` accesses must be aligned wherever they go.
    """

    base: int
    off: int
    size: int
    write: bool
    atomic: bool = False
    stored: int = -1
    filled: int = -1


class Atomic(NamedTuple):
    """The pointer is of a kind that this atomic operation may use.

    `in_arena` is false for what x86 cannot do there in one instruction.
    """

    base: int
    write: bool
    in_arena: bool = True


class Kept(NamedTuple):
    """The register that is fetched into is not the one that the access needs.

    Linux 6.18 forgets the former before it looks at the latter.
    """

    base: int
    result: int
    off: int
    size: int


class Alike(NamedTuple):
    """Every path brings the same kind of pointer, where kinds need different code."""

    base: int


class MayCall(NamedTuple):
    """A program of this type, licence and context may call the function, here."""

    function: Function


class Argument(NamedTuple):
    """The register suits a parameter of the function; the kinds are those of bpf.functions."""

    register: int
    kind: str
    function: Function


class Fitting(NamedTuple):
    """The map in the register is of a type that the function works on."""

    register: int
    function: Function


class Section(NamedTuple):
    """The function may begin or end a section (locks, preemption, RCU, interrupts) here."""

    function: Function


class Released(NamedTuple):
    """Nothing is held that the instruction would lose; `what` names it in the reason.

    An instruction that `throws` leaves all functions at once.
    """

    what: str
    throws: bool = False


class Packet(NamedTuple):
    """r6 holds the packet's context."""


class Callee(NamedTuple):
    """The function at a slot may be called with these registers."""

    target: int


class Returnable(NamedTuple):
    """r0 may be handed to the caller."""


Fact = (
    Never | Readable | Arithmetic | Access | Atomic | Kept | Alike | MayCall | Argument | Fitting
    | Section | Released | Packet | Callee | Returnable
)  # fmt: skip


KEPT_IN_RAW = (Never, Readable, Callee, Returnable)
"""Facts that type `raw` proves as well; its engine checks the others as the program runs."""


class Setting(NamedTuple):
    """What holds for the whole program.

    `names` has for slots the kind and name of what they refer to, `maps` the maps by name,
    `functions` by first slot what is known of them, `release` the Linux that is followed.
    """

    type: str
    raw: bool
    arena: bool
    names: Mapping[int, tuple[str, str]]
    maps: Mapping[str, MapDefinition] = {}
    functions: Mapping[int, Subprogram] = {}
    gpl: bool = True
    release: Release = DEFAULT

    @property
    def sleepable(self) -> bool:
        """Whether the program may sleep."""
        return PROGRAM_TYPES[self.type].sleepable


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
EXIT = "BPF_EXIT instruction in main prog"
LAST_64 = int(Op.ARSH64)


def facts_of(instruction: Instruction, pc: int, setting: Setting) -> tuple[Fact, ...]:
    """List what must hold before the instruction at slot `pc` runs."""
    facts = _FACTS[instruction.op](instruction, pc, setting)
    if setting.raw:
        return tuple(fact for fact in facts if isinstance(fact, KEPT_IN_RAW))
    return tuple(facts)


def callee(i: Instruction, pc: int, setting: Setting) -> Function | None:
    """The row of the helper or kfunc that an instruction calls, if it is known."""
    if i.op == Op.CALL_HELPER:
        return HELPERS.get(i.imm)
    return KFUNCS.get(setting.names.get(pc, ("", ""))[1]) if i.op == Op.CALL_KFUNC else None


def _written(register: int) -> list[Fact]:
    return [Never("frame pointer is read only")] if register == FRAME_POINTER else []


def _read(*registers: int) -> list[Fact]:
    return [Readable(register) for register in registers if register != isa.ZERO]


def _binary(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    facts = _read(i.src, i.dst)
    if i.src == isa.ZERO and not setting.raw:
        if i.op in DIVISIONS and i.imm == 0:
            return [*facts, Never("div by zero")]
        if i.op in SHIFTS and not 0 <= i.imm < SHIFTS[Op(i.op)]:
            return [*facts, Never(f"invalid shift {i.imm}")]
    return [*facts, *_written(i.dst), Arithmetic(i.op, i.dst, i.src, i.imm)]


def _unary(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [*_read(i.dst), *_written(i.dst)]


def _move(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [*_read(i.src), *_written(i.dst)]


def _cast(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if not setting.arena and not setting.raw:
        return [Never(NO_ASSOCIATION)]
    return _move(i, pc, setting)


def _jump(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return _read(i.dst, i.src)


def _nothing(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return []


def _load(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    acquire = i.op >= Op.LOAD_ACQUIRE8
    access = Access(i.src, i.off, BYTES[Op(i.op)], False, acquire, filled=i.dst)
    facts = [*_read(i.src), *_written(i.dst), access, Alike(i.src)]
    return [*facts, Atomic(i.src, False)] if acquire else facts


def _store(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    release = i.op >= Op.STORE_RELEASE8
    stored = -1 if i.src == isa.ZERO else i.src
    access = Access(i.dst, i.off, BYTES[Op(i.op)], True, release, stored)
    facts = [*_read(i.src, i.dst), access, Alike(i.dst)]
    return [*facts, Atomic(i.dst, True)] if release else facts


def _update(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    """Atomic read-modify-write; x86 has no single instruction for fetching and, or, xor."""
    compares = i.op in (Op.CMPXCHG32, Op.CMPXCHG64)
    result = (0 if compares else i.src) if i.op in FETCHES else -1
    single = not Op(i.op).name.startswith(("FETCH_AND", "FETCH_OR", "FETCH_XOR"))
    size = BYTES[Op(i.op)]
    return [
        *_read(i.src, i.dst, *((0,) if compares else ())),
        Atomic(i.dst, True, single),
        *_written(result),
        Kept(i.dst, result, i.off, size),
        Access(i.dst, i.off, size, False, True, filled=result),
        Alike(i.dst),
        Access(i.dst, i.off, size, True, True),
    ]


def _helper(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    row = HELPERS.get(i.imm)
    if row is None:
        return [Never(f"invalid func unknown#{i.imm & 0xFFFFFFFF}: {missing(i.imm)}")]
    return _call(row)


def _kfunc(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    row = callee(i, pc, setting)
    return [Never(unresolved(i, pc, setting))] if row is None else _call(row)


def _call(row: Function) -> list[Fact]:
    arguments = [Argument(n, kind, row) for n, kind in enumerate(row.arguments, 1)]
    facts: list[Fact] = [MayCall(row), *arguments]
    if row.kind == "kfunc":
        facts.append(Section(row))
    if row.name == "bpf_tail_call":
        facts.append(Released("tail_call"))
    if row.name == "bpf_throw":
        facts.append(Released(EXIT, throws=True))
    if row.kind == "helper" and "map" in row.arguments:
        facts.append(Fitting(row.arguments.index("map") + 1, row))
    return facts


def _local(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [Callee(pc + 1 + i.off)]


def _callx(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if not setting.raw:
        return [Never("unknown opcode 8d")]
    return [*_read(i.dst), Callee(-1)]


def _exit(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    return [Released(EXIT), Returnable()]


def _wide(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if i.op != Op.LD_FUNC or setting.raw or not setting.functions:
        return _written(i.dst)  # of a program without any types, the kernel engine makes them
    function = setting.functions.get(pc + 1 + i.off)
    if function is None:
        return [*_written(i.dst), Never("missing btf func_info")]
    if function.is_global:
        return [*_written(i.dst), Never("callback function not static")]
    return _written(i.dst)


def unresolved(i: Instruction, pc: int, setting: Setting) -> str:
    """Say why what an instruction refers to cannot be found, or nothing; Linux asks this first."""
    kind, name = setting.names.get(pc, ("", ""))
    number = (i.imm & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    if i.op == Op.CALL_KFUNC and name not in KFUNCS:
        reason = f"calling kernel function {name or number} is not allowed"
        return f"{reason}: {missing(name)}" if name else reason
    if i.op == Op.CALL_KFUNC and name in setting.release.lacks:
        return f"calling kernel function {name} is not allowed: Linux {setting.release} has none"
    if i.op == Op.CALL_KFUNC and i.off:
        return "kfunc offset > 0 without fd_array is invalid"
    if i.op == Op.LD_BTF_ID:
        return "kernel variables (btf_id) are not supported by the workbench"
    if i.op in (Op.LD_MAP_FD, Op.LD_MAP_VALUE) and not kind:
        return f"fd {number} is not pointing to valid bpf_map"
    if i.op in (Op.LD_MAP_IDX, Op.LD_MAP_IDX_VALUE) and not kind and number:
        return "fd_idx without fd_array is invalid"
    if kind == "map" and name not in setting.maps and not setting.raw:
        return f"map '{name}' is not defined"
    if i.op in (Op.LD_MAP_VALUE, Op.LD_MAP_IDX_VALUE):
        return _bad_map_value(i, kind, name, setting)
    return ""


def _bad_map_value(i: Instruction, kind: str, name: str, setting: Setting) -> str:
    """Only arenas and arrays of one entry have values with a known address."""
    offset = i.imm >> 32 & 0xFFFFFFFF
    if offset >= 1 << 29:
        return f"direct value offset of {offset} is not allowed"
    if kind != "map" or setting.raw:
        return ""
    row = setting.maps[name]
    if row.type != "array":
        return "no direct value access support for this map type"
    if row.max_entries != 1 or offset >= row.value_size:
        return f"invalid access to map value pointer, value_size={row.value_size} off={offset}"
    return ""


def _packet(i: Instruction, pc: int, setting: Setting) -> list[Fact]:
    if not PROGRAM_TYPES[setting.type].classic:
        return [Never("BPF_LD_[ABS|IND] instructions not allowed for this program type")]
    indirect = i.op >= Op.LD_IND8
    facts: list[Fact] = [Readable(6), Released("BPF_LD_[ABS|IND]"), Packet()]
    return [*facts, *(_read(i.src) if indirect else ())]


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
