"""libbpf itself, through ctypes: what it makes of an object file, to compare with what we make."""

import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from workbench.bpf.isa import WIRE

_PROGRAM = ctypes.c_void_p


@cache
def library() -> ctypes.CDLL | None:
    """libbpf 1.x, quiet; None where it is not installed."""
    name = ctypes.util.find_library("bpf")
    if name is None or not name.endswith(".1"):
        return None
    found = ctypes.CDLL(name, use_errno=True)
    for function in ("open_mem", "next_program"):
        getattr(found, f"bpf_object__{function}").restype = ctypes.c_void_p
    found.bpf_program__insns.restype = ctypes.c_void_p
    found.bpf_program__insn_cnt.restype = ctypes.c_size_t
    found.bpf_program__name.restype = ctypes.c_char_p
    found.libbpf_set_print(None)
    return found


@contextmanager
def opened(content: bytes) -> Iterator[ctypes.c_void_p]:
    """An object opened by libbpf, not loaded."""
    bpf = library()
    assert bpf is not None
    buffer = ctypes.create_string_buffer(content, len(content))
    found = bpf.bpf_object__open_mem(buffer, ctypes.c_size_t(len(content)), None)
    if not found:
        raise OSError(ctypes.get_errno(), "libbpf cannot open the object")
    try:
        yield ctypes.c_void_p(found)
    finally:
        bpf.bpf_object__close(ctypes.c_void_p(found))


def loaded(content: bytes) -> dict[str, np.ndarray]:
    """Load an object with libbpf into the kernel: its programs as it sent them, wire records."""
    bpf = library()
    assert bpf is not None
    with opened(content) as found:
        if status := bpf.bpf_object__load(found):
            raise OSError(-status, "libbpf cannot load the object")
        return dict(_programs(bpf, found))


def _programs(bpf: ctypes.CDLL, found: ctypes.c_void_p) -> Iterator[tuple[str, np.ndarray]]:
    program = bpf.bpf_object__next_program(found, None)
    while program:
        held = ctypes.c_void_p(program)
        count = bpf.bpf_program__insn_cnt(held)
        code = ctypes.string_at(bpf.bpf_program__insns(held), 8 * count)
        yield bpf.bpf_program__name(held).decode(), np.frombuffer(code, WIRE)
        program = bpf.bpf_object__next_program(found, held)


def comparable(code: np.ndarray) -> np.ndarray:
    """Wire records without descriptors of maps and numbers of kfuncs, which differ each time."""
    code = code.copy()
    source = code["regs"] >> 4
    named = (code["opcode"] == 0x18) & np.isin(source, (1, 2)) | (
        (code["opcode"] == 0x85) & (source == 2)
    )
    code["imm"][named] = 0
    code["off"][named] = 0
    return code
