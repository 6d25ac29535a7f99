"""Names in the running kernel's BTF: which number a kfunc has, where a structure keeps a member.

The 130,000 types of /sys/kernel/btf/vmlinux are walked once per process (about 0.1 s), without
building an object per type. Source: Documentation/bpf/btf.rst, sections 2 and 3.
"""

import struct
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from workbench.errors import KernelError, Unsupported

PATH = Path("/sys/kernel/btf/vmlinux")
MAGIC = 0xEB9F
FUNC, STRUCT, UNION = 12, 4, 5

# 32-bit words after the three common ones: fixed, and per counted member (vlen).
_FIXED = {1: 1, 3: 3, 14: 1, 17: 1}
_PER_MEMBER = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}


class Vmlinux:
    """The types of one kernel image, as 32-bit words and the position of each type in them."""

    def __init__(self, content: bytes) -> None:
        magic, _, _, header = struct.unpack_from("<HBBI", content)
        if magic != MAGIC:
            raise KernelError("EINVAL", f"not little-endian BTF (magic {magic:#x})")
        types, type_bytes, strings, string_bytes = struct.unpack_from("<4I", content, 8)
        self.words = np.frombuffer(content, "<u4", type_bytes // 4, header + types)
        self.strings = content[header + strings : header + strings + string_bytes]

    @cached_property
    def starts(self) -> np.ndarray:
        """Position of each type's first word; type n is at index n - 1."""
        words, position, starts = self.words.tolist(), 0, []
        while position < len(words):
            starts.append(position)
            info = words[position + 1]
            kind = info >> 24 & 31
            position += 3 + _FIXED.get(kind, 0) + _PER_MEMBER.get(kind, 0) * (info & 0xFFFF)
        return np.array(starts, np.int64)

    def type_id(self, kind: int, name: str) -> int | None:
        """Return the number of the first type of this kind and name, or None."""
        offset = self.strings.find(b"\0" + name.encode() + b"\0") + 1
        if not offset:
            return None
        heads = self.words[self.starts], self.words[self.starts + 1] >> 24 & 31
        found = np.flatnonzero((heads[0] == offset) & (heads[1] == kind))
        return int(found[0]) + 1 if len(found) else None

    def members(self, structure: str) -> dict[str, tuple[int, int]]:
        """Map each member of a structure to its byte offset and type number."""
        number = self.type_id(STRUCT, structure)
        return {} if number is None else self._members_of(number)

    def _members_of(self, number: int) -> dict[str, tuple[int, int]]:
        start = int(self.starts[number - 1])
        count = int(self.words[start + 1]) & 0xFFFF
        rows = self.words[start + 3 : start + 3 + 3 * count].reshape(count, 3).tolist()
        return {self._string(name): ((offset & 0xFFFFFF) // 8, type) for name, type, offset in rows}

    def offset_of(self, structure: str, *path: str) -> int:
        """Return the byte offset of a member, given names through nested structures.

        Raises KernelError ENOENT when this kernel has no such structure or member.
        """
        members, total = self.members(structure), 0
        for name in path:
            if name not in members:
                raise KernelError("ENOENT", f"this kernel has no {structure}.{'.'.join(path)}")
            offset, type = members[name]
            total += offset
            members = self._nested(type)
        return total

    def _nested(self, number: int) -> dict[str, tuple[int, int]]:
        kind = int(self.words[self.starts[number - 1] + 1]) >> 24 & 31 if number else 0
        return self._members_of(number) if kind in (STRUCT, UNION) else {}

    def _string(self, offset: int) -> str:
        return self.strings[offset : self.strings.index(b"\0", offset)].decode()


@cache
def vmlinux() -> Vmlinux:
    """Read the running kernel's BTF, once per process; raises Unsupported where there is none."""
    try:
        return Vmlinux(PATH.read_bytes())
    except OSError as error:
        raise Unsupported(
            f"{PATH}: {error.strerror}; kfuncs need a kernel built with CONFIG_DEBUG_INFO_BTF"
        ) from None


@cache
def kfunc_id(name: str) -> int:
    """Return the BTF number by which a program calls the kfunc `name`.

    Raises KernelError ENOENT when this kernel has no such function.
    """
    number = vmlinux().type_id(FUNC, name)
    if number is None:
        raise KernelError(
            "ENOENT", f"this kernel has no kfunc {name}; `workbench doctor` lists what it has"
        )
    return number
