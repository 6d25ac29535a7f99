"""Can this process create a BPF arena? Asked of the kernel directly, without the workbench."""

import ctypes
import os
import platform
import struct

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
BPF_MAP_CREATE = 0
BPF_MAP_TYPE_ARENA = 33
BPF_F_MMAPABLE = 1 << 10


def refusal() -> str:
    """Why bpf(2) does not give this process an arena of one page; "" where it does."""
    number = SYS_BPF.get(platform.machine())
    if number is None or platform.system() != "Linux":
        return f"no bpf(2) known for {platform.system()} on {platform.machine()}"
    # union bpf_attr for MAP_CREATE: type, key size, value size, entries, flags; the rest is 0.
    fields = struct.pack("=5I", BPF_MAP_TYPE_ARENA, 0, 0, 1, BPF_F_MMAPABLE)
    attributes = ctypes.create_string_buffer(fields, 128)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, BPF_MAP_CREATE, attributes, len(attributes))
    if fd < 0:
        return f"bpf(2) refused to create an arena: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return ""
