"""The table of BPF instructions, from which decoder, encoder, text and documentation derive.

The wire format (RFC 9669, section 3) is eight little-endian bytes a slot:

    byte 0     byte 1        bytes 2-3    bytes 4-7
    opcode     src<<4 | dst  off (s16)    imm (s32)

What the wire format hides in `off`, `imm` and `src` (signed division, sign extension, atomics,
casts, kinds of call) is lifted into `Op`: one member per meaning. A decoded program is an array
of 16-byte `INSTRUCTION` records, one per slot, so that array index = program counter:

    op u1   dst u1   src u1   breakpoint u1   off i4   imm i8

The second operand of arithmetic, comparisons and stores is always `regs[src] + imm`: register
forms have imm = 0, immediate forms have src = ZERO, a register that always holds 0.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import product
from typing import NamedTuple

import numpy as np

from workbench.errors import DecodeError

REGISTERS = 11  # r0 to r10
FRAME_POINTER = 10
ZERO = REGISTERS  # where an instruction reads its immediate instead

INSTRUCTION = np.dtype(
    [
        ("op", "u1"),
        ("dst", "u1"),
        ("src", "u1"),
        ("breakpoint", "u1"),
        ("off", "<i4"),
        ("imm", "<i8"),
    ]
)
WIRE = np.dtype([("opcode", "u1"), ("regs", "u1"), ("off", "<i2"), ("imm", "<i4")])

ALU = ("ADD", "SUB", "MUL", "DIV", "MOD", "SDIV", "SMOD", "OR", "AND", "XOR", "LSH", "RSH", "ARSH")
JUMPS = ("JEQ", "JNE", "JGT", "JGE", "JLT", "JLE", "JSET", "JSGT", "JSGE", "JSLT", "JSLE")


Op = IntEnum(
    "Op",
    """
    ADD64 SUB64 MUL64 DIV64 MOD64 SDIV64 SMOD64
    OR64 AND64 XOR64 LSH64 RSH64 ARSH64 MOV64
    ADD32 SUB32 MUL32 DIV32 MOD32 SDIV32 SMOD32
    OR32 AND32 XOR32 LSH32 RSH32 ARSH32 MOV32
    NEG64 NEG32
    MOVSX8_64 MOVSX16_64 MOVSX32_64 MOVSX8_32 MOVSX16_32
    LE16 LE32 LE64 BE16 BE32 BE64 BSWAP16 BSWAP32 BSWAP64
    CAST_KERN CAST_USER
    JEQ64 JNE64 JGT64 JGE64 JLT64 JLE64
    JSET64 JSGT64 JSGE64 JSLT64 JSLE64
    JEQ32 JNE32 JGT32 JGE32 JLT32 JLE32
    JSET32 JSGT32 JSGE32 JSLT32 JSLE32
    JA JA32 MAY_GOTO
    CALL_HELPER CALL_KFUNC CALL_LOCAL CALLX EXIT
    LD_IMM64 LD_MAP_FD LD_MAP_VALUE LD_BTF_ID
    LD_FUNC LD_MAP_IDX LD_MAP_IDX_VALUE
    LD_ABS8 LD_ABS16 LD_ABS32 LD_IND8 LD_IND16 LD_IND32

    LDX8 LDX16 LDX32 LDX64 LDXS8 LDXS16 LDXS32
    STX8 STX16 STX32 STX64
    ATOMIC_ADD32 ATOMIC_AND32 ATOMIC_OR32 ATOMIC_XOR32
    FETCH_ADD32 FETCH_AND32 FETCH_OR32 FETCH_XOR32 XCHG32 CMPXCHG32
    ATOMIC_ADD64 ATOMIC_AND64 ATOMIC_OR64 ATOMIC_XOR64
    FETCH_ADD64 FETCH_AND64 FETCH_OR64 FETCH_XOR64 XCHG64 CMPXCHG64
    LOAD_ACQUIRE8 LOAD_ACQUIRE16 LOAD_ACQUIRE32 LOAD_ACQUIRE64
    STORE_RELEASE8 STORE_RELEASE16 STORE_RELEASE32 STORE_RELEASE64

    ARENA_LDX8 ARENA_LDX16 ARENA_LDX32 ARENA_LDX64
    ARENA_LDXS8 ARENA_LDXS16 ARENA_LDXS32
    ARENA_STX8 ARENA_STX16 ARENA_STX32 ARENA_STX64
    ARENA_ATOMIC_ADD32 ARENA_ATOMIC_AND32
    ARENA_ATOMIC_OR32 ARENA_ATOMIC_XOR32
    ARENA_FETCH_ADD32 ARENA_FETCH_AND32 ARENA_FETCH_OR32
    ARENA_FETCH_XOR32 ARENA_XCHG32 ARENA_CMPXCHG32
    ARENA_ATOMIC_ADD64 ARENA_ATOMIC_AND64
    ARENA_ATOMIC_OR64 ARENA_ATOMIC_XOR64
    ARENA_FETCH_ADD64 ARENA_FETCH_AND64 ARENA_FETCH_OR64
    ARENA_FETCH_XOR64 ARENA_XCHG64 ARENA_CMPXCHG64
    ARENA_LOAD_ACQUIRE8 ARENA_LOAD_ACQUIRE16
    ARENA_LOAD_ACQUIRE32 ARENA_LOAD_ACQUIRE64
    ARENA_STORE_RELEASE8 ARENA_STORE_RELEASE16
    ARENA_STORE_RELEASE32 ARENA_STORE_RELEASE64

    INVALID
    """,
    start=0,
)
"""What an instruction means, whatever its encoding; dense, so engines can switch on it."""

FIRST_MEMORY_OP = Op.LDX8
FIRST_ARENA_OP = Op.ARENA_LDX8
ARENA_SHIFT = FIRST_ARENA_OP - FIRST_MEMORY_OP
INLINED = 1  # `off` of a rewritten call of bpf_loop that Linux writes out in place
WIDE = frozenset(op for op in Op if Op.LD_IMM64 <= op <= Op.LD_MAP_IDX_VALUE)


class Row(NamedTuple):
    """One encoding: its opcode, meaning, text, and the fields that hold a fixed value.

    In `syntax`, `{dst}` and `{src}` are register numbers, `{off}` and `{imm}` numbers, and
    `{target}` a jump target in slots relative to the next instruction (in `off` or, for the
    long forms, in `imm`). A field that is neither in `syntax` nor in `pinned` must be 0.
    """

    opcode: int
    op: Op
    syntax: str
    pinned: dict[str, int]
    aliases: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The RFC 9669 instruction class, with the packet and 64-bit immediate loads apart."""
        if self.op in WIDE:
            return "imm64"
        return ("packet", "load", "store", "store", "alu32", "jump64", "jump32", "alu64")[
            self.opcode & 7
        ]

    @property
    def target_field(self) -> str:
        """The wire field that holds `{target}`: imm for the long forms, else off."""
        return "imm" if self.op in _TARGET_IN_IMM else "off"


