"""The kernel engine: a program in the real verifier, the real JIT and a real arena."""

from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Self

import numpy as np

from workbench.arena import Arena
from workbench.arena.either import AnyArena
from workbench.arena.rules import ArenaFlags
from workbench.arguments import instance, mapping, optional, want
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.isa import Op
from workbench.bpf.program import Program, a_program
from workbench.engines.base import Result
from workbench.engines.kernel import syscall
from workbench.engines.kernel.arena import KernelArena
from workbench.engines.kernel.execution import execute
from workbench.engines.kernel.loading import Verdict, admit, descriptors
from workbench.engines.kernel.maps import kernel_map
from workbench.engines.kernel.native import native
from workbench.engines.kernel.prints import PRINTING, Printed
from workbench.engines.kernel.stream import STDERR, STDOUT, read_stream
from workbench.engines.machine.prepared import check_variables
from workbench.errors import KernelError, Unsupported
from workbench.maps import Map, create

if TYPE_CHECKING:
    import pandas as pd


_INTERPRETER = "the kernel engine cannot {what}; use workbench.Interpreter"


class Kernel:
    r"""A program loaded into the running kernel, never attached, run on request.

    `arena` is a KernelArena (left open by `close`), or an emulated arena that is taken as a
    description: same pages, flags and user base, and it must be empty. Without one, a program
    that refers to an arena gets its own of 1024 pages. `maps` are maps by name, made by
    `kernel_map`; missing ones are made as the program declares them, and closed with the engine.
    Raises VerificationError with the whole log when the verifier refuses, Unsupported for "raw"
    programs, KernelError where bpf(2) is unusable. Use as a context manager, or `close`.

        >>> with wb.Kernel(wb.assemble("r0 = 42\nexit")) as engine:
        ...     engine.run().r0
        42
    """

    def __init__(
        self,
        program: Program,
        arena: AnyArena | None = None,
        log_level: int = 1,
        maps: Mapping[str, Map] | None = None,
    ) -> None:
        want(program, "program", a_program)
        want(maps, "maps", optional(mapping))
        self.program = program
        self.arena, self._owned = _real_arena(program, arena)
        self._kept = ExitStack()
        if self._owned and self.arena is not None:
            self._kept.callback(self.arena.close)
        try:
            self.maps = create(program.maps, maps, make=self._made)
            fds = descriptors(self.maps)
            admitted = admit(program, self.arena, log_level, maps=fds)
            if admitted.descriptor is None:
                raise admitted.verdict.error()
            self._kept.push(admitted.descriptor)
            self._fill_program_arrays(fds)
        except BaseException:
            self._kept.close()
            raise
        self._prints = _prints(program)
        self._descriptor = admitted.descriptor
        self.verdict = admitted.verdict

    def _made(self, definition: MapDefinition) -> Map:
        return self._kept.enter_context(kernel_map(definition))

    def _fill_program_arrays(self, fds: Mapping[str, int]) -> None:
        """Load the programs that program arrays hold, with the same maps and arena."""
        loaded: dict[int, int] = {}
        for map in self.maps.values():
            for key, held in map.store.held.items():
                if not isinstance(held, Program):
                    continue
                if id(held) not in loaded:
                    admitted = admit(held, self.arena, maps=fds)
                    if admitted.descriptor is None:
                        raise admitted.verdict.error()
                    self._kept.push(admitted.descriptor)
                    loaded[id(held)] = admitted.descriptor.fileno()
                map.store.update(key, loaded[id(held)].to_bytes(4, "little"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._descriptor.closed else str(self.verdict)
        return f"Kernel({self.program.name}: {state})"

    def close(self) -> None:
        """Unload the program, and close the arena and the maps that the engine made."""
        self._kept.close()

    def run(
        self, ctx: bytes = b"", fuel: int | None = None, trace: str | None = None, repeat: int = 1
    ) -> Result:
        """Run once and return what happened; `ctx` is the context, or for packet types the packet.

        Result.r0 is the low half of r0, all that the kernel returns; steps is 0, as it counts
        none; seconds is its own mean for packet programs, which run `repeat` times, and the wall
        time of the system call for others. Raises Unsupported for `fuel` and `trace`, which the
        kernel does not have, and KernelError when it cannot run the program.
        """
        if fuel is not None:
            raise Unsupported(_INTERPRETER.format(what="stop after a number of steps"))
        if trace is not None:
            raise Unsupported(_INTERPRETER.format(what=f"record '{trace}'"))
        with Printed() if self._prints else nullcontext() as printed:
            ran = execute(self._descriptor.fileno(), self.program.type, bytes(ctx), repeat)
        if self.arena is not None:
            self.arena.program_ran()
        return Result(
            engine="kernel",
            program=self.program.name,
            stop="exit",
            r0=ran.r0,
            steps=0,
            seconds=ran.seconds,
            ctx=ran.output,
            packet=ran.output if self.program.type_row.takes_packet else b"",
            printed=printed.texts if printed else (),
        )

    def step(self, *_: object) -> None:
        """Raise Unsupported: the kernel runs programs to their end."""
        raise Unsupported(_INTERPRETER.format(what="single-step"))

    def fileno(self) -> int:
        """Return the program's file descriptor."""
        return self._descriptor.fileno()

    @property
    def log(self) -> str:
        """All that the verifier said."""
        return self.verdict.log

    def read_stdout(self) -> str:
        """Take what the program printed into its standard output so far, each text once.

        Raises KernelError before Linux 6.17, which has no streams.
        """
        return read_stream(self._descriptor.fileno(), STDOUT)

    def read_stderr(self) -> str:
        """Take what the kernel said of the program's runs so far, each text once.

        Raises KernelError before Linux 6.17, which has no streams. `models.faults.from_reports`
        makes a frame of the accesses to absent pages in it.
        """
        return read_stream(self._descriptor.fileno(), STDERR)

    def reports(self) -> str:
        """Take what the kernel said of the program's runs; "" before Linux 6.17, never an error."""
        try:
            return self.read_stderr()
        except KernelError:
            return ""

    @property
    def report(self) -> Verdict:
        """The verdict with the program as the verifier rewrote it."""
        return Verdict(**{**vars(self.verdict), "code": self.xlated_bytes})

    @property
    def xlated_bytes(self) -> bytes:
        """The program as the verifier rewrote it, in wire form; KernelError EPERM if hidden."""
        return syscall.xlated(self._descriptor.fileno())

    @property
    def xlated(self) -> np.ndarray:
        """The program as the verifier rewrote it, as INSTRUCTION records.

        Raises KernelError EPERM where the kernel hides it, DecodeError where it has instructions
        that programs cannot have.
        """
        return self.report.xlated

    @property
    def native(self) -> "pd.DataFrame":
        """Machine code next to BPF text: pc, bpf, address, code, native."""
        return native(self.program, self.arena)


def _prints(program: Program) -> bool:
    """Whether a program, or one that it may go on as, prints."""
    code = program.instructions
    calls = code["imm"][code["op"] == Op.CALL_HELPER]
    return bool(np.isin(calls, PRINTING).any()) or any(
        definition.type == "prog_array" for definition in program.maps
    )


def _real_arena(program: Program, arena: AnyArena | None) -> tuple[KernelArena | None, bool]:
    """Return the arena to use, and whether the engine owns it."""
    if isinstance(arena, KernelArena):
        return arena, False
    want(arena, "arena", optional(instance(Arena, instead="an arena")))
    if arena is None and program.variables:
        arena = Arena()  # which does not hold them
    if isinstance(arena, Arena):
        check_variables(program, arena)
    if arena is not None:
        return _copy_of(arena), True
    return (KernelArena(), True) if program.uses_arena else (None, False)


def _copy_of(arena: AnyArena) -> KernelArena:
    """Make a real arena as an emulated one describes it; refuse one with pages in use."""
    extents = arena.free_extents
    if len(extents) != 1 or tuple(extents[0]) != (0, arena.page_count):
        raise Unsupported(
            "this emulated arena is in use, and its pages cannot be moved into the "
            "kernel; pass an empty one, or a KernelArena"
        )
    flags = ArenaFlags(arena.flags)
    return KernelArena(pages=arena.page_count, flags=flags, user_base=arena.user_start)
