"""Questions to one kernel arena, each answered by a small BPF program (service.bpf).

The programs are loaded when first needed, about 40 µs each, and unloaded by `close`.
"""

import ctypes
import struct
from collections.abc import Mapping
from ctypes import addressof, c_uint64, sizeof
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.assembler import assemble_all
from workbench.bpf.map_types import MapFlag, MapType
from workbench.bpf.program import Program
from workbench.engines.kernel import btf
from workbench.engines.kernel.attributes import TestRun
from workbench.engines.kernel.memory import Mapping as MemoryMapping
from workbench.engines.kernel.syscall import (
    PROG_TEST_RUN,
    Descriptor,
    Loaded,
    checked,
    create_map,
    explain,
    load_program,
)
from workbench.errors import KernelError, Unsupported, errno_name

TEXT = Path(__file__).with_name("service.bpf")
PROG_TYPE_SYSCALL = 31
SLEEPABLE = 1 << 4
ADDRESSES = 1 << 16  # where programs expect page addresses in scratch, behind their answers
PRESENCE_BATCH = 1 << 13  # pages asked about at a time: 64 KiB of addresses; not measured
COPY_BATCH = ADDRESSES // PAGE_SIZE  # pages that fit into the answers
PEEK_BATCH = ADDRESSES // 64  # pieces of 64 bytes that fit there
SCRATCH_BYTES = ADDRESSES + 8 * PRESENCE_BATCH


def bind(program: Program, maps: Mapping[str, int]) -> bytes:
    """Return the bytecode with its references resolved: maps to descriptors, kfuncs to BTF numbers.

    Raises Unsupported for a map that is not in `maps`, KernelError for a missing kfunc.
    """
    code = bytearray(program.bytecode)
    for reference in program.references:
        if reference.kind == "kfunc":
            number = btf.kfunc_id(reference.name)
        elif reference.kind in ("arena", "map"):
            number = _map_number(reference.name, maps)
        else:
            continue
        struct.pack_into("<i", code, 8 * reference.pc + 4, number)
    return bytes(code)


def _map_number(name: str, maps: Mapping[str, int]) -> int:
    if name not in maps:
        raise Unsupported(
            f"the program refers to map '{name}'; the kernel engine provides "
            f"{', '.join(maps) or 'none'}"
        )
    return maps[name]


@cache
def _programs() -> dict[str, Program]:
    """Assemble service.bpf; RANGE_TREE becomes 0 where BTF does not know the structure."""
    try:
        root = btf.offset_of("bpf_arena", "rt", "it_root", "rb_root", "rb_node")
    except (KernelError, Unsupported):
        root = 0
    return assemble_all(TEXT.read_text().replace("RANGE_TREE", str(root)))


class _NodeLayout(NamedTuple):
    """Where struct range_node keeps its bounds (in 32-bit words) and children (in 64-bit words)."""

    bounds: list[int]
    children: list[int]