_TARGET_IN_IMM = frozenset({Op.JA32, Op.CALL_LOCAL, Op.LD_FUNC})
_LOW_HALF_ONLY = frozenset({Op.LD_MAP_FD, Op.LD_MAP_IDX, Op.LD_FUNC})

_LD, _LDX, _ST, _STX, _ALU32, _JMP64, _JMP32, _ALU64 = range(8)
_SIZES = {8: 0x10, 16: 0x08, 32: 0x00, 64: 0x18}
_ALU_CODES = dict(ADD=0, SUB=1, MUL=2, DIV=3, OR=4, AND=5, LSH=6, RSH=7, MOD=9, XOR=10, ARSH=12)
_ALU_SIGNS = dict(ADD="+", SUB="-", MUL="*", DIV="/", MOD="%", OR="|", AND="&", XOR="^", LSH="<<")
_ALU_SIGNS |= dict(RSH=">>", ARSH="s>>", SDIV="s/", SMOD="s%")
_JUMP_CODES = dict(JEQ=1, JGT=2, JGE=3, JSET=4, JNE=5, JSGT=6, JSGE=7, JLT=10, JLE=11)
_JUMP_CODES |= dict(JSLT=12, JSLE=13)
_JUMP_SIGNS = dict(JEQ="==", JNE="!=", JGT=">", JGE=">=", JLT="<", JLE="<=", JSET="&")
_JUMP_SIGNS |= dict(JSGT="s>", JSGE="s>=", JSLT="s<", JSLE="s<=")
_ATOMIC_CODES = dict(ADD=0x00, OR=0x40, AND=0x50, XOR=0xA0)


