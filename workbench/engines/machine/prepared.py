"""A program made ready to run inside this process: verified, loaded, with machine and memory.

What the interpreter and the jit share: both run what stands here.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.arena import Arena, ArenaFlags
from workbench.arena.rules import PAGE_SIZE
from workbench.arguments import mapping, octets, optional, want, whole
from workbench.bpf import addresses, isa
from workbench.bpf.functions import HELPERS, KFUNCS, missing
from workbench.bpf.isa import REGISTERS, Op
from workbench.bpf.program import Program, a_program
from workbench.bpf.releases import DEFAULT, Release
from workbench.bpf.text import instruction_text
from workbench.engines.machine import state as core
from workbench.engines.machine.address_bits import address_bits
from workbench.engines.machine.bound_maps import BoundMaps
from workbench.engines.machine.callbacks import ROW
from workbench.engines.machine.entries import address_table, entries
from workbench.engines.machine.inputs import inputs
from workbench.engines.machine.joined import joined
from workbench.engines.machine.printing import (
    HEADER_WORDS,
    print_room,
    printed_frame,
    printed_lines,
)
from workbench.errors import Unsupported, WorkbenchError
from workbench.maps import Map
from workbench.verifier import verify as check

if TYPE_CHECKING:
    import pandas as pd

_ABSENT_RESULT = "kept"
_FETCHING = [
    int(op) for op in Op if op < isa.FIRST_ARENA_OP
    and op.name.startswith(("FETCH", "XCHG", "CMPXCHG", "LOAD_ACQUIRE"))
]  # fmt: skip
"""Instructions whose result on an absent page differs from release to release."""


class Prepared:
    """A program on a machine of its own, in an arena that others may use too.

    `report` is the verifier's, None without `verify`; then run-time checks alone protect memory.
    `machine` and `state` are what compiled code works on, `table` where it finds them, `entries`
    what it calls through an address. `starts` are the first slots of the program and of those that
    it may tail-call, `ctx` and `stack` the memory of the run that `start` began. An arena of 1024
    pages is made if the program names one and none is given. Raises VerificationError for a program
    that the verifier refuses, and Unsupported for what the in-process engines lack.
    """

    def __init__(
        self,
        program: Program,
        arena: Arena | None = None,
        verify: bool = True,
        seed: int = 1,
        maps: Mapping[str, Map] | None = None,
    ) -> None:
        want(program, "program", a_program)
        want(maps, "maps", optional(mapping))
        want(seed, "seed", whole(-(1 << 63)))
        self._bound_maps = BoundMaps(program, maps)
        programs = self._bound_maps.programs
        if arena is None and any(one.uses_arena for one in programs):
            arena = Arena()
        if arena is not None and not isinstance(arena, Arena):
            raise Unsupported(
                "this engine runs on a workbench.Arena, not on a real one; use workbench.Kernel"
            )
        if arena is not None:
            _check_release(arena.release, programs)
        self.program, first = joined(programs)
        self.starts = tuple(first)
        self.arena, self.maps, self.seed = arena, self._bound_maps.by_name, seed
        self.state = core.no_arena() if arena is None else arena.state
        reports = [_verified(one, arena, self.maps) if verify else None for one in programs]
        self.report = reports[0]
        parts = [
            _loadable(one, report.xlated if report else one.instructions, arena, self._bound_maps)
            for one, report in zip(programs, reports, strict=True)
        ]
        self.machine = _machine(_whole(parts), self._bound_maps, first)
        self.table = address_table(self.machine, self.state)
        self.entries = entries(self.machine.code)
        self.inputs = inputs("raw", b"")
        self.stack = np.zeros(addresses.STACK_BYTES, np.uint8)
        self.started = False
        self._busy = threading.Lock()

    def start(self, ctx: bytes, cpu: int = 0) -> None:
        """Put the machine at the first instruction with fresh registers, stack and context.

        `ctx` is the packet of a packet program. Machines that share an arena have numbers of their
        own, `cpu`, and so their own addresses. Raises WorkbenchError for a packet that is too short
        or too long, for maps that cannot be used on this CPU, and for an arena that does not hold
        the program's variables.
        """
        want(ctx, "ctx", octets)
        if self.arena is not None:
            for one in self._bound_maps.programs:
                check_variables(one, self.arena)
        machine, raw = self.machine, self.program.type_row.raw
        self.inputs = inputs(self.program.type, ctx)
        self.stack[:] = 0
        bottom = addresses.STACK_START + cpu * addresses.CPU_BYTES
        stack = bottom, addresses.STACK_BYTES, self.stack.ctypes.data, 1
        machine.regions[core.STACK_REGION] = stack
        at = self.inputs.place(machine.regions, cpu)
        self._bound_maps.begin(machine.maps, machine.regions, cpu)
        machine.regs[:] = 0
        machine.regs[1] = at if len(self.ctx) else 0
        machine.regs[2] = len(ctx) if raw else 0
        machine.regs[10] = addresses.frame_pointer(0, cpu)
        machine.regs[core.BUDGET] = core.MAY_GOTO_LIMIT
        machine.loops[:] = 0
        machine.printed[:HEADER_WORDS] = 0
        machine.control[:] = 0
        machine.control[core.SEED] = self.seed
        machine.control[core.CPU] = cpu
        machine.control[core.TYPE] = self.program.type_row.bit
        machine.control[core.UNTYPED] = self.report is None or raw
        machine.control[core.PROCESS] = os.getpid() << 32 | threading.get_native_id()
        machine.control[core.ADDRESS_BITS] = address_bits().word
        machine.control[core.REGS_AT] = machine.regs.ctypes.data
        for entry, address in self.entries.items():
            machine.control[entry] = address
        machine.control[core.TABLE] = self.table.ctypes.data
        self.started = True

    @contextmanager
    def running(self, ctx: bytes | None = None) -> Iterator[None]:
        """Hold the machine and its maps for a run in this thread; with `ctx`, `start` it.

        Raises WorkbenchError if the machine is running already.
        """
        if not self._busy.acquire(blocking=False):
            raise WorkbenchError(
                "this engine is running, in another thread; make an engine for each thread"
            )
        try:
            if ctx is not None:
                self.start(ctx)
            with self._bound_maps.locked():
                yield
        finally:
            self._busy.release()

    @property
    def ctx(self) -> np.ndarray:
        """The context of the run, or the memory of a raw program."""
        return self.inputs.ctx

    @property
    def output(self) -> bytes:
        """What a run gives back as its context: for packet programs the packet."""
        return self.packet if self.program.type_row.takes_packet else self.ctx.tobytes()

    @property
    def packet(self) -> bytes:
        """The packet as it is now, b"" for other than packet programs."""
        return self.inputs.packet_bytes(self.machine.regions)

    @property
    def printed(self) -> "pd.DataFrame":
        """What the run printed, a row for each call: step, pc, stream, text."""
        return printed_frame(self.machine.printed)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that the run printed, oldest first."""
        return tuple(line.text for line in printed_lines(self.machine.printed))

    @property
    def pc(self) -> int:
        """Slot of the next instruction."""
        return int(self.machine.control[core.PC])

    @property
    def depth(self) -> int:
        """Number of callers of the current function: 0 in the main program."""
        return int(self.machine.control[core.DEPTH])

    @property
    def registers(self) -> np.ndarray:
        """r0 to r10 of the current function: a copy, uint64[11]."""
        first = self.depth * core.FRAME_REGISTERS
        return self.machine.regs[first : first + REGISTERS].copy()

    @property
    def steps(self) -> int:
        """Instructions executed since the start."""
        return int(self.machine.control[core.STEPS])

    def reason(self) -> str:
        """Say what the program did that stopped it."""
        code, reason = self.machine.code, int(self.machine.control[core.REASON])
        address = int(self.machine.out[core.O_ADDRESS])
        memory = "memory" if self.program.type_row.raw else "context"
        inside = self.pc < len(self.program)
        text = instruction_text(code[self.pc], self.pc) if inside else "the end"
        unresolved = inside and code[self.pc]["op"] in isa.WIDE - {Op.LD_IMM64, Op.LD_FUNC}
        return (
            f"instruction {self.pc} ({text}): "
            + {
                core.OUT_OF_BOUNDS: f"{address:#x} is in no memory of the program"
                f" (its {memory} has {len(self.ctx)} bytes)",
                core.READ_ONLY: f"{address:#x} must not be written",
                core.NOT_CODE: "nothing here has that descriptor, index or id"
                if unresolved
                else "not an instruction; a jump or call left the program",
                core.TOO_DEEP: f"more than {addresses.MAX_FRAMES} nested calls",
                core.UNKNOWN_CALL: f"function {address} does not exist here",
                core.NOT_A_MAP: f"{address:#x} is no map that can do this",
                core.OTHER_TYPE: f"a {self.program.type} program cannot call this",
                core.NOT_A_RECORD: f"{address:#x} is no record that is being written",
                core.NO_TEXT: f"the text at {address:#x} has no end",
            }[reason]
        )


