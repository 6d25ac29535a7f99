"""The two machines that rows run on: the emulation, and the Linux kernel in a forked child.

Both have the methods that rows.py calls, and answer in the same terms: a value, or an
exception that carries the errno's name.
"""

import contextlib
import struct
from dataclasses import replace
from typing import Any

import numpy as np

import workbench as wb
from support.rows import PAGE, Row
from workbench.arena import mapping as rules
from workbench.arena import state as core
from workbench.arena.mapping import Advice, MapFlags, Protection, RemapFlags, SyncFlags
from workbench.arena.rules import (
    USER_END,
    ArenaFlags,
    Refusal,
    creation_refusal,
    default_user_base,
    operation_refusal,
)
from workbench.bpf import isa
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.program import Program, Reference
from workbench.engines.kernel.xlated import listing
from workbench.errors import ArenaError, DecodeError, SegmentationFault

PROTECTIONS = {
    "none": Protection.NONE,
    "r": Protection.READ,
    "w": Protection.WRITE,
    "rw": rules.READ_WRITE,
    "rx": Protection.READ | Protection.EXEC,
}
LOAD = (
    "r6 = *(u64 *)(r1 + 0)\nr2 = arena ll\nr6 = cast_kern(r6)\nr0 = *(u64 *)(r6 + 0)\n"
    "*(u64 *)(r1 + 8) = r0\nr0 = 0\nexit\n"
)
STORE = (
    "r6 = *(u64 *)(r1 + 0)\nr2 = arena ll\nr3 = *(u64 *)(r1 + 8)\nr6 = cast_kern(r6)\n"
    "*(u64 *)(r6 + 0) = r3\nr0 = 0\nexit\n"
)


def flags_of(words: "list[str] | str", kind: type) -> Any:
    """Flags by their lower-case names: "shared fixed", or a number."""
    total = kind(0)
    for word in words.split() if isinstance(words, str) else words:
        total |= kind(int(word, 0)) if word[0].isdigit() else kind[word.upper()]
    return total


def program_of(row: Row) -> Program:
    """The row's program: assembly, or bytecode in hexadecimal with references."""
    table = row.table
    if "bytecode" in table:
        references = tuple(Reference(*reference) for reference in table.get("references", ()))
        return Program(
            "row",
            table.get("type", "syscall"),
            bytes.fromhex(table["bytecode"]),
            references,
            license=table.get("license", "GPL"),
        )
    parts = (table.get("head", ""), table["asm"], table.get("tail", ""))
    text = f".license {table.get('license', 'GPL')}\n" + "\n".join(parts)
    assembled = wb.assemble(text, type=table.get("type", "syscall"), name="row")
    maps = tuple(MapDefinition(n, kind, 4, 8, 1) for n, kind in table.get("maps", {}).items())
    return replace(assembled, maps=maps)