def _alu_rows() -> Iterator[Row]:
    for name, bits in product(ALU, (64, 32)):
        signed = name in ("SDIV", "SMOD")
        base = _ALU_CODES[name.lstrip("S") if signed else name] << 4
        opcode = base | (_ALU64 if bits == 64 else _ALU32)
        pinned = {"off": 1} if signed else {}
        reg = "r" if bits == 64 else "w"
        head = f"{reg}{{dst}} {_ALU_SIGNS[name]}= "
        yield Row(opcode, Op[f"{name}{bits}"], head + "{imm}", pinned)
        yield Row(opcode | 8, Op[f"{name}{bits}"], head + f"{reg}{{src}}", pinned)


def _move_rows() -> Iterator[Row]:
    for bits, reg, kind in ((64, "r", _ALU64), (32, "w", _ALU32)):
        yield Row(0xB0 | kind, Op[f"MOV{bits}"], f"{reg}{{dst}} = {{imm}}", {})
        llvm = ("r{dst} = w{src}",) if bits == 32 else ()
        yield Row(0xB8 | kind, Op[f"MOV{bits}"], f"{reg}{{dst}} = {reg}{{src}}", {}, llvm)
        yield Row(0x80 | kind, Op[f"NEG{bits}"], f"{reg}{{dst}} = -{reg}{{dst}}", {})
        for size in (8, 16, 32)[: 3 if bits == 64 else 2]:
            text = f"{reg}{{dst}} = (s{size}){reg}{{src}}"
            yield Row(0xB8 | kind, Op[f"MOVSX{size}_{bits}"], text, {"off": size})
    for op, imm, spaces in ((Op.CAST_KERN, 1, "0, 1"), (Op.CAST_USER, 0x10000, "1, 0")):
        yield Row(
            0xBF,
            op,
            f"r{{dst}} = {op.name.lower()}(r{{src}})",
            {"off": 1, "imm": imm},
            (f"r{{dst}} = addr_space_cast(r{{src}}, {spaces})",),
        )
    for name, opcode in (("LE", 0xD4), ("BE", 0xDC), ("BSWAP", 0xD7)):
        for size in (16, 32, 64):
            text = f"r{{dst}} = {name.lower()}{size} r{{dst}}"
            yield Row(opcode, Op[f"{name}{size}"], text, {"imm": size})


def _jump_rows() -> Iterator[Row]:
    for name, bits in product(JUMPS, (64, 32)):
        opcode = _JUMP_CODES[name] << 4 | (_JMP64 if bits == 64 else _JMP32)
        reg = "r" if bits == 64 else "w"
        head = f"if {reg}{{dst}} {_JUMP_SIGNS[name]} "
        yield Row(opcode, Op[f"{name}{bits}"], head + "{imm} goto {target}", {})
        yield Row(opcode | 8, Op[f"{name}{bits}"], head + f"{reg}{{src}} goto {{target}}", {})
    yield Row(0x05, Op.JA, "goto {target}", {})
    yield Row(0x06, Op.JA32, "gotol {target}", {})
    yield Row(0xE5, Op.MAY_GOTO, "may_goto {target}", {})
    yield Row(0x85, Op.CALL_HELPER, "call {imm}", {})
    yield Row(0x85, Op.CALL_LOCAL, "call {target}", {"src": 1})
    yield Row(0x85, Op.CALL_KFUNC, "call kfunc {imm} {off}", {"src": 2}, ("call kfunc {imm}",))
    yield Row(0x8D, Op.CALLX, "callx r{dst}", {})
    yield Row(0x95, Op.EXIT, "exit", {})


