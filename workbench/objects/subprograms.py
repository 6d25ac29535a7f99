"""What BTF says of a program's functions: for verifiers, and as the BTF that Linux is given.

Source: kernel/bpf/btf.c, btf_prepare_func_args; libbpf's fixups of hidden functions.
"""

from collections.abc import Sequence
from typing import NamedTuple

from workbench.bpf.declarations import Subprogram
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.errors import WorkbenchError
from workbench.objects.btf import ENUMERATIONS, GLOBAL, STATIC, Kind, Type, Types
from workbench.objects.dereferenced import arena_arguments
from workbench.objects.values import c_name
from workbench.objects.writing import Numbers, kept, write_btf

_ARENA_TAG = "arg:arena"


class Described(NamedTuple):
    """A function of a program: its first slot, name, and the number of its BTF type (0: none)."""

    pc: int
    name: str
    is_global: bool
    type: int


def describe(
    types: Types, functions: Sequence[Described], code: bytes, program_type: str
) -> tuple[tuple[Subprogram, ...], bytes]:
    """Describe a program's functions, the first of which is the program itself.

    Returns also their types as BTF, in which hidden functions are static and parameters that a
    global function uses as arena pointers are tagged so; b"" if a function has no type. Raises
    WorkbenchError for a function whose BTF type is none of a function.
    """
    if not all(function.type for function in functions):
        rows = (Subprogram(f.pc, f.name) for f in functions)
        return tuple(rows), b""
    tags = [_tags(types, function) for function in functions]
    _tag_arenas(types, functions, tags, code)
    numbers = Numbers()
    found = tuple(
        _subprogram(types, function, tag, program_type, numbers(function.type))
        for function, tag in zip(functions, tags, strict=True)
    )
    return found, _btf(types, functions, tags, numbers)


Tags = dict[int, set[str]]  # component -> declaration tags


def _tags(types: Types, function: Described) -> Tags:
    """The declaration tags of a function, by parameter."""
    found: Tags = {}
    for number in types.of_kind(Kind.DECL_TAG):
        tag = types[number]
        if tag.target == function.type:
            found.setdefault(tag.component, set()).add(tag.name)
    return found


def _tag_arenas(
    types: Types, functions: Sequence[Described], tags: list[Tags], code: bytes
) -> None:
    """Add the tag that Linux wants on pointers into the arena, and that C has no word for."""
    used = arena_arguments(code, [function.pc for function in functions])
    for function, own, arguments in zip(functions, tags, used, strict=True):
        parameters = types.resolve(types[function.type].target).members
        for index, parameter in enumerate(parameters):
            pointer = types.resolve(parameter.type).kind == Kind.PTR
            if function.pc and function.is_global and pointer and index in arguments:
                own.setdefault(index, set()).add(_ARENA_TAG)


def _subprogram(
    types: Types, function: Described, tags: Tags, program_type: str, number: int
) -> Subprogram:
    prototype = types.resolve(types[function.type].target)
    arguments = tuple(
        _argument(types, parameter.type, tags.get(index, set()), program_type)
        for index, parameter in enumerate(prototype.members)
    )
    if function.pc == 0:
        arguments = ("ctx",) * len(arguments)
    return Subprogram(
        function.pc,
        function.name,
        bool(function.pc) and function.is_global,
        arguments,
        "scalar" if prototype.target else "void",
        number,
    )


def _argument(types: Types, number: int, tags: set[str], program_type: str) -> str:
    """The kind of one parameter, in the order in which Linux decides."""
    type = types.resolve(number)
    if type.kind in (Kind.INT, *ENUMERATIONS):
        return "scalar"
    if type.kind != Kind.PTR:
        return c_name(types, number)
    pointee = types.resolve(type.target)
    if "arg:ctx" in tags or _is_context(pointee, program_type):
        return "ctx"
    if _ARENA_TAG in tags:
        return "arena"
    size = types.size(type.target) if pointee.kind not in (Kind.VOID, Kind.FWD) else 0
    if not size:
        return c_name(types, number)
    return f"mem:{size}" if "arg:nonnull" in tags else f"mem_or_null:{size}"


def _is_context(pointee: Type, program_type: str) -> bool:
    context = PROGRAM_TYPES[program_type].context
    named = context is not None and pointee.name == context.name
    return named and pointee.kind == Kind.STRUCT


def _btf(types: Types, functions: Sequence[Described], tags: list[Tags], numbers: Numbers) -> bytes:
    """The types of functions, which come first, and all that they refer to."""
    found = kept(types, numbers)
    for index, function in enumerate(functions):
        linkage = GLOBAL if function.is_global else STATIC
        if found[index].kind != Kind.FUNC:
            raise WorkbenchError(f"BTF: the type of '{function.name}' is not that of a function")
        found[index] = found[index]._replace(extra=linkage)
        for component, names in sorted(tags[index].items()):
            for name in sorted(names):
                tag = Type(Kind.DECL_TAG, name, target=index + 1, extra=component)
                found.append(tag)
    return write_btf(found)
