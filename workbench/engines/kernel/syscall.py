"""bpf(2) and nothing else: one function per command.

Every function takes and returns plain values or a `Descriptor`, and raises `KernelError` with the
errno's name.
"""

import ctypes
import errno
import os
import platform
import time
from ctypes import addressof, c_uint32, c_uint64, sizeof
from dataclasses import dataclass
from typing import NamedTuple

from workbench.engines.kernel.attributes import (
    BtfLoad,
    EnableStats,
    MapCreate,
    MapFd,
    ObjectInfo,
    ProgInfo,
    ProgLoad,
)
from workbench.errors import KernelError, errno_name

NUMBER = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}

MAP_CREATE = 0
PROG_LOAD = 5
PROG_TEST_RUN = 10
OBJ_GET_INFO_BY_FD = 15
BTF_LOAD = 18
MAP_FREEZE = 22
ENABLE_STATS = 32

LOG_BYTES = 1 << 16  # of a first log, doubled until it fits; not measured
LOG_LIMIT = (1 << 30) - 1  # UINT_MAX >> 2: Linux refuses a larger buffer with EINVAL
LOAD_ATTEMPTS = 10  # bounds how often signals may undo the verifier's work; not measured

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class Descriptor:
    """A file descriptor that is closed once: by `close`, by `with`, or when nobody holds it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return the number; raises KernelError EBADF after `close`."""
        if self._number < 0:
            raise KernelError("EBADF", "this kernel object was closed")
        return self._number

    @property
    def closed(self) -> bool:
        """True once the descriptor has been given back."""
        return self._number < 0

    def close(self) -> None:
        """Give the descriptor back; further calls do nothing."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def __enter__(self) -> "Descriptor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def bpf(command: int, attributes: ctypes.Structure) -> int:
    """Call bpf(2) once; returns its result or the negated errno.

    Raises KernelError ENOSYS on a system or a processor whose call number is not known.
    """
    number = NUMBER.get(platform.machine())
    if number is None or platform.system() != "Linux":
        raise KernelError(
            "ENOSYS",
            f"no bpf(2) is known for {platform.system()} on "
            f"{platform.machine()}; the kernel engine needs Linux",
        )
    result = _syscall(number, command, ctypes.byref(attributes), sizeof(attributes))
    return result if result >= 0 else -ctypes.get_errno()


def checked(command: int, attributes: ctypes.Structure, what: str) -> int:
    """Call bpf(2), again if a signal came first; raises KernelError saying `what` failed."""
    result = bpf(command, attributes)
    while result == -errno.EINTR:  # Python's signal handlers run between two calls (PEP 475)
        result = bpf(command, attributes)
    if result < 0:
        raise KernelError(errno_name(-result), f"{what}: {explain(-result)}")
    return result


def explain(number: int) -> str:
    """Say what an errno of bpf(2) usually means and what to try."""
    cures = {
        errno.EPERM: "not permitted; run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
        errno.ENOMEM: "out of memory; before Linux 5.11 raise `ulimit -l` (memlock)",
        errno.ENOSYS: "this kernel was built without bpf(2)",
        errno.EMFILE: "too many open files; close engines and arenas, or raise `ulimit -n`",
        errno.E2BIG: "too large",
        errno.EOPNOTSUPP: "not supported; an arena needs a JIT (net.core.bpf_jit_enable=1)",
    }
    return cures.get(number, os.strerror(number))


def create_map(
    map_type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    extra: int = 0,
    name: str = "",
) -> Descriptor:
    """Create a map; `extra` is map_extra, for an arena its first user address.

    Raises KernelError with the errno's name.
    """
    attributes = MapCreate(
        map_type=map_type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        map_flags=flags,
        map_extra=extra,
        map_name=name.encode()[:15],
    )
    return Descriptor(checked(MAP_CREATE, attributes, "creating a map"))


def freeze_map(map_fd: int) -> None:
    """Forbid further changes of the map through system calls and writable mappings."""
    checked(MAP_FREEZE, MapFd(map_fd=map_fd), "freezing a map")


class Loaded(NamedTuple):
    """What BPF_PROG_LOAD gave: a descriptor or an errno, with the verifier's whole log."""

    descriptor: Descriptor | None
    errno: int
    log: str
    seconds: float