def _memory_rows() -> Iterator[Row]:
    for size, code in _SIZES.items():
        place, reg = f"*(u{size} *)(r{{dst}} {{off}})", "r" if size == 64 else "w"
        load = f"{{dst}} = *(u{size} *)(r{{src}} {{off}})"
        alias = (f"w{load}",) if size < 64 else ()
        yield Row(_LDX | 0x60 | code, Op[f"LDX{size}"], f"r{load}", {}, alias)
        if size < 64:
            text = f"r{{dst}} = *(s{size} *)(r{{src}} {{off}})"
            yield Row(_LDX | 0x80 | code, Op[f"LDXS{size}"], text, {})
        yield Row(_ST | 0x60 | code, Op[f"STX{size}"], f"{place} = {{imm}}", {})
        alias = (f"{place} = w{{src}}",) if size < 64 else ()
        yield Row(_STX | 0x60 | code, Op[f"STX{size}"], f"{place} = r{{src}}", {}, alias)
        acquire = f"{reg}{{dst}} = load_acquire((u{size} *)(r{{src}} {{off}}))"
        release = f"store_release((u{size} *)(r{{dst}} {{off}}), {reg}{{src}})"
        other = "r" if reg == "w" else "w"
        yield Row(
            _STX | 0xC0 | code,
            Op[f"LOAD_ACQUIRE{size}"],
            acquire,
            {"imm": 0x100},
            (other + acquire[1:],) if size < 64 else (),
        )
        yield Row(
            _STX | 0xC0 | code,
            Op[f"STORE_RELEASE{size}"],
            release,
            {"imm": 0x110},
            (release.replace(", w", ", r"),) if size < 64 else (),
        )


def _atomic_rows() -> Iterator[Row]:
    for bits, reg in ((64, "r"), (32, "w")):
        opcode = _STX | 0xC0 | _SIZES[bits]
        u, log = f"u{bits}", "atomic64" if bits == 64 else "atomic"
        place = f"({u} *)(r{{dst}} {{off}})"
        for name, code in _ATOMIC_CODES.items():
            low = name.lower()
            op = Op[f"ATOMIC_{name}{bits}"]
            text = f"lock *{place} {_ALU_SIGNS[name]}= {reg}{{src}}"
            alias = (text.replace("= w", "= r"),) if reg == "w" else ()
            yield Row(opcode, op, text, {"imm": code}, alias)
            text = f"{reg}{{src}} = atomic_fetch_{low}({place}, {reg}{{src}})"
            alias = (f"r{{src}} = {log}_fetch_{low}({place}, r{{src}})",)
            yield Row(opcode, Op[f"FETCH_{name}{bits}"], text, {"imm": code | 1}, alias)
        ending = "_64" if bits == 64 else "32_32"
        text = f"{reg}{{src}} = xchg{ending}(r{{dst}} {{off}}, {reg}{{src}})"
        alias = (f"r{{src}} = {log}_xchg({place}, r{{src}})",)
        yield Row(opcode, Op[f"XCHG{bits}"], text, {"imm": 0xE1}, alias)
        text = f"{reg}0 = cmpxchg{ending}(r{{dst}} {{off}}, {reg}0, {reg}{{src}})"
        alias = (f"r0 = {log}_cmpxchg({place}, r0, r{{src}})",)
        yield Row(opcode, Op[f"CMPXCHG{bits}"], text, {"imm": 0xF1}, alias)


