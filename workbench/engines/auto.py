"""`engine="auto"`: the interpreter for little work, the jit for much, and a word about which."""

from collections.abc import Mapping
from typing import Self

from workbench.arena import Arena
from workbench.bpf.isa import TABLE, Op
from workbench.bpf.program import Program
from workbench.engines.base import Result
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.jit import Jit
from workbench.engines.jit.graph import ENTERING, LARGEST
from workbench.engines.machine.recorded import COUNTED
from workbench.maps import Map

STEP = 2e-9  # seconds that the interpreter takes for an instruction: 1.8 ns in `workbench bench`
COMPILE = 1e-4  # seconds of LLVM for an instruction of quick code: there 8 to 10 ms for 100
_JUMPS = [int(row.op) for row in TABLE if "{target}" in row.syntax]


class Auto:
    r"""Runs a program on the engine that will be done first; `Result.engine` says which that was.

    Arguments as for `Interpreter`; both engines share the arena and the maps. The work ahead is
    what `fuel` allows, or what the program can do before it ends: without a jump or a call back
    that is less than its length for each of its calls, else it may be anything. `choice` and
    `reason` say how the last run was decided.

        >>> engine = wb.Auto(wb.assemble("r0 = 42\nexit"))
        >>> engine.run().engine, engine.reason
        ('interpreter', 'the program does not loop')
    """

    def __init__(
        self,
        program: Program,
        arena: Arena | None = None,
        verify: bool = True,
        seed: int = 1,
        maps: Mapping[str, Map] | None = None,
    ) -> None:
        self._interpreter = Interpreter(program, arena, verify, seed, maps)
        self._jit: Jit | None = None
        self._given = verify, seed
        self.program = program
        self.arena = self._interpreter.arena
        self.maps = self._interpreter.maps
        self.report = self._interpreter.report
        self.choice = self.reason = ""

    def run(self, ctx: bytes = b"", fuel: int | None = None, trace: str | None = None) -> Result:
        """Run from the start on the engine that `choose` names; arguments as for `Interpreter.run`.

        The jit is compiled at its first turn. Raises what the chosen engine raises.
        """
        compiled = self._jit is not None
        self.choice, self.reason = choose(self.program, fuel, trace, compiled)
        if self.choice == "interpreter":
            return self._interpreter.run(ctx, fuel, trace)
        if self._jit is None:
            self._jit = Jit(self.program, self.arena, *self._given, self.maps)
        return self._jit.run(ctx, fuel, trace)

    def close(self) -> None:
        """Do nothing: memory goes with the last reference. For symmetry with other engines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def choose(
    program: Program, fuel: int | None, trace: str | None = None, compiled: bool = False
) -> tuple[str, str]:
    """The engine for a run, "interpreter" or "jit", and why, in words.

    `fuel` and `trace` are those of the run; `compiled` says that the jit has the program already.
    """
    if trace is not None and trace not in COUNTED:
        return "interpreter", f"only the interpreter records '{trace}'"
    if len(program) > LARGEST:
        return "interpreter", f"the jit takes {LARGEST:,} slots at most"
    if compiled:
        return "jit", "it is compiled already"
    if not goes_back(program):
        return "interpreter", "the program does not loop"
    worth = int(COMPILE * len(program) / STEP)
    if fuel is not None and fuel < worth:
        return "interpreter", f"{fuel:,} steps take less time than compiling"
    return "jit", "the program loops"


def goes_back(program: Program) -> bool:
    """Whether an instruction jumps or calls backwards, or calls what a register or map names."""
    return any(
        (op in _JUMPS and off < 0) or op == Op.CALLX or (op == Op.CALL_HELPER and imm in ENTERING)
        for op, off, imm in program.instructions[["op", "off", "imm"]].tolist()
    )
