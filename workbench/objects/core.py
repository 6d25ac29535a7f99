"""Compile once, run everywhere: code that depends on layouts is fitted to those of a kernel.

The compiler leaves a record for each instruction whose number depends on a structure, saying which
part of which type; here the part is found by name among the types of the target. Source: libbpf's
relo_core.c, whose rules and order these are.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.objects.btf import COMPOSITE, ENUMERATIONS, Kind, Type, Types, essential, read_btf
from workbench.objects.compatible import compatible_fields, compatible_types, matching_types
from workbench.objects.extension import Access

VMLINUX = Path("/sys/kernel/btf/vmlinux")
POISON = 195_896_080  # the helper that no kernel has: libbpf's mark of a field that is not there
SLOT = 8  # bytes
_NESTED = 32  # members without a name in each other: bounds damaged types
_LD, _LDX, _ST, _STX, _ALU32, _JUMP, _JUMP32, _ALU64 = range(8)
_SIZES = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}  # bytes -> size bits of a load's opcode
_BYTES = {bits: size for size, bits in _SIZES.items()}
_LD_IMM64, _CALL = 0x18, 0x85


class Ask(IntEnum):
    """What a record asks about its part (enum bpf_core_relo_kind)."""

    OFFSET, SIZE, EXISTS, SIGNED, LEFT_SHIFT, RIGHT_SHIFT = range(6)
    LOCAL_ID, TARGET_ID, TYPE_EXISTS, TYPE_SIZE, ENUMERATOR_EXISTS, ENUMERATOR, TYPE_MATCHES = (
        range(6, 13)
    )


_OF_FIELDS = frozenset(range(Ask.LOCAL_ID))
_OF_TYPES = (Ask.TARGET_ID, Ask.TYPE_EXISTS, Ask.TYPE_SIZE, Ask.TYPE_MATCHES)
_OF_ENUMERATORS = (Ask.ENUMERATOR_EXISTS, Ask.ENUMERATOR)


class Step(NamedTuple):
    """A step into a type: to element `number` of it, or to that member if it has a name."""

    type: int
    number: int
    name: str = ""


class Place(NamedTuple):
    """A part of a type: the steps that lead to it, and how many bits from the beginning it lies."""

    root: int
    steps: tuple[Step, ...]
    bits: int = 0

    def then(self, step: Step, bits: int) -> "Place":
        """One step further."""
        return Place(self.root, (*self.steps, step), self.bits + bits)


class Answer(NamedTuple):
    """A number about a place; `size` and `type` are those of a field that is loaded or stored.

    `exact` says that the compiler must have written this number for its own layout.
    """

    value: int
    size: int = 0
    type: int = 0
    exact: bool = True


@cache
def vmlinux() -> Types | None:
    """The types of the running kernel, read once per process; None where it has none to read."""
    try:
        return read_btf(VMLINUX.read_bytes())
    except OSError:
        return None


class Layouts:
    """The types of an object, and those of the kernel that its code is fitted to."""

    def __init__(self, local: Types, target: Callable[[], Types]) -> None:
        self.local, self._target = local, target

    def apply(self, code: bytearray, pc: int, access: Access) -> None:
        """Fit the instruction at a slot; raises WorkbenchError where the layouts contradict it.

        An instruction whose field is not in the target becomes a call that verifiers refuse, if
        they reach it.
        """
        if access.kind not in Ask.__members__.values():
            raise WorkbenchError(f"instruction {pc}: layout record of unknown kind {access.kind}")
        if access.kind == Ask.LOCAL_ID:
            _patch(code, pc, Answer(0, exact=False), Answer(access.type))
            return
        place = parse(self.local, access)
        mine = answer(self.local, place, access.kind)
        found = self._found(access, place)
        if mine is None or found is None:
            _poison(code, pc)
            return
        try:
            _patch(code, pc, mine, found)
        except _Different:
            if not self._resizable(mine, found):
                _poison(code, pc)
            else:
                _resize(code, pc, mine, found)

    def _found(self, access: Access, place: Place) -> Answer | None:
        """The target's answer, on which all types of the name must agree; None if it has none."""
        target = self._target()
        local = self.local[access.type]
        if not local.name:
            raise WorkbenchError("a layout record about a type without a name")
        kinds = ENUMERATIONS if local.kind in ENUMERATIONS else (local.kind,)
        found: list[tuple[int, Answer | None]] = []
        for candidate in target.flavours(essential(local.name), *kinds):
            there = match(self.local, place, target, candidate, access.kind)
            if there is not None:
                found.append((there.bits, answer(target, there, access.kind)))
        if not found:
            return answer(target, None, access.kind)
        if any(
            other[0] != found[0][0] or _number(other[1]) != _number(found[0][1]) for other in found
        ):
            raise WorkbenchError(f"there are several different '{local.name}' in the kernel")
        return found[0][1]

    def _resizable(self, mine: Answer, found: Answer) -> bool:
        """Whether a load of another size means the same: of pointers, or of unsigned integers."""
        one, other = self.local.resolve(mine.type), self._target().resolve(found.type)
        if one.kind != other.kind:
            return False
        return one.kind == Kind.PTR or (one.kind == Kind.INT and not one.signed | other.signed)