def check_variables(program: Program, arena: Arena) -> None:
    """Raise WorkbenchError where a program has variables in an arena that does not hold them."""
    for variable in program.variables[:1]:
        page = variable.offset // PAGE_SIZE
        if page >= arena.page_count or not arena.page_bits[page]:
            raise WorkbenchError(
                f"'{program.name}' has variables in the arena, such as '{variable.name}', and this "
                "arena does not hold them; make it with obj.arena(), or call obj.fill(arena)"
            )


def _check_release(release: Release, programs: Sequence[Program]) -> None:
    """Raise Unsupported if the release would show a difference that the engines do not make."""
    if release.absent_result == _ABSENT_RESULT:
        return
    if any(np.isin(one.instructions["op"], _FETCHING).any() for one in programs):
        release.require("an atomic on an absent page", absent_result=_ABSENT_RESULT)


def _verified(  # type: ignore[no-untyped-def]
    program: Program, arena: Arena | None, maps: Mapping[str, Map]
):
    pages = (arena.user_end - arena.user_start) // PAGE_SIZE if arena else None
    declared = {definition.name for definition in program.maps}
    further = tuple(map.definition for name, map in maps.items() if name not in declared)
    known = replace(program, maps=program.maps + further) if further else program
    release = arena.release if arena else DEFAULT
    report = check(known, int(arena.flags) if arena else 0, pages, release=release)
    report.raise_if_refused()
    return report


