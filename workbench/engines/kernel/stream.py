"""What the kernel says of a program while it runs: its standard error.

Linux 6.17 and later report there why a program was stopped, 6.18 and later also each access to an
absent page of an arena. Reports are dropped where the kernel finds no memory for them. Source:
kernel/bpf/stream.c.
"""

import ctypes
from ctypes import addressof, c_uint32, c_uint64

from workbench.engines.kernel import syscall

PROG_STREAM_READ_BY_FD = 37
STDERR = 2
BYTES = 1 << 16


class StreamRead(ctypes.Structure):
    """Attributes of BPF_PROG_STREAM_READ_BY_FD."""

    _fields_ = [
        ("stream_buf", c_uint64),
        ("stream_buf_len", c_uint32),
        ("stream_id", c_uint32),
        ("prog_fd", c_uint32),
    ]


def read_stderr(program_fd: int) -> str:
    """Take all that is there, once; raises KernelError where the kernel has no such streams."""
    buffer, text = ctypes.create_string_buffer(BYTES), b""
    wanted = StreamRead(addressof(buffer), BYTES, STDERR, program_fd)
    while count := syscall.checked(PROG_STREAM_READ_BY_FD, wanted, "reading a program's stderr"):
        text += buffer.raw[:count]
    return text.decode(errors="replace")
