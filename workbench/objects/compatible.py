"""Whether types of two BTFs are the same for CO-RE: fields, types that exist, types that match.

Source: libbpf's relo_core.c (bpf_core_fields_are_compat, bpf_core_types_are_compat,
bpf_core_types_match).
"""

from typing import NamedTuple

from workbench.objects.btf import COMPOSITE, ENUMERATIONS, Kind, Type, Types, essential

_DEPTH = 32  # of types that refer to types: libbpf's level
_ALONE = (Kind.VOID, *COMPOSITE, *ENUMERATIONS, Kind.FWD)


class Pair(NamedTuple):
    """A type of each side, with what is behind its typedefs and qualifiers."""

    one: Type
    other: Type


def _pair(local: Types, mine: int, target: Types, theirs: int) -> Pair:
    return Pair(local.resolve(mine), target.resolve(theirs))


def _same_kind(one: Type, other: Type) -> bool:
    both = one.kind in ENUMERATIONS and other.kind in ENUMERATIONS
    return both or one.kind == other.kind


def _plain_integers(pair: Pair) -> bool:
    """Neither is one of the old integers that begin inside a byte."""
    return not (pair.one.extra >> 16 & 0xFF or pair.other.extra >> 16 & 0xFF)


def compatible_fields(local: Types, mine: int, target: Types, theirs: int) -> bool:
    """Whether fields of these types can be read by the same code."""
    for _ in range(_DEPTH):
        pair = _pair(local, mine, target, theirs)
        if pair.one.kind in COMPOSITE and pair.other.kind in COMPOSITE:
            return True
        if not _same_kind(*pair):
            return False
        if pair.one.kind in (Kind.FWD, *ENUMERATIONS):
            names = [essential(type.name) for type in pair]
            return not all(names) or names[0] == names[1]
        if pair.one.kind == Kind.INT:
            return _plain_integers(pair)
        if pair.one.kind != Kind.ARRAY:
            return pair.one.kind in (Kind.PTR, Kind.FLOAT)
        mine, theirs = pair.one.target, pair.other.target
    return False


def compatible_types(
    local: Types, mine: int, target: Types, theirs: int, depth: int = _DEPTH
) -> bool:
    """Whether a type counts as there: its kind is the same all the way down to a name."""
    if not _same_kind(local[mine], target[theirs]):
        return False
    while depth > 0:
        depth -= 1
        pair = _pair(local, mine, target, theirs)
        if not _same_kind(*pair):
            return False
        if pair.one.kind in _ALONE:
            return True
        if pair.one.kind == Kind.INT:
            return _plain_integers(pair)
        if pair.one.kind == Kind.FUNC_PROTO:
            rows = list(zip(pair.one.members, pair.other.members, strict=False))
            if len(pair.one.members) != len(pair.other.members) or not all(
                compatible_types(local, local.strip(a.type), target, target.strip(b.type), depth)
                for a, b in rows
            ):
                return False
        elif pair.one.kind not in (Kind.PTR, Kind.ARRAY):
            return False
        mine, theirs = pair.one.target, pair.other.target
    return False


def matching_types(
    local: Types, mine: int, target: Types, theirs: int, behind: bool = False, depth: int = _DEPTH
) -> bool:
    """Whether a type has the same members, of the same types; `behind` a pointer names suffice."""
    while depth > 0:
        depth -= 1
        pair = _pair(local, mine, target, theirs)
        one, other = pair
        if not _same_name(one, other):
            return False
        if one.kind == Kind.FWD or (behind and one.kind in COMPOSITE):
            return _declared_alike(one, other, behind)
        if one.kind in ENUMERATIONS:
            return other.kind in ENUMERATIONS and _enumerators_match(one, other)
        if one.kind != other.kind:
            return False
        if one.kind in COMPOSITE:
            return _members_match(local, one, target, other, behind, depth)
        if one.kind == Kind.INT:
            return one.size == other.size and one.signed == other.signed
        if one.kind == Kind.FUNC_PROTO and not _parameters_match(
            local, one, target, other, behind, depth
        ):
            return False
        if one.kind == Kind.ARRAY and one.length != other.length:
            return False
        if one.kind not in (Kind.PTR, Kind.ARRAY, Kind.FUNC_PROTO):
            return one.kind == Kind.VOID
        behind |= one.kind == Kind.PTR
        mine, theirs = one.target, other.target
    return False


def _same_name(one: Type, other: Type) -> bool:
    return essential(one.name) == essential(other.name)


def _declared_alike(one: Type, other: Type, behind: bool) -> bool:
    """A declaration without members stands for the structure or union of its name."""

    def is_union(type: Type) -> bool:
        return type.flag if type.kind == Kind.FWD else type.kind == Kind.UNION

    declared = (Kind.FWD, *COMPOSITE) if behind else (Kind.FWD,)
    return other.kind in declared and is_union(one) == is_union(other)


def _enumerators_match(one: Type, other: Type) -> bool:
    names = {essential(member.name) for member in other.members}
    return len(one.members) <= len(other.members) and all(
        essential(member.name) in names for member in one.members
    )


def _members_match(
    local: Types, one: Type, target: Types, other: Type, behind: bool, depth: int
) -> bool:
    return len(one.members) <= len(other.members) and all(
        any(
            essential(mine.name) == essential(theirs.name)
            and matching_types(local, mine.type, target, theirs.type, behind, depth)
            for theirs in other.members
        )
        for mine in one.members
    )


def _parameters_match(
    local: Types, one: Type, target: Types, other: Type, behind: bool, depth: int
) -> bool:
    return len(one.members) == len(other.members) and all(
        matching_types(local, a.type, target, b.type, behind, depth)
        for a, b in zip(one.members, other.members, strict=True)
    )
