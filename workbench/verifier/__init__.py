"""The verifier: decides whether a program is safe, says why not, and rewrites it for the engines.

    values/   what is known of numbers, pointers and states
    rules/    what must hold before each instruction, and whether it does
    log/      the log: written, read back, explained
    paths/    paths through a program, their effects, and when one is covered by another
    report    verdict, log, rewritten code
    rewrite   arena accesses, 32-bit arithmetic, casts

Each imports only from those before it.

It follows a release of Linux (workbench.bpf.releases; 6.18 where none is named) as run by root on
x86-64. For type `raw` no bounds are proven: its engine checks every access as it happens.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from workbench.arena.rules import MAX_PAGES
from workbench.arguments import flags, optional, takes, whole
from workbench.bpf.isa import Op
from workbench.bpf.program import Program, a_program
from workbench.bpf.releases import DEFAULT, Release
from workbench.bpf.releases import release as find_release
from workbench.errors import VerificationError, WorkbenchError
from workbench.verifier import report as reports
from workbench.verifier.paths.explore import LIMIT, Explorer, Progress
from workbench.verifier.paths.flow import analyse
from workbench.verifier.paths.recorder import Recorder, Seen, slots_of
from workbench.verifier.report import Asked, Record, Report
from workbench.verifier.rewrite import rewrite
from workbench.verifier.rules.facts import Instruction, Setting
from workbench.verifier.rules.limits import (
    GPL_LICENSES,
    check_functions,
    check_named,
    check_program,
    check_references,
    check_stack,
)
from workbench.verifier.rules.structure import check_reachable, check_structure
from workbench.verifier.values.domain import ARENA

_remembered: ContextVar[dict[tuple[object, ...], tuple[Program, Report]] | None] = ContextVar(
    "_remembered", default=None
)

__all__ = ["LIMIT", "Report", "Seen", "remembering", "verify"]


@contextmanager
def remembering() -> Iterator[None]:
    """Verify a program once, for the length of a `with` block; then its report is at hand.

    For who runs the same programs on many arenas. A program is the same only as the same object.
    """
    if _remembered.get() is not None:
        yield
        return
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


@takes(
    program=a_program,
    flags=flags,
    arena_pages=optional(whole(0, MAX_PAGES)),
    log_level=whole(),
)
def verify(
    program: Program,
    flags: int = 0,
    arena_pages: int | None = None,
    log_level: int = 1,
    release: str | Release = DEFAULT,
    progress: Progress | None = None,
    profile: str | None = None,
) -> Report:
    """Decide whether a program may run with an arena of these flags, and rewrite it.

    `flags` is an ArenaFlags or its number; NO_USER_CONV changes the rewritten casts. With
    `arena_pages`, addresses in the arena that the program names must lie inside it. The report's
    log is of level 1 or 2, as in bpf(2). `release` is the Linux whose rules hold ("6.18");
    `profile` is its old name. `progress` is called now and then with the number of instructions
    followed so far, of at most LIMIT. Never raises for a bad program: the report says what is
    wrong. Raises WorkbenchError for an unknown release or level, Unsupported for a release that is
    not followed.

    >>> print(wb.verify(wb.assemble("r0 = 0\\nexit")))
    accepted: 2 instructions, 0 arena accesses, 0 casts
    >>> wb.verify(wb.assemble("exit")).reason
    'R0 !read_ok'
    """
    if profile is not None:
        warnings.warn("verify(profile=...) is now release=...", DeprecationWarning, stacklevel=2)
        release = profile
    followed = find_release(release)
    followed.require("the verifier", signed_loads=True)
    if log_level not in (1, 2):
        raise WorkbenchError(f"no log level {log_level}; there are 1 and 2")
    asked = Asked(program, int(flags), arena_pages, log_level, followed.name)
    reports_known = _remembered.get()
    if reports_known is None:
        return _verify(asked, progress)
    key = id(program), *asked[1:]
    if key not in reports_known:  # which keeps the program, and so its id
        reports_known[key] = program, _verify(asked, progress)
    return reports_known[key][1]


def _verify(asked: Asked, progress: Progress | None) -> Report:
    program, flags, arena_pages, log_level, release = asked
    verification = _Verification(program, arena_pages, log_level, find_release(release))
    error = verification.run(None, progress)
    explorer = verification.explorer
    if error is not None or explorer is None:
        xlated, processed = program.instructions, explorer.processed if explorer else 0
        return reports.make(asked, error, processed, xlated, verification.record)
    path = explorer.path
    accesses = [pc for pc, kinds in path.accesses.items() if kinds == 1 << ARENA]
    loops = [pc for pc, target in path.loops.items() if target >= 0]
    xlated = rewrite(program.instructions, accesses, path.arithmetic, loops, flags)
    return reports.make(asked, None, explorer.processed, xlated, verification.record)


class _Verification:
    """The verification of one program, which can be repeated with a recorder."""

    def __init__(
        self, program: Program, arena_pages: int | None, log_level: int, release: Release
    ) -> None:
        self.program, self.arena_pages, self.log_level = program, arena_pages, log_level
        self.instructions = list(map(Instruction._make, program.instructions.tolist()))
        self.setting = _setting(program, self.instructions, release)
        self.explorer: Explorer | None = None

    def run(
        self, recorder: Recorder | None, progress: Progress | None = None
    ) -> VerificationError | None:
        """Verify; returns the refusal, if it is one."""
        instructions, setting = self.instructions, self.setting
        self.explorer = None
        try:
            check_program(self.program, self.arena_pages, setting.release)
            check_structure(instructions)
            check_functions(instructions, setting)
            check_references(instructions, setting)
            check_reachable(instructions, setting.raw)
            flow = analyse(instructions, setting)
            self.explorer = Explorer(instructions, setting, flow, recorder, progress)
            self.explorer.explore()
            if not setting.raw:
                check_stack(instructions, self.explorer.path.depths)
                check_named(instructions, self.explorer.seen, self.explorer.path.throws)
        except VerificationError as error:
            return error
        return None

    def record(self) -> Record:
        """Verify once more, and keep the log and the states."""
        recorder = Recorder(self.program, self.log_level)
        error = self.run(recorder)
        log, explorer = recorder.log, self.explorer
        if error is not None and not error.reason.startswith("infinite loop"):
            log.say(error.reason)
        processed = explorer.processed if explorer else 0
        most, total, peak = explorer.statistics if explorer else (0, 0, 0)
        log.say(
            f"processed {processed} insns (limit {LIMIT}) max_states_per_insn {most} "
            f"total_states {total} peak_states {peak} mark_read 0"
        )
        states = {pc: tuple(seen) for pc, seen in recorder.states.items()}
        path = slots_of(explorer.path.route) if explorer else []
        return Record("\n".join(log.lines), MappingProxyType(states), tuple(path))


def _setting(program: Program, instructions: list[Instruction], release: Release) -> Setting:
    """Collect what the facts need to know of the whole program."""
    names = {pc: (kind, name) for pc, kind, name in program.references}
    indexed = any(i.op == Op.LD_MAP_IDX and i.imm == 0 for i in instructions)
    return Setting(
        type=program.type,
        raw=program.type_row.raw,
        arena=program.uses_arena or indexed,
        names=names,
        maps={row.name: row for row in program.maps},
        functions={function.pc: function for function in program.subprograms},
        gpl=program.license in GPL_LICENSES,
        release=release,
    )