def _number(answer: Answer | None) -> int | None:
    return answer.value if answer else None


def parse(types: Types, access: Access) -> Place:
    """Find the place that a record names by numbers; raises WorkbenchError for a damaged one."""
    try:
        numbers = [int(number) for number in access.path.split(":")]
    except ValueError:
        raise WorkbenchError(f"damaged layout record '{access.path}'") from None
    if access.kind in _OF_TYPES:
        return Place(access.type, ())
    root = types.strip(access.type)
    type = types[root]
    if access.kind in _OF_ENUMERATORS:
        if type.kind not in ENUMERATIONS or not 0 <= numbers[0] < len(type.members):
            raise WorkbenchError(f"damaged layout record '{access.path}' of '{type.name}'")
        return Place(access.type, (Step(root, numbers[0], type.members[numbers[0]].name),))
    bits = 8 * numbers[0] * types.size(root)
    place, number = Place(access.type, (Step(root, numbers[0]),), bits), root
    for index in numbers[1:]:
        place, number = _into(types, place, types.strip(number), index)
    return place


def _into(types: Types, place: Place, number: int, index: int) -> tuple[Place, int]:
    """Go into a member or element by number; members without a name leave no step."""
    type = types[number]
    if type.kind in COMPOSITE and 0 <= index < len(type.members):
        member = type.members[index]
        if not member.name:
            return place._replace(bits=place.bits + member.bit_offset), member.type
        return place.then(Step(number, index, member.name), member.bit_offset), member.type
    if type.kind == Kind.ARRAY and (0 <= index < type.length or _flexible(types, place, type)):
        element = types.strip(type.target)
        return place.then(Step(element, index), 8 * index * types.size(element)), element
    raise WorkbenchError(f"damaged layout record: no part {index} of '{type.name}'")


def _flexible(types: Types, place: Place, array: Type) -> bool:
    """Whether an array of one element or none ends its structure, and so may be longer."""
    last = place.steps[-1]
    if array.length > 1 or not last.name:
        return False
    return last.number == len(types[last.type].members) - 1


def match(local: Types, place: Place, target: Types, candidate: int, kind: int) -> Place | None:
    """Find the same place in a type of the target by names; None if it is not there."""
    if kind in _OF_TYPES:
        same = matching_types if kind == Ask.TYPE_MATCHES else compatible_types
        return Place(candidate, ()) if same(local, place.root, target, candidate) else None
    number = target.strip(candidate)
    if kind in _OF_ENUMERATORS:
        name = essential(place.steps[0].name)
        members = target[number].members
        index = next((i for i, m in enumerate(members) if essential(m.name) == name), None)
        return None if index is None else Place(candidate, (Step(number, index, name),))
    found: Place | None = Place(candidate, ())
    for position, step in enumerate(place.steps):
        number = target.strip(number)
        assert found is not None
        if step.name:
            field = local[step.type].members[step.number].type
            member = _member(target, found, number, step.name)
            if member is None or not compatible_fields(local, field, target, member[1]):
                return None
            found, number = member
            continue
        if position:
            array = target[number]
            if array.kind != Kind.ARRAY:
                return None
            if step.number >= array.length and not _flexible(target, found, array):
                return None
            number = target.strip(array.target)
        found = found.then(Step(number, step.number), 8 * step.number * target.size(number))
    return found


def _member(
    types: Types, place: Place, number: int, name: str, depth: int = 0
) -> tuple[Place, int] | None:
    """Look for a member by name, also inside members without a name; gives place and type."""
    number = types.strip(number)
    if types[number].kind not in COMPOSITE or depth > _NESTED:
        return None
    for index, member in enumerate(types[number].members):
        if member.name == name:
            return place.then(Step(number, index, name), member.bit_offset), member.type
        if not member.name:
            inside = place._replace(bits=place.bits + member.bit_offset)
            if found := _member(types, inside, member.type, name, depth + 1):
                return found
    return None


