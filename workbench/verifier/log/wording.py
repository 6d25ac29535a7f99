"""Values, states and instructions as the log of Linux 6.18 writes them.

Sources: print_reg_state and print_verifier_state in kernel/bpf/log.c, kernel/bpf/disasm.c.
"""

import re
from collections.abc import Iterable

from workbench.bpf.functions import BY_NAME
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.bpf.text import instruction_text
from workbench.verifier.values.domain import (
    ARENA,
    IN_MAP,
    MEMORIES,
    NAMES,
    PACKETS,
    SCALAR,
    STACK,
    UNSET,
    WITH_DELTA,
    Frame,
    Iterator,
    Locks,
    Slot,
    Value,
)
from workbench.verifier.values.numbers import S32_MAX, S32_MIN, S64_MAX, S64_MIN, Number, signed
from workbench.verifier.values.tnum import LOW, MASK, MAX_DECIMAL, text_of

S16_MIN, S16_MAX = -0x8000, 0x7FFF  # SNUM_MIN_DECIMAL, SNUM_MAX_DECIMAL of kernel/bpf/log.c


def signed_text(number: int) -> str:
    """A signed number: small ones in decimal, others as 64 bits in hexadecimal."""
    return str(number) if S16_MIN <= number <= S16_MAX else f"{number & MASK:#x}"


def unsigned_text(number: int) -> str:
    """An unsigned number: small ones in decimal, others in hexadecimal."""
    return str(number) if number <= MAX_DECIMAL else f"{number:#x}"


def _ranges(n: Number) -> list[str]:
    """Ranges that say something; equal ones are written together: smin=smin32=0."""
    names = ("smin", "smax", "umin", "umax", "smin32", "smax32", "umin32", "umax32")
    widest = (S64_MIN, S64_MAX, 0, MASK, S32_MIN, S32_MAX, 0, LOW)
    left = {k: v for k, v, w in zip(names, n[:8], widest, strict=True) if v != w}
    parts = []
    while left:
        name, value = next(iter(left.items()))
        word = _word(name, value)
        same = [k for k in left if k[1:4] == name[1:4] and _word(k, left[k]) == word]
        if word >> 63:  # the same bits are a negative number to some only
            same = [k for k in same if k[0] == name[0]]
        for k in same:
            del left[k]
        text = unsigned_text(value) if name[0] == "u" else signed_text(value)
        if name.endswith("32") and value < S16_MIN:
            text = f"{word:#x}"
        parts.append("".join(f"{k}=" for k in same) + text)
    return parts


def _word(name: str, value: int) -> int:
    """The bits that are compared and printed: 32-bit ranges too long for decimals have 32."""
    short = name.endswith("32") and not S16_MIN <= value <= S16_MAX
    return value & (LOW if short else MASK)


def value_text(value: Value, frame: int, precise: bool = False) -> str:
    """A register, as seen from the frame of this number."""
    kind, n = value.kind, value.number
    mark = "P" if precise and kind == SCALAR else ""
    if kind == SCALAR and n.known:
        return mark + signed_text(signed(n.value))
    if kind == ARENA:
        return NAMES[kind]
    if kind == STACK:
        place = f"fp[{value.about}]" if value.about != frame else "fp"
        if n.known:
            return place + signed_text(signed(n.value) + value.off)
        return f"{place}({','.join(_details(value))})"
    return f"{mark}{NAMES[kind]}({','.join(_details(value))})"


def _details(value: Value) -> list[str]:
    kind, n, parts = value.kind, value.number, []
    identity = value.id & ~WITH_DELTA
    delta = f"{value.off:+d}" if value.id & WITH_DELTA else ""
    parts += [f"id={identity}{delta}"] if identity else []
    parts += [f"ref_obj_id={value.reference}"] if value.reference else []
    if kind in IN_MAP:
        name = [f"map={value.about.name[:15]}"] if value.about.name else []
        parts += [*name, f"ks={value.about.key_size}", f"vs={value.about.value_size}"]
    parts += [f"off={signed_text(value.off)}"] if kind != SCALAR and value.off else []
    parts += [f"r={signed_text(value.about)}"] if kind in PACKETS else []
    parts += [f"sz={unsigned_text(value.about)}"] if kind & 31 in MEMORIES else []
    if n.known:
        return parts + ([f"imm={signed_text(signed(n.value))}"] if n.value else [])
    unknown = n.mask == MASK
    return parts + _ranges(n) + ([] if unknown else [f"var_off={text_of(n.bits)}"])


def slot_text(slot: Slot, at: int, frame: int, precise: bool = False) -> str:
    """A stack slot, or "" if nothing was written there."""
    if slot.types == "????????":
        return ""
    head, last = f"fp-{8 * at + 8}=", slot.types[7]
    if last == "r" and slot.value is not None:
        return head + slot.types.replace("r", "") + value_text(slot.value, frame, precise)
    if last == "i" and slot.value is not None and isinstance(slot.value.about, Iterator):
        found = slot.value.about
        return f"{head}iter_num(ref_id={found.reference},state={found.state},depth={found.depth})"
    return head + slot.types