def _imm64_rows() -> Iterator[Row]:
    yield Row(0x18, Op.LD_IMM64, "r{dst} = {imm} ll", {"src": 0})
    llvm = "ld_pseudo r{{dst}}, {}, {{imm}}".format
    yield Row(0x18, Op.LD_MAP_FD, "r{dst} = map[fd:{imm}]", {"src": 1}, (llvm(1),))
    yield Row(0x18, Op.LD_MAP_VALUE, "r{dst} = map[fd:{imm}][0] {off}", {"src": 2})
    yield Row(0x18, Op.LD_BTF_ID, "r{dst} = btf_id {imm} ll", {"src": 3}, (llvm(3),))
    yield Row(0x18, Op.LD_FUNC, "r{dst} = func {target} ll", {"src": 4})
    yield Row(0x18, Op.LD_MAP_IDX, "r{dst} = map[idx:{imm}]", {"src": 5}, (llvm(5),))
    yield Row(0x18, Op.LD_MAP_IDX_VALUE, "r{dst} = map[idx:{imm}][0] {off}", {"src": 6})


def _packet_rows() -> Iterator[Row]:
    for size in (8, 16, 32):
        absolute = f"r0 = *(u{size} *)skb[{{imm}}]"
        indirect = f"r0 = *(u{size} *)skb[r{{src}} {{imm}}]"
        short = f"r0 = *(u{size} *)skb[r{{src}}]"
        yield Row(_LD | 0x20 | _SIZES[size], Op[f"LD_ABS{size}"], absolute, {})
        yield Row(_LD | 0x40 | _SIZES[size], Op[f"LD_IND{size}"], indirect, {}, (short,))


TABLE: tuple[Row, ...] = (
    *_alu_rows(),
    *_move_rows(),
    *_jump_rows(),
    *_memory_rows(),
    *_atomic_rows(),
    *_imm64_rows(),
    *_packet_rows(),
)
"""Every encodable instruction, once."""


