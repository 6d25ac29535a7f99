"""What is verified: all that stays the same while the paths of a program are explored."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.verifier.log.writer import Log
from workbench.verifier.paths.flow import Flow
from workbench.verifier.rules.facts import Instruction, Setting


@dataclass(frozen=True, slots=True)
class Subject:
    """A program, what the facts need to know of it as a whole, and its shape.

    `log` is where the exploration is written down, or None. `matters` has for each slot which
    registers a trail must be looking for, a bit each, for the instruction to change it.
    """

    program: Sequence[Instruction]
    setting: Setting
    flow: Flow
    log: Log | None
    matters: Sequence[int]

    def is_global(self, pc: int) -> bool:
        """Whether the function at a slot is verified on its own."""
        function = self.setting.functions.get(pc)
        return function is not None and function.is_global

    def function_number(self, start: int) -> int:
        """How Linux numbers the function that begins at a slot: in the order of the code."""
        return self.flow.starts.index(start)
