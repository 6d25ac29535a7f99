"""A program's standard output and error, into which it prints, and the kernel about it.

Linux 6.17 and later report on the latter why a program was stopped, 6.18 and later also each access
to an absent page of an arena. Texts are dropped where the kernel finds no memory for them. Source:
kernel/bpf/stream.c.
"""

import ctypes
from ctypes import addressof, c_uint32, c_uint64

from workbench.engines.kernel import syscall

PROG_STREAM_READ_BY_FD = 37
STDOUT, STDERR = 1, 2
BYTES = 1 << 16  # of one read, repeated until nothing is left; not measured


class StreamRead(ctypes.Structure):
    """Attributes of BPF_PROG_STREAM_READ_BY_FD."""

    _fields_ = [
        ("stream_buf", c_uint64),
        ("stream_buf_len", c_uint32),
        ("stream_id", c_uint32),
        ("prog_fd", c_uint32),
    ]


def read_stream(program_fd: int, stream: int) -> str:
    """Take the text of STDOUT or STDERR that no one has taken yet.

    Raises KernelError where the kernel has no such streams: before Linux 6.17.
    """
    buffer, text = ctypes.create_string_buffer(BYTES), b""
    wanted = StreamRead(addressof(buffer), BYTES, stream, program_fd)
    while count := syscall.checked(PROG_STREAM_READ_BY_FD, wanted, "reading a program's stream"):
        text += buffer.raw[:count]
    return text.decode(errors="replace")