@dataclass(frozen=True)
class DebugInfo:
    """BTF of a program with its function and line records, as raw bytes (ext_info layouts)."""

    btf: bytes
    functions: bytes  # {u32 first slot, u32 type id} each
    lines: bytes  # {u32 slot, u32 file, u32 text, u32 line << 10 | column} each


def load_program(
    program_type: int,
    bytecode: bytes,
    license: str = "GPL",
    name: str = "",
    flags: int = 0,
    log_level: int = 1,
    debug: DebugInfo | None = None,
    attach: int = 0,
) -> Loaded:
    """Load a program without running it; a refusal is a value, not an error.

    `attach` is the number of enum bpf_attach_type that some types of program are loaded for. The
    log is never cut short: the buffer grows until the verifier's text fits.
    """
    holder = _load_attributes(program_type, bytecode, license, name, flags)
    holder.attributes.expected_attach_type = attach
    if debug is None:
        return _load_grown(holder, log_level)
    with load_btf(debug.btf) as btf:
        _add_debug(holder, btf.fileno(), debug)
        return _load_grown(holder, log_level)


class _Load(NamedTuple):
    """A load request and the buffers that it points into."""

    attributes: ProgLoad
    buffers: list[object]


def _pointer(buffers: list[object], content: bytes) -> int:
    """Keep `content` alive in `buffers` and return its address."""
    buffer = ctypes.create_string_buffer(content, max(len(content), 1))
    buffers.append(buffer)
    return addressof(buffer)


def _load_attributes(
    program_type: int, bytecode: bytes, license: str, name: str, flags: int
) -> _Load:
    """Fill the attributes that every load needs."""
    buffers: list[object] = []
    attributes = ProgLoad(
        prog_type=program_type,
        insn_cnt=len(bytecode) // 8,
        insns=_pointer(buffers, bytecode),
        prog_flags=flags,
        license=_pointer(buffers, license.encode() + b"\0"),
        prog_name=_object_name(name),
    )
    return _Load(attributes, buffers)


def _object_name(name: str) -> bytes:
    """Keep what the kernel allows in an object name: letters, digits, `_` and `.`."""
    allowed = "".join(c for c in name if c.isascii() and (c.isalnum() or c in "_."))
    return allowed.encode()[:15]


def _add_debug(load: _Load, btf_fd: int, debug: DebugInfo) -> None:
    """Attach BTF, function and line records to a load request."""
    attributes = load.attributes
    attributes.prog_btf_fd = btf_fd
    attributes.func_info_rec_size, attributes.line_info_rec_size = 8, 16
    attributes.func_info_cnt = len(debug.functions) // 8
    attributes.func_info = _pointer(load.buffers, debug.functions)
    attributes.line_info_cnt = len(debug.lines) // 16
    if debug.lines:
        attributes.line_info = _pointer(load.buffers, debug.lines)


def _load_grown(load: _Load, log_level: int) -> Loaded:
    """Load, with a larger log buffer whenever the log did not fit."""
    size = LOG_BYTES
    while True:
        loaded, true_size = _load_once(load.attributes, log_level, size)
        fits = loaded.errno != errno.ENOSPC and true_size <= size
        if log_level == 0 or fits or size >= LOG_LIMIT:
            return loaded
        if loaded.descriptor is not None:
            loaded.descriptor.close()
        size = min(max(2 * size, true_size), LOG_LIMIT)


def _load_once(attributes: ProgLoad, log_level: int, size: int) -> tuple[Loaded, int]:
    """Load with a log buffer of `size` bytes; returns also the size that the log would need."""
    if log_level:
        buffer = ctypes.create_string_buffer(size)
        attributes.log_level, attributes.log_size = log_level, size
        attributes.log_buf = addressof(buffer)
    start = time.perf_counter()
    for _ in range(LOAD_ATTEMPTS):  # EAGAIN: a signal arrived while the verifier was at work
        result = bpf(PROG_LOAD, attributes)
        if result not in (-errno.EAGAIN, -errno.EINTR):
            break
    descriptor = Descriptor(result) if result >= 0 else None
    seconds = time.perf_counter() - start
    log = buffer.value.decode(errors="replace") if log_level else ""
    return Loaded(descriptor, max(-result, 0), log, seconds), attributes.log_true_size