def answer(types: Types, place: Place | None, kind: int) -> Answer | None:
    """Answer a record's question about a place, None being one that is not there.

    The answer is None where an instruction cannot do without the place. Raises WorkbenchError for a
    question that does not fit the place.
    """
    if kind in (Ask.EXISTS, Ask.TYPE_EXISTS, Ask.TYPE_MATCHES, Ask.ENUMERATOR_EXISTS):
        return Answer(int(place is not None))
    if place is None:
        return Answer(0) if kind in _OF_TYPES else None
    if kind == Ask.TARGET_ID:
        return Answer(place.root, exact=False)
    if kind == Ask.TYPE_SIZE:
        return Answer(types.size(place.root))
    last = place.steps[-1]
    if kind == Ask.ENUMERATOR:
        return Answer(types[last.type].members[last.number].value)
    return (
        _of_field(types, place, last, kind) if last.name else _of_element(types, place, last, kind)
    )


def _of_element(types: Types, place: Place, last: Step, kind: int) -> Answer:
    size = types.size(last.type)
    if kind == Ask.OFFSET:
        return Answer(place.bits // 8, size, last.type)
    if kind == Ask.SIZE:
        return Answer(size)
    raise WorkbenchError("a layout record asks of an array's element what only fields have")


def _of_field(types: Types, place: Place, last: Step, kind: int) -> Answer:
    member = types[last.type].members[last.number]
    number = types.strip(member.type)
    type = types[number]
    if kind == Ask.SIGNED:
        return Answer(int(type.kind in (Kind.INT, *ENUMERATIONS) and type.signed))
    size, begin, bits = types.size(number), place.bits // 8, member.bits
    if bits:
        size, begin = _unit(place.bits, bits, type.size)
    else:
        bits = 8 * size
    if kind == Ask.RIGHT_SHIFT:
        return Answer(64 - bits)
    if kind == Ask.LEFT_SHIFT:
        return Answer(64 - (place.bits + bits - 8 * begin), exact=not member.bits)
    if kind == Ask.SIZE:
        return Answer(size, exact=not member.bits)
    if member.bits:
        return Answer(begin, exact=False)
    return Answer(begin, size, number)


def _unit(first: int, bits: int, size: int) -> tuple[int, int]:
    """Bytes and first byte of the smallest aligned integer that holds a bit field."""
    while size and first + bits - 8 * (first // 8 // size * size) > 8 * size:
        size *= 2
    if not 0 < size <= 8:
        raise WorkbenchError("a bit field that no load of 8 bytes can hold")
    return size, first // 8 // size * size


class _Different(Exception):
    """The field has another size in the target."""


def _patch(code: bytearray, pc: int, mine: Answer, found: Answer) -> None:
    """Write the target's number where the instruction keeps it."""
    at = SLOT * pc
    opcode = code[at]
    if opcode & 7 in (_ALU32, _ALU64) and not opcode & 8:
        _check(pc, struct.unpack_from("<i", code, at + 4)[0], mine)
        struct.pack_into("<I", code, at + 4, found.value & 0xFFFFFFFF)
    elif opcode == _LD_IMM64:
        low, high = (struct.unpack_from("<I", code, at + half)[0] for half in (4, SLOT + 4))
        _check(pc, low | high << 32, mine)
        struct.pack_into("<I", code, at + 4, found.value & 0xFFFFFFFF)
        struct.pack_into("<I", code, at + SLOT + 4, found.value >> 32 & 0xFFFFFFFF)
    elif opcode & 7 in (_LDX, _ST, _STX):
        _check(pc, struct.unpack_from("<h", code, at + 2)[0], mine)
        if found.value > 0x7FFF:
            raise WorkbenchError(f"instruction {pc}: offset {found.value} is too large for a load")
        if mine.size != found.size:
            raise _Different
        struct.pack_into("<h", code, at + 2, found.value)
    else:
        raise WorkbenchError(f"instruction {pc}: opcode {opcode:#x} cannot depend on a layout")


def _check(pc: int, written: int, mine: Answer) -> None:
    mask = 0xFFFFFFFF if -(1 << 31) <= written < 1 << 32 else (1 << 64) - 1
    if mine.exact and (written ^ mine.value) & mask:
        raise WorkbenchError(
            f"instruction {pc}: holds {written}, where its layout record says {mine.value}"
        )


def _resize(code: bytearray, pc: int, mine: Answer, found: Answer) -> None:
    """Load or store the size that the field has in the target."""
    at = SLOT * pc
    if _BYTES[code[at] & 0x18] != mine.size or found.size not in _SIZES:
        raise WorkbenchError(f"instruction {pc}: cannot access a field of {found.size} bytes")
    code[at] = code[at] & ~0x18 | _SIZES[found.size]
    struct.pack_into("<h", code, at + 2, found.value)


def _poison(code: bytearray, pc: int) -> None:
    """Make an instruction, or both halves of a long one, one that must not be reached."""
    slots = 2 if code[SLOT * pc] == _LD_IMM64 else 1
    for slot in range(pc, pc + slots):
        code[SLOT * slot : SLOT * (slot + 1)] = struct.pack("<BBhi", _CALL, 0, 0, POISON)
