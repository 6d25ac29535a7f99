"""What the real verifier says: loading without running, and its log read for the decisive line."""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.bpf import isa
from workbench.bpf.program import Program
from workbench.engines.kernel import syscall
from workbench.engines.kernel.arena import KernelArena
from workbench.engines.kernel.debug import debug_info
from workbench.engines.kernel.maps import KernelMap, kernel_map
from workbench.engines.kernel.service import SLEEPABLE, bind
from workbench.engines.kernel.xlated import listing, normalise
from workbench.errors import KernelError, Unsupported, VerificationError, errno_name
from workbench.maps import Map, create

if TYPE_CHECKING:
    from workbench.verifier.log.explain import Explanation

NOT_THE_PROGRAM = ("EPERM", "ENOMEM", "ENOSYS", "EMFILE", "ENFILE", "EAGAIN", "EINTR")

_INSTRUCTION = re.compile(r"^(\d+): \([0-9a-f]{2}\) (.*?)(?:\s*;.*)?$")
_GLUED = re.compile(  # Linux takes back a line break too many where a path ends
    r"^(\d+): \([0-9a-f]{2}\) (if .*goto pc[+-]\d+|may_goto pc[+-]\d+|call \S+|exit) ([^ ;].*)$"
)
_STATE = re.compile(
    r"^ ?(?:\d+: |from \d+ to \d+|; |(?:cur|old) state:|caller:|callee:|mark_precise|frame\d|"
    r"(?:frame\d+: ?)?R\d+(?:_\w+)?=|processed \d+ insns|verification time|stack depth|"
    r"insns_|total_states)"
)
_NAMED = re.compile(r"\binsn (\d+)")


@dataclass(frozen=True)
class Verdict:
    """The real verifier's answer about one program.

    `pc` and `reason` are its decisive line (-1 and "" when accepted), `instruction` the text it
    printed for that slot, `log` all it said, `code` the program as it rewrote it (wire form, b""
    when refused), `seconds` the wall time of loading.
    """

    ok: bool
    pc: int
    reason: str
    instruction: str
    errno_name: str
    seconds: float
    log: str = field(repr=False)
    code: bytes = field(default=b"", repr=False)

    @cached_property
    def xlated(self) -> np.ndarray:
        """The rewritten program as INSTRUCTION records, without what differs from load to load.

        Raises DecodeError where the kernel put instructions of its own (division guards,
        may_goto counters), which `listing` shows.
        """
        return isa.decode(normalise(self.code))

    @property
    def listing(self) -> list[str]:
        """The rewritten program as one text per slot."""
        return listing(normalise(self.code))

    @property
    def processed(self) -> int:
        """How many instructions the verifier looked at, 0 if it did not say."""
        found = re.search(r"^processed (\d+) insns", self.log, re.MULTILINE)
        return int(found[1]) if found else 0

    def explain(self, program: Program | None = None) -> "Explanation":
        """What was refused and why, in plain words; with `program`, source lines come from it."""
        from workbench.verifier.log.explain import explain

        return explain(self, program)

    def __str__(self) -> str:
        if self.ok:
            return f"accepted by the kernel ({self.processed} instructions verified)"
        return f"refused by the kernel: {self.message()}"

    def message(self) -> str:
        """The decisive line with the instruction that it is about."""
        where = f"instruction {self.pc}" if self.pc >= 0 else self.errno_name
        return f"{where}: {self.reason}" + (f"  [{self.instruction}]" if self.instruction else "")

    def raise_if_refused(self) -> None:
        """Raise the VerificationError that `error` makes, unless the program was accepted."""
        if not self.ok:
            raise self.error()

    def error(self) -> VerificationError:
        """The refusal as an exception; its text is `message()`, its `.log` is whole."""
        error = VerificationError(self.pc, self.reason, self.log)
        error.args = (self.message(),)
        return error


def descriptors(maps: Mapping[str, Map]) -> dict[str, int]:
    """File descriptors by name; raises Unsupported for an emulated map."""
    for name, map in maps.items():
        if not isinstance(map.store, KernelMap):
            raise Unsupported(f"map '{name}' is emulated; the kernel needs workbench.kernel_map")
    return {name: map.store.fileno() for name, map in maps.items()}  # type: ignore[attr-defined]