def frame_text(
    frame: Frame,
    locks: Locks,
    registers: int = 0x7FF,
    slots: int = MASK,
    precise: Iterable[int] = (0, 0),
) -> str:
    """What is known in one frame: of some registers and slots, a bit each, or of all."""
    exact, exact_slots = precise
    parts = [f"frame{frame.number}:"] if frame.number else []
    for n, value in enumerate(frame.registers):
        if registers >> n & 1 and value.kind != UNSET:
            text = value_text(value, frame.number, bool(exact >> n & 1))
            parts.append(f"R{n}={text}")
    for n, slot in enumerate(frame.stack):
        if slots >> n & 1:
            text = slot_text(slot, n, frame.number, bool(exact_slots >> n & 1))
            parts += [text] if text else []
    if locks.references:
        parts.append("refs=" + ",".join(str(r.id) for r in locks.references))
    parts += ["cb"] if frame.callback else []
    return "".join(" " + part for part in parts)


def slots_text(mask: int) -> str:
    """Stack slots, a bit each, as offsets from r10."""
    return ",".join(str(-8 * n - 8) for n in range(mask.bit_length()) if mask >> n & 1)


_CAST = re.compile(r"cast_(kern|user)\((r\d+)\)")
_OFFSET = re.compile(r"(\(r\d+) ([+-]) (\d+)")
_COMPARED = re.compile(r"^(if .* )(-?\d+) goto")
_TARGET = re.compile(r"\b(goto|gotol|may_goto|call) ([+-]\d+)$")
_HALF = re.compile(r"\bw(\d+)")
_ATOMIC = re.compile(r"^[wr](\d+) = atomic(?:64)?_fetch_(\w+)\(\((u32|u64) \*\)(.*), [wr](\d+)\)$")
_XCHG = re.compile(r"^[wr](\d+) = xchg(_64|32_32)\((r\d+) ([+-]) (\d+), [wr]\d+\)$")
_CMPXCHG = re.compile(r"^[wr]0 = cmpxchg(_64|32_32)\((r\d+) ([+-]) (\d+), [wr]0, [wr](\d+)\)$")


def instruction_wording(program: Program, pc: int) -> str:
    """Opcode and text of an instruction, in the kernel's spelling."""
    record = program.instructions[pc]
    name = next((r.name for r in program.references if r.pc == pc), None)
    op = int(record["op"])
    if op in (Op.CALL_HELPER, Op.CALL_KFUNC):
        text = _call_text(op, int(record["imm"]), name)
    elif op in (Op.LD_MAP_FD, Op.LD_MAP_IDX, Op.LD_MAP_VALUE, Op.LD_MAP_IDX_VALUE):
        text = f"r{record['dst']} = {name or 'map'} ll"
    else:
        text = _kernel_spelling(instruction_text(record, pc, {}, name))
    return f"({program.bytecode[8 * pc]:02x}) {text}"


def _call_text(op: int, number: int, name: str | None) -> str:
    row = BY_NAME.get(name or "")
    if op == Op.CALL_KFUNC:
        return f"call {name or number}#{row.number if row else number}"
    from workbench.bpf.functions import HELPERS

    known = HELPERS.get(number)
    return f"call {known.name if known else 'unknown'}#{number & 0xFFFFFFFF}"


def _kernel_spelling(text: str) -> str:
    """Turn our assembly into the kernel's spelling: `(r2 +8)`, `goto pc+1`, `addr_space_cast`."""
    spaces = {"kern": "0, 1", "user": "1, 0"}
    text = _CAST.sub(lambda m: f"addr_space_cast({m[2]}, {spaces[m[1]]})", text)
    text = _XCHG.sub(_exchange, text)
    text = _CMPXCHG.sub(_compare_exchange, text)
    text = _ATOMIC.sub(_fetch, text)
    if text.startswith(("lock ", "store_release")) or "load_acquire" in text:
        text = _HALF.sub(r"r\1", text)
    text = _OFFSET.sub(r"\1 \2\3", text)
    text = _TARGET.sub(r"\1 pc\2", text)
    text = text.removesuffix(" ll")
    return _COMPARED.sub(lambda m: f"{m[1]}{int(m[2]) & 0xFFFFFFFF:#x} goto", text)


def _sizes(ending: str) -> tuple[str, str]:
    return ("atomic64", "u64") if ending == "_64" else ("atomic", "u32")


def _exchange(m: re.Match[str]) -> str:
    name, size = _sizes(m[2])
    return f"r{m[1]} = {name}_xchg(({size} *)({m[3]} {m[4]}{m[5]}), r{m[1]})"


def _compare_exchange(m: re.Match[str]) -> str:
    name, size = _sizes(m[1])
    return f"r0 = {name}_cmpxchg(({size} *)({m[2]} {m[3]}{m[4]}), r0, r{m[5]})"


def _fetch(m: re.Match[str]) -> str:
    name = "atomic64" if m[3] == "u64" else "atomic"
    return f"r{m[1]} = {name}_fetch_{m[2]}(({m[3]} *){m[4]}, r{m[1]})"
