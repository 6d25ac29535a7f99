"""The Linux side of the rows: every row runs in a forked child with a map of its own.

Calls may overwrite mappings (MAP_FIXED) and touches may end the process, so nothing of a row
happens in the test's own process.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

import workbench as wb
from support.row_machines import (
    LOAD,
    PROTECTIONS,
    STORE,
    Machine,
    flags_of,
    program_of,
    shortened,
)
from support.rows import PAGE, Line, Row, answers, rewritten
from workbench.arena.mapping import Advice, MapFlags, RemapFlags, SyncFlags
from workbench.arena.rules import ArenaFlags
from workbench.bpf.map_types import MapType
from workbench.bpf.program import Program
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.engines.kernel import attributes, memory, syscall
from workbench.engines.kernel.execution import execute
from workbench.engines.kernel.loading import read_log
from workbench.engines.kernel.service import SLEEPABLE, Service, bind
from workbench.engines.kernel.xlated import listing, normalise
from workbench.errors import KernelError, SegmentationFault, VerificationError, errno_name

ANONYMOUS = 0x20
SIGSEGV, SA_SIGINFO = 11, 4
MAPERR, ACCERR = 1, 2
CAPABILITIES = {"none": (), "bpf": (39,), "perfmon": (38,), "bpf perfmon": (38, 39)}
OPERATIONS = {
    "lookup": 1,
    "update": 2,
    "delete": 3,
    "get_next_key": 4,
    "lookup_and_delete": 21,
    "lookup_batch": 24,
    "lookup_and_delete_batch": 25,
    "update_batch": 26,
    "delete_batch": 27,
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mremap.restype = ctypes.c_void_p


class Element(ctypes.Structure):
    """Attributes of the BPF_MAP_*_ELEM commands."""

    _fields_ = [
        ("map_fd", ctypes.c_uint64),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class Batch(ctypes.Structure):
    """Attributes of the BPF_MAP_*_BATCH commands."""

    _fields_ = [
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


def linux(row: Row) -> str:
    """Carry out a row on the running kernel, in a child process; returns its answer."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(row, writer)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    status = os.waitpid(child, 0)[1]
    ending = f"ended by signal {os.WTERMSIG(status)}\n" if os.WIFSIGNALED(status) else ""
    return (text + ending).removesuffix("\n")


def _child(row: Row, writer: int) -> None:
    """Answer line by line into the pipe, and end the process whatever happens."""
    try:
        if "capabilities" in row.table:
            drop_capabilities(row.table["capabilities"])
        machine = KernelMachine(row, writer)
        for text in answers(row, machine):
            os.write(writer, (text + "\n").encode())
    except BaseException as error:
        os.write(writer, f"{type(error).__name__}: {error}\n".encode())
    os._exit(0)


def drop_capabilities(kept: str) -> None:
    """Give up every capability but those named, for the rest of this process's life."""
    bits = sum(1 << number for number in CAPABILITIES[kept])
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    low, high = bits & 0xFFFFFFFF, bits >> 32
    sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _checked(_libc.capset(header, sets))


def _checked(result: int) -> int:
    """A C function's result; raises KernelError where it says -1."""
    if result in (-1, (1 << 64) - 1):
        raise KernelError(errno.errorcode[ctypes.get_errno()], os.strerror(ctypes.get_errno()))
    return result