def load_btf(content: bytes) -> Descriptor:
    """Load BTF; raises KernelError with the kernel's explanation."""
    data = ctypes.create_string_buffer(content, len(content))
    log = ctypes.create_string_buffer(LOG_BYTES)
    attributes = BtfLoad(
        btf=addressof(data),
        btf_size=len(content),
        btf_log_buf=addressof(log),
        btf_log_size=LOG_BYTES,
        btf_log_level=1,
    )
    result = bpf(BTF_LOAD, attributes)
    if result < 0:
        detail = log.value.decode(errors="replace").strip()
        raise KernelError(errno_name(-result), f"loading BTF: {detail or explain(-result)}")
    return Descriptor(result)


def enable_stats() -> Descriptor:
    """Count run time and runs of all programs for as long as the descriptor is open."""
    return Descriptor(checked(ENABLE_STATS, EnableStats(type=0), "enabling run-time statistics"))


def program_info(program_fd: int) -> ProgInfo:
    """Return the numbers of a loaded program: lengths, run time, verified instructions."""
    info = ProgInfo()
    _fill_info(program_fd, info)
    return info


def _fill_info(program_fd: int, info: ProgInfo) -> None:
    """Let the kernel fill `info` and the buffers that it points to."""
    attributes = ObjectInfo(bpf_fd=program_fd, info_len=sizeof(info), info=addressof(info))
    checked(OBJ_GET_INFO_BY_FD, attributes, "reading what the kernel knows of a program")


def xlated(program_fd: int) -> bytes:
    """Return the program as the verifier rewrote it, in wire form.

    Raises KernelError EPERM where the kernel hides it.
    """
    info = program_info(program_fd)
    buffer = ctypes.create_string_buffer(max(info.xlated_prog_len, 1))
    wanted = ProgInfo(xlated_prog_len=info.xlated_prog_len, xlated_prog_insns=addressof(buffer))
    _fill_info(program_fd, wanted)
    if not wanted.xlated_prog_insns:
        raise KernelError(
            "EPERM",
            "the kernel hides xlated code (needs CAP_PERFMON or "
            "CAP_SYS_ADMIN, and kernel.kptr_restrict=0)",
        )
    return buffer.raw[: info.xlated_prog_len]


class Native(NamedTuple):
    """Machine code of a program: one address and length per function, and line addresses."""

    code: bytes
    addresses: tuple[int, ...]
    lengths: tuple[int, ...]
    lines: tuple[tuple[int, int], ...]  # (BPF slot, address), when loaded with line records


def jited(program_fd: int) -> Native:
    """Return the machine code that the kernel's JIT wrote for a program.

    Raises KernelError EPERM where the kernel gives none.
    """
    info = program_info(program_fd)
    functions, line_count = info.nr_jited_func_lens, info.nr_jited_line_info
    code = ctypes.create_string_buffer(max(info.jited_prog_len, 1))
    symbols, lengths = (c_uint64 * functions)(), (c_uint32 * functions)()
    records, lines = (c_uint32 * (4 * line_count))(), (c_uint64 * line_count)()
    wanted = ProgInfo(
        jited_prog_len=info.jited_prog_len,
        jited_prog_insns=addressof(code),
        nr_jited_ksyms=functions,
        jited_ksyms=addressof(symbols),
        nr_jited_func_lens=functions,
        jited_func_lens=addressof(lengths),
    )
    if line_count:
        wanted.nr_line_info, wanted.line_info_rec_size = line_count, 16
        wanted.line_info = addressof(records)
        wanted.nr_jited_line_info, wanted.jited_line_info_rec_size = line_count, 8
        wanted.jited_line_info = addressof(lines)
    _fill_info(program_fd, wanted)
    if not wanted.jited_prog_len or not wanted.jited_prog_insns:
        raise KernelError(
            "EPERM",
            "the kernel gives no machine code: its JIT is off, or kernel.kptr_restrict hides it",
        )
    # Linux moves the slot (word 0) as it inserts instructions; the line number (word 3) stays.
    pairs = tuple(((records[4 * i + 3] >> 10) - 1, lines[i]) for i in range(line_count))
    return Native(code.raw[: info.jited_prog_len], tuple(symbols), tuple(lengths), pairs)
