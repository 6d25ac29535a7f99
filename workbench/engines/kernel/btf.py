"""Names in the running kernel's BTF: which number a kfunc has, where a structure keeps a member."""

from functools import cache

from workbench.bpf.functions import near
from workbench.errors import KernelError, Unsupported, WorkbenchError
from workbench.objects.btf import COMPOSITE, Kind, Types
from workbench.objects.core import VMLINUX
from workbench.objects.core import vmlinux as running


@cache
def vmlinux() -> Types:
    """The running kernel's types, read once per process; raises Unsupported where it has none."""
    types = running()
    if types is None:
        raise Unsupported(
            f"{VMLINUX} cannot be read; kfuncs need a kernel built with CONFIG_DEBUG_INFO_BTF"
        )
    return types


def members(structure: str) -> dict[str, tuple[int, int]]:
    """Map each member of a structure to its byte offset and type number; empty without it."""
    found = vmlinux().called(structure, Kind.STRUCT)
    return _members(found[0]) if found else {}


def _members(number: int) -> dict[str, tuple[int, int]]:
    type = vmlinux()[number]
    if type.kind not in COMPOSITE:
        return {}
    return {member.name: (member.bit_offset // 8, member.type) for member in type.members}


def offset_of(structure: str, *path: str) -> int:
    """Return the byte offset of a member, given names through nested structures.

    Raises KernelError ENOENT when this kernel has no such structure or member, Unsupported where it
    has no BTF.
    """
    level, total = members(structure), 0
    for name in path:
        if name not in level:
            raise KernelError("ENOENT", f"this kernel has no {structure}.{'.'.join(path)}")
        offset, type = level[name]
        total += offset
        level = _members(type)
    return total


@cache
def kfunc_id(name: str) -> int:
    """Return the BTF number by which a program calls the kfunc `name`.

    Raises KernelError ENOENT when this kernel has no such function, EINVAL when its BTF cannot be
    read, Unsupported where it has none.
    """
    try:
        found = vmlinux().called(name, Kind.FUNC)
    except Unsupported:
        raise
    except WorkbenchError as error:
        raise KernelError("EINVAL", f"{VMLINUX}: {error}") from None
    if not found:
        raise KernelError("ENOENT", f"this kernel has no kfunc {name}; {near(name)}")
    return found[0]
