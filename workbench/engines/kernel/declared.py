"""BPF_MAP_CREATE for a map as declared; one with a lock gets the BTF that says so."""

import re
import struct
from contextlib import ExitStack

from workbench.bpf.declarations import MapDefinition
from workbench.bpf.map_types import MAP_TYPES
from workbench.engines.kernel.attributes import MapCreate
from workbench.engines.kernel.syscall import (
    MAP_CREATE,
    Descriptor,
    checked,
    load_btf,
)

_INT, _STRUCT = 1, 4


def made(declared: MapDefinition) -> Descriptor:
    """Make one map; of a map of maps also, for the time of the call, the pattern of its inner.

    Raises KernelError with the errno's name for what Linux refuses.
    """
    attributes = MapCreate(
        map_type=MAP_TYPES.get(declared.type, 0),
        key_size=declared.key_size,
        value_size=declared.value_size,
        max_entries=declared.max_entries,
        map_flags=declared.map_flags,
        map_extra=declared.map_extra,
        map_name=_object_name(declared.name),
    )
    with ExitStack() as stack:
        if declared.inner is not None:
            attributes.inner_map_fd = stack.enter_context(made(declared.inner)).fileno()
        if declared.lock >= 0:
            attributes.btf_fd = stack.enter_context(load_btf(_btf(declared))).fileno()
            attributes.btf_key_type_id, attributes.btf_value_type_id = 1, 3
        return Descriptor(checked(MAP_CREATE, attributes, f"creating map '{declared.name}'"))


def _object_name(name: str) -> bytes:
    """A name with the characters that the kernel allows, cut to its length."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name).encode()[:15]


def _btf(declared: MapDefinition) -> bytes:
    """Three types: the key, struct bpf_spin_lock, and the value that has one."""
    names = b"\0u32\0bpf_spin_lock\0val\0value\0lock\0"
    at = {name: names.index(b"\0" + name + b"\0") + 1 for name in
          (b"u32", b"bpf_spin_lock", b"val", b"value", b"lock")}  # fmt: skip
    types = struct.pack("<4I", at[b"u32"], _INT << 24, 4, 32)
    types += struct.pack("<6I", at[b"bpf_spin_lock"], _STRUCT << 24 | 1, 4, at[b"val"], 1, 0)
    member = at[b"lock"], 2, 8 * declared.lock
    types += struct.pack("<6I", at[b"value"], _STRUCT << 24 | 1, declared.value_size, *member)
    header = struct.pack("<HBBI4I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
    return header + types + names