class Admitted(NamedTuple):
    """A loaded program (None when refused) and the verdict on it, without its rewritten code."""

    descriptor: syscall.Descriptor | None
    verdict: Verdict


def verdict(program: Program, arena: KernelArena | None = None, log_level: int = 1) -> Verdict:
    """Let the real verifier judge a program without running it.

    Without an arena, a program that refers to one gets a new arena of 1024 pages for the time of
    the call. `log_level` 2 prints every state. Raises KernelError where bpf(2) is unusable,
    Unsupported for a type of program that Linux does not know.
    """
    if arena is None and program.uses_arena:
        with KernelArena() as made:
            return verdict(program, made, log_level)
    with ExitStack() as stack:
        maps = create(program.maps, make=lambda wanted: stack.enter_context(kernel_map(wanted)))
        admitted = admit(program, arena, log_level, maps=descriptors(maps))
    if admitted.descriptor is None:
        return admitted.verdict
    with admitted.descriptor as descriptor:
        code = syscall.xlated(descriptor.fileno())
    return Verdict(**{**vars(admitted.verdict), "code": code})


def admit(
    program: Program,
    arena: KernelArena | None,
    log_level: int = 1,
    lines: bool = False,
    maps: Mapping[str, int] | None = None,
) -> Admitted:
    """Load a program with its BTF; with `lines`, such that ties machine code to instructions.

    `maps` are descriptors of the maps that it names, the arena left out. Raises Unsupported for a
    "raw" program, KernelError when the fault is not the program's (privileges, memory).
    """
    row = program.type_row
    if row.raw:
        raise Unsupported(
            f"the kernel cannot run a '{program.type}' program (bytecode with "
            "r1 = memory); use the interpreter, or make it a syscall program"
        )
    flags = SLEEPABLE if row.sleepable else 0  # Linux insists on it
    named = {**(maps or {}), **({"arena": arena.fileno()} if arena is not None else {})}
    described = lines or _has_callbacks(program) or any(s.is_global for s in program.subprograms)
    debug = debug_info(program, numbered=lines) if described or program.btf else None
    loaded = syscall.load_program(
        row.number,
        bind(program, named),
        program.license,
        program.name,
        flags,
        log_level,
        debug,
        row.attach,
    )
    refused = read_log(loaded.log) if loaded.descriptor is None else Refusal(-1, "", "")
    name = errno_name(loaded.errno) if loaded.errno else ""
    if loaded.descriptor is None and not refused.reason:
        refused = _without_log(name, loaded.errno)
    return Admitted(
        loaded.descriptor,
        Verdict(
            loaded.descriptor is not None,
            refused.pc,
            refused.reason,
            refused.instruction,
            name,
            loaded.seconds,
            loaded.log,
        ),
    )


def _has_callbacks(program: Program) -> bool:
    """Whether a function's address is taken, which Linux allows only with BTF."""
    return bool((program.instructions["op"] == isa.Op.LD_FUNC).any())


class Refusal(NamedTuple):
    """The decisive line of a log, the slot that it is about (-1: none) and that slot's text."""

    pc: int
    reason: str
    instruction: str


def _without_log(name: str, number: int) -> Refusal:
    """Read a refusal about which the verifier printed nothing."""
    if name in NOT_THE_PROGRAM:
        raise KernelError(name, f"loading a program: {syscall.explain(number)}")
    return Refusal(-1, f"{syscall.explain(number)} (the verifier printed nothing)", "")


def read_log(log: str) -> Refusal:
    """Find the decisive line of a refusal: the last one that is not state, progress or totals."""
    reason, pc, instruction = "", -1, ""
    texts: dict[int, str] = {}
    for line in log.splitlines():
        if glued := _GLUED.match(line):
            pc, instruction, line = int(glued[1]), glued[2], glued[3]
            texts[pc] = instruction
        if match := _INSTRUCTION.match(line):
            pc, instruction = int(match[1]), match[2]
            texts[pc] = instruction
        elif line.strip() and not _STATE.match(line):
            reason = line.strip()
    if named := _NAMED.search(reason):
        pc = int(named[1])
        instruction = texts.get(pc, "")
    return Refusal(pc, reason, instruction) if reason else Refusal(-1, "", "")
