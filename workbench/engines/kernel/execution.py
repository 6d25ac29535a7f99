"""One test run of a loaded program: never attached, started by BPF_PROG_TEST_RUN alone."""

import ctypes
import errno
import time
from ctypes import addressof
from typing import NamedTuple

from workbench.bpf.addresses import ETHERNET
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.engines.kernel.attributes import TestRun
from workbench.engines.kernel.syscall import (
    PROG_TEST_RUN,
    bpf,
    explain,
)
from workbench.errors import KernelError, errno_name

LONGEST_CONTEXT = 0xFFFF  # bpf_prog_test_run_syscall takes no more
PACKET_GROWTH = 1024  # bytes by which a program may make its packet longer; not measured


class Ran(NamedTuple):
    """Outcome of a test run: low half of r0, context or packet after it, seconds per run."""

    r0: int
    output: bytes
    seconds: float


def execute(descriptor: int, type: str, content: bytes, repeat: int = 1) -> Ran:
    """Run a loaded program once, or a packet program `repeat` times, on `content`.

    The kernel returns the low 32 bits of r0. Seconds are the kernel's own mean for packet
    programs (to 1 ns) and the wall time of the call for others. Raises KernelError.
    """
    if PROGRAM_TYPES[type].takes_packet:
        return _run_packet(descriptor, content, repeat)
    if repeat != 1:
        raise KernelError(
            "EINVAL",
            f"a {type} program runs once per call; only packet programs repeat in the kernel",
        )
    return _run_context(descriptor, type, content)


def _run_context(descriptor: int, type: str, content: bytes) -> Ran:
    if len(content) > LONGEST_CONTEXT:
        raise KernelError(
            "EINVAL", f"a context has at most {LONGEST_CONTEXT} bytes, not {len(content)}"
        )
    context = ctypes.create_string_buffer(content, max(len(content), 1))
    request = TestRun(
        prog_fd=descriptor, ctx_size_in=len(content), ctx_in=addressof(context) if content else 0
    )
    start = time.perf_counter_ns()
    _call(request, f"a context of {len(content)} bytes may be shorter than what the program reads")
    seconds = (time.perf_counter_ns() - start) * 1e-9
    return Ran(request.retval, context.raw[: len(content)], seconds)


def _run_packet(descriptor: int, content: bytes, repeat: int) -> Ran:
    if len(content) < ETHERNET:
        raise KernelError(
            "EINVAL",
            f"a packet has at least {ETHERNET} bytes (its Ethernet "
            f"header), not {len(content)}; pass ctx=bytes(64)",
        )
    packet = ctypes.create_string_buffer(content, len(content))
    output = ctypes.create_string_buffer(len(content) + PACKET_GROWTH)
    request = TestRun(
        prog_fd=descriptor,
        data_in=addressof(packet),
        data_size_in=len(content),
        data_out=addressof(output),
        data_size_out=len(output),
        repeat=repeat,
    )
    _call(request, f"the kernel does not take a packet of {len(content)} bytes")
    return Ran(request.retval, output.raw[: request.data_size_out], request.duration * 1e-9)


def _call(request: TestRun, invalid: str) -> None:
    """Start a run; a signal between repeats is an error, since part of them has happened."""
    result = bpf(PROG_TEST_RUN, request)
    if result == -errno.EINTR:
        raise KernelError("EINTR", "a signal ended the run; some of its repeats have happened")
    if result < 0:
        detail = invalid if result == -errno.EINVAL else explain(-result)
        raise KernelError(errno_name(-result), f"running the program: {detail}")