class KernelMachine(Machine):
    """The calls of a script made for real. `start` is the arena's user address once known."""

    def __init__(self, row: Row, writer: int) -> None:
        super().__init__(row)
        self.writer = writer
        self.line: Line | None = None
        self.start = self.base
        if row.kind in ("create", "operation"):
            return
        self.map = syscall.create_map(
            MapType.ARENA, 0, 0, self.pages, int(self.flags), self.base, "arena"
        )
        self.service = Service(self.map)
        self.maps: dict[str, syscall.Descriptor] = {}
        self.mapped_bytes = 0
        if self.mapped:
            fixed = ["shared", "fixed_noreplace"] if self.base else ["shared"]
            self.mmap(self.mapped * PAGE, self.base, "rw", fixed, 0)

    # kinds of rows

    def create(self, row: Row) -> None:
        asked = dict(row.table.get("create", {}))
        fields = {"name": "map_name", "ifindex": "map_ifindex"}
        asked["map_flags"] = int(flags_of(asked.get("map_flags", "mmapable"), ArenaFlags))
        values = {
            fields.get(name, name): value.encode() if isinstance(value, str) else value
            for name, value in asked.items()
        }
        usual = {"map_type": MapType.ARENA, "max_entries": 1}
        request = attributes.MapCreate(**{**usual, **values})
        os.close(syscall.checked(syscall.MAP_CREATE, request, "creating a map"))

    def operation(self, row: Row) -> None:
        table = row.table
        key = ctypes.addressof(ctypes.create_string_buffer(8)) if table.get("key") else 0
        arena = syscall.create_map(MapType.ARENA, 0, 0, 1, int(self.flags))
        if table.get("frozen"):
            syscall.freeze_map(arena.fileno())
        number = OPERATIONS[table["operation"]]
        request: ctypes.Structure = Element(arena.fileno(), key)
        if table["operation"].endswith("batch"):
            request = Batch(count=1, map_fd=arena.fileno())
        syscall.checked(number, request, "an operation")

    def verdict(self, row: Row) -> str:
        loaded = self.loaded_bytes(row) if "bytecode" in row.table else self.loaded(program_of(row))
        refusal = read_log(loaded.log)
        pc, reason = refusal.pc, refusal.reason or errno_name(loaded.errno)
        return shortened(loaded.descriptor is not None, pc, reason, row, "kernel")

    def xlated(self, row: Row) -> str:
        loaded = self.loaded(program_of(row))
        if loaded.descriptor is None:
            raise VerificationError(-1, read_log(loaded.log).reason)
        code = syscall.xlated(loaded.descriptor.fileno())
        if "raw" in row.table:
            return code[8 * row.table["raw"] :][:8].hex(" ")
        return "\n".join(text for text in listing(normalise(code)) if text)

    def loaded(self, program: Program) -> syscall.Loaded:
        """Load a program with the row's maps."""
        kind = program.type_row
        flags = SLEEPABLE if kind.sleepable and self.row.table.get("sleepable", True) else 0
        code = bind(program, self.descriptors())
        return syscall.load_program(kind.number, code, program.license, "row", flags)

    def loaded_bytes(self, row: Row) -> syscall.Loaded:
        """Load bytes, which need not be instructions, with references to maps."""
        code = bytearray.fromhex(row.table["bytecode"])
        for pc, _, name in row.table["references"]:
            struct.pack_into("<i", code, 8 * pc + 4, self.descriptors()[name])
        number = PROGRAM_TYPES["syscall"].number
        return syscall.load_program(number, bytes(code), flags=SLEEPABLE)

    def descriptors(self) -> dict[str, int]:
        """Maps by name: the arena, and the others of the row, which are made when first needed."""
        for name, kind in self.row.table.get("maps", {}).items():
            self.maps.setdefault(name, self.other_map(kind))
        return {"arena": self.map.fileno(), **{n: m.fileno() for n, m in self.maps.items()}}

    def other_map(self, kind: str) -> syscall.Descriptor:
        if kind == "arena":
            elsewhere = self.base + (1 << 33)
            return syscall.create_map(MapType.ARENA, 0, 0, 1, int(self.flags), elsewhere)
        return syscall.create_map(MapType.ARRAY, 4, 8, 1)

    # the user's mapping

    def mmap(self, length: int, address: int, prot: str, flags: list[str], offset: int) -> int:
        number, protection = int(flags_of(flags, MapFlags)), int(PROTECTIONS[prot])
        at = memory.map_memory(self.map.fileno(), address, length, protection, number, offset)
        self.start = self.start or at
        self.mapped_bytes = self.mapped_bytes or -(-length // PAGE) * PAGE
        return at

    def map_other(self, address: int, length: int) -> int:
        flags = int(MapFlags.PRIVATE | MapFlags.FIXED) | ANONYMOUS
        return memory.map_memory(-1, address, length, 3, flags)

    def munmap(self, address: int, length: int) -> None:
        memory.unmap_memory(address, length)

    def mprotect(self, address: int, length: int, prot: str) -> None:
        _checked(_libc.mprotect(*_range(address, length), int(PROTECTIONS[prot])))

    def madvise(self, address: int, length: int, advice: str) -> None:
        _checked(_libc.madvise(*_range(address, length), int(Advice[advice.upper()])))

    def mremap(self, address: int, old: int, new: int, to: int, flags: list[str]) -> int:
        sizes = ctypes.c_size_t(old), ctypes.c_size_t(new)
        number = int(flags_of(flags, RemapFlags))
        return _checked(_libc.mremap(ctypes.c_void_p(address), *sizes, number, ctypes.c_void_p(to)))

    def msync(self, address: int, length: int, flags: list[str]) -> None:
        _checked(_libc.msync(*_range(address, length), int(flags_of(flags, SyncFlags))))

    def mlock(self, address: int, length: int) -> None:
        _checked(_libc.mlock(*_range(address, length)))

    def munlock(self, address: int, length: int) -> None:
        _checked(_libc.munlock(*_range(address, length)))

    def freeze(self) -> None:
        syscall.freeze_map(self.map.fileno())

    def fork(self) -> None:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            os._exit(0)

    # the user's touches

    def load(self, address: int, kind: str) -> int:
        size = int(kind[1:]) // 8
        return int.from_bytes(memory.read_user(address, size), "little", signed=kind[0] == "s")

    def store(self, address: int, value: int, kind: str) -> None:
        size = int(kind[1:]) // 8
        memory.write_user(address, (value % (1 << 8 * size)).to_bytes(size, "little"))

    def touch(self, access: str, address: int) -> None:
        """A real touch; where it is SIGSEGV, the handler reports it and ends this process."""
        handler = _Handler(self._segv(address))
        action = ctypes.create_string_buffer(152)  # struct sigaction: handler, mask, flags
        struct.pack_into("<Q", action, 0, ctypes.cast(handler, ctypes.c_void_p).value)
        struct.pack_into("<i", action, 136, SA_SIGINFO)
        _checked(_libc.sigaction(SIGSEGV, action, None))
        if access == "store":
            ctypes.memset(address, 0, 1)
        else:
            ctypes.string_at(address, 1)

    def _segv(self, address: int) -> Callable[[int, int, int], None]:
        def report(number: int, info: int, context: int) -> None:
            siginfo = ctypes.string_at(info, 24)  # int signo, errno, code; pad; void *addr
            code, at = struct.unpack_from("<i4xQ", siginfo, 8)
            seen = {MAPERR: "MAPERR", ACCERR: "ACCERR"}.get(code, f"code {code}")
            seen += "" if at == address else f" at {at:#x}"
            assert self.line is not None
            text = self.line.text if seen == self.line.wanted else rewritten(self.line, seen)
            os.write(self.writer, (text + "\n").encode())
            os._exit(0)

        return report

    def sys_write(self, address: int, count: int) -> int:
        writer = os.pipe()[1]
        return _checked(_libc.write(writer, ctypes.c_void_p(address), count))

    def sys_read(self, address: int, count: int) -> int:
        reader, writer = os.pipe()
        os.write(writer, bytes(count))
        return _checked(_libc.read(reader, ctypes.c_void_p(address), count))

    def mem(self, address: int) -> int:
        descriptor = os.open("/proc/self/mem", os.O_RDWR)
        try:
            return int.from_bytes(os.pread(descriptor, 8, address), "little")
        except OSError as error:
            raise KernelError(errno.errorcode[error.errno or 0], "/proc/self/mem") from None

    def vmflags(self, address: int) -> str:
        found = False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if "-" in line.split(" ")[0]:
                found = line.startswith(f"{address:x}-")
            elif found and line.startswith("VmFlags:"):
                return line.removeprefix("VmFlags:").strip()
        return "not mapped"

    def info(self, name: str) -> int:
        lines = Path(f"/proc/self/fdinfo/{self.map.fileno()}").read_text().splitlines()
        numbers = dict(line.split(":") for line in lines)
        return int(numbers[name].strip(), 0)

    def close_map(self) -> None:
        self.map.close()

    # what programs ask for

    def alloc(self, address: int, count: int, node: int, flags: int) -> int:
        return self.service.alloc(address, count, node, flags)

    def free(self, address: int, count: int) -> None:
        below = address and address % 2**32 < self.start % 2**32
        assert not below, "this corrupts an arena of Linux 6.18"
        self.service.free(address, count)

    def reserve(self, address: int, count: int) -> int:
        return self.service.reserve(address, count)

    def bpf_load(self, address: int) -> int:
        output = self._run(wb.assemble(LOAD), struct.pack("<QQ", address, 0))[1]
        return int(struct.unpack("<QQ", output)[1])

    def bpf_store(self, address: int, value: int) -> None:
        self._run(wb.assemble(STORE), struct.pack("<QQ", address, value))

    def _run(self, program: Program, context: bytes) -> tuple[int, bytes]:
        loaded = self.loaded(program)
        if loaded.descriptor is None:
            refusal = read_log(loaded.log)
            raise VerificationError(refusal.pc, refusal.reason or errno_name(loaded.errno))
        ran = execute(loaded.descriptor.fileno(), program.type, context)
        return ran.r0, ran.output

    def run(self) -> int:
        r0, self.context = self._run(program_of(self.row), self.context)
        return r0

    def present(self) -> list[int]:
        pages = max(self.mapped_bytes // PAGE, self.pages)
        addresses = self.start + np.arange(pages) * PAGE
        return np.flatnonzero(self.service.presence(addresses)).tolist()

    def free_pages(self) -> list[int]:
        return [
            page
            for first, last in self.service.free_ranges().tolist()
            for page in range(first, last + 1)
        ]


_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def _range(address: int, length: int) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    return ctypes.c_void_p(address), ctypes.c_size_t(length)


__all__ = ["SegmentationFault", "linux"]