class Machine:
    """What both machines know of a row: the arena's attributes and the program's context."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.pages = row.table.get("pages", 16)
        self.flags = ArenaFlags.MMAPABLE | flags_of(row.table.get("flags", ""), ArenaFlags)
        mapped = row.table.get("mapped", True)
        self.mapped = self.pages if mapped is True else int(mapped)
        base = default_user_base(self.pages) if self.mapped else 0
        self.base = row.table.get("base", base) % (1 << 64)
        words = [self._word(word) for word in row.table.get("ctx", [])]
        self.context = struct.pack(f"<{len(words)}Q", *words)

    def _word(self, word: int | str) -> int:
        """A word of the context: a number, or an address such as "3p+8" in the arena."""
        if isinstance(word, int):
            return word % (1 << 64)
        pages, _, rest = word.partition("p")
        return self.base + int(pages) * PAGE + int(rest or "0", 0)

    def ctx(self, index: int) -> int:
        """A word of the context after the run."""
        return int(struct.unpack_from("<Q", self.context, 8 * index)[0])

    def page_name(self, address: int) -> str:
        """A placement as a page number; "none" for NULL."""
        if address == 0:
            return "none"
        page, rest = divmod(address - self.start, PAGE)
        return str(page) if rest == 0 and page < 1 << 20 else hex(address)


class EmulatedMachine(Machine):
    """The mapping model and the emulated arena together; the arena appears with its address."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.mapping = rules.UserMapping(rules.new_window(self.pages, self.base))
        self._arena: wb.Arena | None = None
        if row.kind == "script" and self.mapped:
            self.mmap(self.mapped * PAGE, self.base, "rw", ["shared"], 0)

    @property
    def start(self) -> int:
        return self.mapping.window.start

    @property
    def arena(self) -> "wb.Arena":
        """The arena at the window's address, mapped by its user as long as the window is."""
        window = self.mapping.window
        window.check_usable()
        if self._arena is None:
            self._arena = wb.Arena(self.pages, self.flags, window.start)
            meta = self._arena.state.meta
            meta[core.END] = meta[core.VMA_END] = window.end
        return self._arena

    # kinds of rows

    def create(self, row: Row) -> None:
        asked = dict(row.table.get("create", {}))
        pages = asked.pop("max_entries", 1)
        flags = flags_of(asked.pop("map_flags", "mmapable"), ArenaFlags)
        if "map_extra" in asked:
            asked["map_extra"] %= 1 << 64
        refusal = creation_refusal(pages, flags, **asked)
        if flags & ArenaFlags.MMAPABLE and set(asked) <= {"map_extra"}:
            agrees_with_arena(refusal, pages, flags, asked.get("map_extra", 0))
        if refusal:
            raise ArenaError(*refusal)

    def operation(self, row: Row) -> None:
        table = row.table
        raise ArenaError(
            *operation_refusal(
                table["operation"], table.get("key", False), table.get("frozen", False)
            )
        )

    def verdict(self, row: Row) -> str:
        try:
            program = program_of(row)
        except DecodeError as error:
            return shortened(False, error.pc, str(error), row, "emulated")
        report = wb.verify(program, flags=self.flags, arena_pages=self.pages)
        return shortened(report.ok, report.pc, report.reason, row, "emulated")

    def xlated(self, row: Row) -> str:
        report = wb.verify(program_of(row), flags=self.flags, arena_pages=self.pages)
        report.raise_if_refused()
        return "\n".join(text for text in listing(isa.encode(report.xlated)) if text)

    # the user's mapping

    def mmap(self, length: int, address: int, prot: str, flags: list[str], offset: int) -> int:
        number = flags_of(flags, MapFlags)
        at = self.mapping.mmap(length, address, PROTECTIONS[prot], number, offset)
        if number & (MapFlags.POPULATE | MapFlags.LOCKED) and PROTECTIONS[prot]:
            with contextlib.suppress(SegmentationFault):
                self.arena.user.read(at, self.mapping.length)
        return at

    def map_other(self, address: int, length: int) -> int:
        return self.mapping.map_other(address, length)

    def munmap(self, address: int, length: int) -> None:
        self.mapping.munmap(address, length)

    def mprotect(self, address: int, length: int, prot: str) -> None:
        self.mapping.mprotect(address, length, PROTECTIONS[prot])

    def madvise(self, address: int, length: int, advice: str) -> None:
        self.mapping.madvise(address, length, Advice[advice.upper()])
        if advice.startswith("populate"):
            self._populate(address, length, "EFAULT")

    def _populate(self, address: int, length: int, errno_name: str) -> None:
        try:
            self.arena.user.read(address, length)
        except SegmentationFault as fault:
            raise ArenaError(errno_name, str(fault)) from None

    def mremap(self, address: int, old: int, new: int, to: int, flags: list[str]) -> int:
        return self.mapping.mremap(address, old, new, flags_of(flags, RemapFlags))

    def msync(self, address: int, length: int, flags: list[str]) -> None:
        self.mapping.msync(address, length, flags_of(flags, SyncFlags))

    def mlock(self, address: int, length: int) -> None:
        self.mapping.mlock(address, length)
        if not self.mapping.prot and length:
            raise ArenaError("ENOMEM", "the pages of an inaccessible mapping cannot be faulted in")
        self._populate(address, length, "ENOMEM")

    def munlock(self, address: int, length: int) -> None:
        self.mapping.mlock(address, length)

    def freeze(self) -> None:
        self.mapping.window.freeze()

    def fork(self) -> None:
        self.mapping = self.mapping.fork()

    # the user's touches

    def load(self, address: int, kind: str) -> int:
        self.mapping.touch(address, "load")
        return self.arena.user.load(address, kind)

    def store(self, address: int, value: int, kind: str) -> None:
        self.mapping.touch(address, "store")
        self.arena.user.store(address, kind, value)

    def touch(self, access: str, address: int) -> str | None:
        try:
            self.mapping.touch(address, access)
        except SegmentationFault as fault:
            return str(fault).split("(")[1].split(":")[0]
        try:
            self.arena.user.load(address, "u8") if access == "load" else self.arena.user.store(
                address, "u8", 0
            )
        except SegmentationFault as fault:
            return "MAPERR" if fault.address == address else f"MAPERR at {fault.address:#x}"
        return None

    def sys_write(self, address: int, count: int) -> int:
        return self._kernel_touch(address, count, "load")

    def sys_read(self, address: int, count: int) -> int:
        return self._kernel_touch(address, count, "store")

    def _kernel_touch(self, address: int, count: int, access: str) -> int:
        try:
            self.mapping.touch(address, access)
            if access == "load":
                self.arena.user.read(address, count)
            else:
                self.arena.user.write(address, bytes(count))
        except SegmentationFault as fault:
            raise ArenaError("EFAULT", str(fault)) from None
        return count

    def mem(self, address: int) -> int:
        try:
            return self.arena.user.load(address, "u64")
        except SegmentationFault as fault:
            raise ArenaError("EIO", str(fault)) from None

    # what programs ask for

    def alloc(self, address: int, count: int, node: int, flags: int) -> int:
        return self.arena.alloc(count, address, node, flags)

    def free(self, address: int, count: int) -> None:
        self.arena.free(address, count)

    def reserve(self, address: int, count: int) -> int:
        return self.arena.reserve(address, count)

    def bpf_load(self, address: int) -> int:
        return struct.unpack("<QQ", self._run(wb.assemble(LOAD), (address, 0)))[1]

    def bpf_store(self, address: int, value: int) -> None:
        self._run(wb.assemble(STORE), (address, value))

    def _run(self, program: Program, words: tuple[int, ...]) -> bytes:
        with wb.Interpreter(program, arena=self.arena) as engine:
            return engine.run(ctx=struct.pack("<2Q", *words)).ctx

    def run(self) -> int:
        program = program_of(self.row)
        with wb.Interpreter(program, arena=self.arena if program.uses_arena else None) as engine:
            result = engine.run(ctx=self.context, fuel=1_000_000)
        assert result.stop == "exit", str(result)
        self.context = result.ctx
        return result.r0 & 0xFFFFFFFF

    def present(self) -> list[int]:
        return np.flatnonzero(self.arena.present).tolist()

    def free_pages(self) -> list[int]:
        return [
            page
            for first, count in self.arena.free_extents.tolist()
            for page in range(first, first + count)
        ]


def agrees_with_arena(refusal: Refusal | None, pages: int, flags: int, map_extra: int) -> None:
    """`Arena` itself must refuse what the rules refuse, with the same errno.

    It is mapped at once, so it is also refused where user space cannot have it.
    """
    beyond = map_extra + pages * PAGE > USER_END
    try:
        wb.Arena(pages, flags, map_extra)
        seen = None
    except ArenaError as error:
        seen = error.errno_name
    known = (refusal.errno_name,) if refusal else ("EFAULT", "ENOMEM") if beyond else (None,)
    assert seen in known, f"Arena says {seen}, the rules {refusal}"


def shortened(ok: bool, pc: int, reason: str, row: Row, side: str) -> str:
    """A verdict in the row's words: the part of the reason that the row quotes, if it is there.

    `pc` in the row is the instruction that must be named.
    """
    if ok:
        return "accepted"
    wanted = row.expected(side)
    named = row.table.get("pc", pc)
    if wanted in reason and named == pc:
        return wanted
    return f"{reason} at instruction {pc}"