def _whole(parts: list[np.ndarray]) -> np.ndarray:
    """Join programs; a final INVALID is where every stray jump leads."""
    end = sum(map(len, parts))
    code = np.zeros(end + 1, isa.INSTRUCTION)
    code[-1]["op"] = Op.INVALID
    first = 0
    for part in parts:
        _contain_jumps(part, end - first)
        code[first : first + len(part)] = part
        first += len(part)
    return code


def _loadable(
    program: Program, records: np.ndarray, arena: Arena | None, maps: BoundMaps
) -> np.ndarray:
    """Resolve references."""
    code = records.copy()
    ops, immediates = code["op"], code["imm"]
    # xlated says mov32, which is the same
    ops[program.instructions["op"] == Op.CAST_KERN] = Op.CAST_KERN
    for reference in program.references:
        code[reference.pc] = _resolved(
            code[reference.pc], reference.kind, reference.name, arena, maps
        )
    if arena is not None:
        unresolved = (ops == Op.LD_MAP_IDX) | (ops == Op.LD_MAP_FD)
        ops[unresolved], immediates[unresolved] = Op.LD_IMM64, _immediate(addresses.MAP_HANDLE)
        if arena.flags & ArenaFlags.NO_USER_CONV:
            ops[ops == Op.CAST_USER] = Op.MOV32  # what a verified program has there already
    code["src"][ops == Op.LD_IMM64] = isa.ZERO  # executed as regs[src] + imm, like a move
    for number in immediates[ops == Op.CALL_HELPER].tolist():
        if number not in HELPERS:
            raise Unsupported(f"helper {number} cannot be called here: {missing(number)}")
    return code


def _immediate(address: int) -> np.int64:
    return np.uint64(address).astype(np.int64)


def _set_address(record: np.void, address: int) -> None:
    record["op"], record["imm"] = Op.LD_IMM64, _immediate(address)


def _resolved(
    record: np.void, kind: str, name: str, arena: Arena | None, maps: BoundMaps
) -> np.void:
    """One instruction with its reference replaced by what the emulated machine uses."""
    record = record.copy()
    if kind == "kfunc":
        if name not in KFUNCS:
            raise Unsupported(f"kfunc {name} cannot be called here: {missing(name)}")
        record["imm"] = KFUNCS[name].number
        return record
    offset = int(record["imm"]) >> 32 if record["op"] == Op.LD_MAP_VALUE else None
    if kind == "arena" and arena is not None:
        start = arena.user_start
        _set_address(record, addresses.MAP_HANDLE if offset is None else start + offset)
    elif offset is None:
        _set_address(record, addresses.map_handle(maps.number(name)))
    else:
        _set_address(record, addresses.map_values(maps.number(name)) + offset)
    return record


_LEADS = np.array([op in {row.op for row in isa.TABLE if "{target}" in row.syntax} for op in Op])


def _contain_jumps(code: np.ndarray, end: int) -> None:
    """Lead every jump that would leave the program to slot `end`, the INVALID after them all."""
    slots = np.arange(len(code))
    targets = slots + 1 + code["off"]
    stray = _LEADS[code["op"]] & ((targets < 0) | (targets >= len(code)))
    code["off"][stray] = end - slots[stray] - 1


def _machine(code: np.ndarray, maps: BoundMaps, first: list[int]) -> core.Machine:
    return core.Machine(
        code=code,
        regs=np.zeros(addresses.MAX_FRAMES * core.FRAME_REGISTERS, np.uint64),
        control=np.zeros(core.CONTROLS, np.int64),
        returns=np.zeros(addresses.MAX_FRAMES + 1, np.int64),
        regions=np.zeros((core.MAP_REGIONS + 2 * maps.room, 4), np.uint64),
        out=np.zeros(core.OUTS, np.uint64),
        maps=np.zeros(1 + maps.room, np.uint64),
        programs=maps.held_programs(first),
        loops=np.zeros(ROW * addresses.MAX_FRAMES, np.uint64),
        journal=core.new_journal(),
        printed=print_room(),
    )