def _by_opcode(rows: Iterable[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.opcode, []).append(row)
    return found


_ROWS = _by_opcode(TABLE)
_ENCODINGS = {(row.op, "{imm}" in row.syntax): row for row in TABLE}


def has_immediate_form(op: int) -> bool:
    """Whether a register form and an immediate form of `op` share one `Op`."""
    return (Op(op), True) in _ENCODINGS and (Op(op), False) in _ENCODINGS


def row_of(op: int, src: int = 0) -> Row:
    """The table row of a decoded instruction; arena accesses map to the plain access they were.

    Raises DecodeError for an operation that has no encoding, such as INVALID.
    """
    if op >= FIRST_ARENA_OP and op != Op.INVALID:
        op -= ARENA_SHIFT
    member = Op(op)
    row = _ENCODINGS.get((member, src == ZERO)) or _ENCODINGS.get((member, src != ZERO))
    if row is None:
        raise DecodeError(-1, f"{member.name} has no encoding")
    return row


def _unused_field(row: Row, fields: dict[str, int]) -> str | None:
    """Name the first wire field that holds something its row has no place for."""
    if row.op in WIDE:
        return None
    used = {name for name in ("dst", "src", "off", "imm") if f"{{{name}}}" in row.syntax}
    if "{target}" in row.syntax:
        used.add(row.target_field)
    for name, value in fields.items():
        if name not in used and value != row.pinned.get(name, 0):
            return name
    return None


def _match(fields: dict[str, int], opcode: int) -> tuple[Row | None, str]:
    """Find the row of one wire instruction, or say what is wrong with it."""
    candidates = _ROWS.get(opcode)
    if not candidates:
        return None, f"unknown opcode {opcode:#04x}"
    if opcode == 0x18:
        found = next((row for row in candidates if row.pinned["src"] == fields["src"]), None)
        return found, f"LD_IMM64 has no source kind {fields['src']}"
    complaint = ""
    for row in candidates:
        wrong = _unused_field(row, fields)
        if wrong is None:
            return row, ""
        complaint = f"opcode {opcode:#04x} cannot have {wrong} = {fields[wrong]}"
    return None, complaint


def _lift(row: Row, f: dict[str, int]) -> tuple[int, int, int, int, int, int]:
    """Turn wire fields into an INSTRUCTION record."""
    off, imm, src = f["off"], f["imm"], f["src"]
    if "{target}" in row.syntax and row.target_field == "imm":
        off, imm = imm, 0
    elif "{imm}" not in row.syntax:
        imm = 0
    if "src" in row.pinned:
        src = 0
    if (row.op in _SHARED_OPS) and "{imm}" in row.syntax:
        src = ZERO
    if "off" in row.pinned:
        off = 0
    return int(row.op), f["dst"], src, 0, off, imm


_SHARED_OPS = frozenset(row.op for row in TABLE if has_immediate_form(row.op))


def _wire(bytecode: bytes) -> np.ndarray:
    """View bytecode as wire records; a length that is no multiple of 8 is truncated bytecode."""
    if len(bytecode) % 8:
        raise DecodeError(len(bytecode) // 8, "truncated: an instruction has 8 bytes")
    return np.frombuffer(bytecode, WIRE)


def decode(bytecode: bytes) -> np.ndarray:
    """Turn wire bytes into INSTRUCTION[n] records, one per slot (second halves are INVALID).

    Raises DecodeError with the slot for an unknown opcode, a register above 10, a reserved
    field that is not 0, or an LD_IMM64 cut in half. Source: RFC 9669, section 3.
    """
    wire = _wire(bytecode)
    records = np.zeros(len(wire), INSTRUCTION)
    records["op"] = Op.INVALID
    pc = 0
    while pc < len(wire):
        opcode, regs, off, imm = (int(v) for v in wire[pc])
        fields = {"dst": regs & 15, "src": regs >> 4, "off": off, "imm": imm}
        row, complaint = _match(fields, opcode)
        if row is None:
            raise DecodeError(pc, complaint)
        if max(fields["dst"], fields["src"]) > 10:
            raise DecodeError(pc, f"register r{max(fields['dst'], fields['src'])} does not exist")
        if row.op in WIDE:
            records[pc] = _decode_wide(row, fields, wire, pc)
            pc += 2
        else:
            records[pc] = _lift(row, fields)
            pc += 1
    return records


def _decode_wide(row: Row, fields: dict[str, int], wire: np.ndarray, pc: int) -> tuple:
    """Join the two slots of an LD_IMM64."""
    if pc + 1 >= len(wire):
        raise DecodeError(pc, "LD_IMM64 needs two slots but the program ends after the first")
    opcode, regs, off, high = (int(v) for v in wire[pc + 1])
    if opcode or regs or off or fields["off"] or (high and row.op in _LOW_HALF_ONLY):
        raise DecodeError(pc, "LD_IMM64 has non-zero reserved fields")
    if row.op is Op.LD_FUNC:
        return int(row.op), fields["dst"], 0, 0, fields["imm"], 0
    imm = (fields["imm"] & 0xFFFFFFFF) | high << 32
    return int(row.op), fields["dst"], 0, 0, 0, imm


def encode(records: np.ndarray) -> bytes:
    """Turn INSTRUCTION[n] records into 8 n wire bytes; the inverse of `decode`.

    Arena accesses are written as the plain accesses they were, as the kernel's xlated dump does.
    Raises DecodeError for an operation that has no encoding.
    """
    wire = np.zeros(len(records), WIRE)
    pc = 0
    while pc < len(records):
        op, dst, src, _, off, imm = (int(v) for v in records[pc])
        row = row_of(op, src)
        src = row.pinned.get("src", 0 if src == ZERO else src)
        if row.op in WIDE:
            low = off if row.op is Op.LD_FUNC else imm
            wire[pc] = (row.opcode, src << 4 | dst, 0, _s32(low))
            if row.op is not Op.LD_FUNC:
                wire[pc + 1]["imm"] = _s32(imm >> 32)
            pc += 2
            continue
        if row.target_field == "imm":
            off, imm = 0, off
        off, imm = row.pinned.get("off", off), row.pinned.get("imm", imm)
        wire[pc] = (row.opcode, src << 4 | dst, off, _s32(imm))
        pc += 1
    return wire.tobytes()


def _s32(value: int) -> int:
    """The low 32 bits as a signed number."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