@cache
def _node_layout() -> _NodeLayout:
    bounds = [btf.offset_of("range_node", name) // 4 for name in ("rn_start", "rn_last")]
    children = [
        btf.offset_of("range_node", "rn_rbnode", name) // 8 for name in ("rb_left", "rb_right")
    ]
    if max(bounds) > 15 or max(children) > 7 or not btf.offset_of("bpf_arena", "rt"):
        raise Unsupported("this kernel keeps its free ranges in another form")
    return _NodeLayout(bounds, children)


class _Ready(NamedTuple):
    """A loaded program with the words of its context and the request that runs it."""

    descriptor: Descriptor
    words: "ctypes.Array[c_uint64]"
    request: TestRun

    @property
    def answer(self) -> int:
        """The first word of the context: what the program answered in the last run."""
        return int(self.words[0])


class Service:
    """The loaded service programs of one arena, and the scratch array that they answer in."""

    def __init__(self, arena: Descriptor) -> None:
        self._arena = arena
        self._ready: dict[str, _Ready] = {}
        self._scratch_map: Descriptor | None = None
        self._scratch = np.empty(0, np.uint8)

    def close(self) -> None:
        """Unload every program and give the scratch array back."""
        for ready in self._ready.values():
            ready.descriptor.close()
        self._ready.clear()
        self._scratch = np.empty(0, np.uint8)
        if self._scratch_map is not None:
            self._scratch_map.close()
            self._scratch_map = None

    def alloc(self, address: int, count: int, node: int, flags: int) -> int:
        """Call bpf_arena_alloc_pages; returns the user address, or 0."""
        return self._run("alloc", address, count, node, flags).answer

    def free(self, address: int, count: int) -> None:
        """Call bpf_arena_free_pages."""
        self._run("free", address, count)

    def reserve(self, address: int, count: int) -> int:
        """Call bpf_arena_reserve_pages; returns 0 or a negative errno."""
        value = self._run("reserve", address, count).answer & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def presence(self, addresses: np.ndarray) -> np.ndarray:
        """Whether the page at each address is present, without faulting any in: bool[n].

        Raises Unsupported where an acquire load from an absent page clears its register.
        """
        answer = np.empty(len(addresses), bool)
        done = 0
        while done < len(addresses):
            self._put_addresses(batch := addresses[done : done + PRESENCE_BATCH])
            ready = self._run("presence", len(batch))
            if ready.request.retval:
                raise Unsupported(
                    "this kernel clears the register of an acquire load from an "
                    "absent page, so presence cannot be observed without faults"
                )
            known = ready.answer
            answer[done : done + known] = self._scratch[:known]
            done += known
        return answer

    def copy(self, addresses: np.ndarray) -> np.ndarray:
        """Copy present pages without touching them as a user: u8[n, 4096]."""
        pages = np.empty((len(addresses), PAGE_SIZE), np.uint8)
        done = 0
        while done < len(addresses):
            self._put_addresses(batch := addresses[done : done + COPY_BATCH])
            known = self._run("copy", len(batch)).answer
            content = self._scratch[: known * PAGE_SIZE].reshape(known, PAGE_SIZE)
            pages[done : done + known] = content
            done += known
        return pages

    def _put_addresses(self, addresses: np.ndarray) -> None:
        content = addresses.astype(np.uint64).view(np.uint8)
        self.scratch[ADDRESSES : ADDRESSES + len(content)] = content

    def free_ranges(self) -> np.ndarray:
        """Read the kernel's tree of free page ranges: int64[n, 2] of (first, last), by address.

        The tree is read level by level. Raises Unsupported where BTF shows another layout, and
        KernelError where kernel memory cannot be read. Source: kernel/bpf/range_tree.c.
        """
        node = _node_layout()
        level = np.array([self._run("ranges").answer], np.uint64)
        found = [np.empty((0, 2), np.int64)]
        while len(level := level[level != 0]):
            nodes = self.peek(level)
            words = nodes.view("<u4")[:, node.bounds]
            found.append(words.astype(np.int64))
            level = nodes.view("<u8")[:, node.children].ravel()
        ranges = np.concatenate(found)
        return ranges[np.argsort(ranges[:, 0])]

    def peek(self, addresses: np.ndarray) -> np.ndarray:
        """Read 64 bytes of kernel memory at each address: u8[n, 64].

        Raises KernelError EFAULT where it cannot be read, as when the arena changes meanwhile.
        """
        parts = []
        for begin in range(0, len(addresses), PEEK_BATCH):
            batch = addresses[begin : begin + PEEK_BATCH]
            slots = self.scratch[: 64 * len(batch)].reshape(-1, 64)
            slots[:, :8] = batch.view(np.uint8).reshape(-1, 8)
            ready = self._run("peek", len(batch))
            if ready.request.retval or ready.answer != len(batch):
                raise KernelError("EFAULT", "the arena changed while its free ranges were read")
            parts.append(slots.copy())
        return np.concatenate(parts)

    @property
    def scratch(self) -> np.ndarray:
        """The array that programs and Python share: uint8[SCRATCH_BYTES]."""
        if self._scratch_map is None:
            self._scratch_map = create_map(
                MapType.ARRAY, 4, SCRATCH_BYTES, 1, MapFlag.MMAPABLE, name="scratch"
            )
            self._scratch = MemoryMapping(self._scratch_map.fileno(), SCRATCH_BYTES).bytes
        return self._scratch

    def _run(self, name: str, *arguments: int) -> _Ready:
        """Run one service program; the answer is in the returned words."""
        ready = self._ready.get(name) or self._load(name)
        for position, value in enumerate(arguments):
            ready.words[position] = value & 0xFFFFFFFFFFFFFFFF
        checked(PROG_TEST_RUN, ready.request, f"running the service program '{name}'")
        return ready

    def _load(self, name: str) -> _Ready:
        """Load a service program; KernelError carries the verifier's last words."""
        program = _programs()[name]
        maps = {"arena": self._arena.fileno()}
        if any(reference.name == "scratch" for reference in program.references):
            _ = self.scratch
            assert self._scratch_map is not None
            maps["scratch"] = self._scratch_map.fileno()
        code = bind(program, maps)
        loaded = load_program(PROG_TYPE_SYSCALL, code, name=name, flags=SLEEPABLE, log_level=0)
        if loaded.descriptor is None:
            raise _refusal(name, load_program(PROG_TYPE_SYSCALL, code, flags=SLEEPABLE))
        words = (c_uint64 * 4)()
        request = TestRun(
            prog_fd=loaded.descriptor.fileno(), ctx_in=addressof(words), ctx_size_in=sizeof(words)
        )
        self._ready[name] = _Ready(loaded.descriptor, words, request)
        return self._ready[name]


def _refusal(name: str, loaded: Loaded) -> KernelError:
    """Say why a service program was not loaded, in the verifier's last words."""
    lines = " / ".join(loaded.log.strip().splitlines()[-3:]) or explain(loaded.errno)
    return KernelError(
        errno_name(loaded.errno), f"this kernel refused the service program '{name}': {lines}"
    )
