"""What a rule may ask when an instruction is about to run."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from workbench.verifier.rules.facts import Setting
from workbench.verifier.values.domain import Frame, State, Value


class Situation(Protocol):
    """A path just before the instruction at `pc`, and what all paths so far have shown.

    `frame` and `registers` are those of the function that runs. `accesses` has per slot the kinds
    of pointers that were used, a bit each; `arithmetic` the slots of 64-bit operations that saw an
    arena pointer, `plain` of those that did not.
    """

    @property
    def setting(self) -> Setting:
        """What is known of the program as a whole."""

    @property
    def state(self) -> State:
        """All that is known on the path."""

    @property
    def frame(self) -> Frame:
        """The call that the path is in: its registers and stack."""

    @property
    def registers(self) -> Sequence[Value]:
        """r0 to r10 of the function that runs."""

    @property
    def pc(self) -> int:
        """The instruction's slot."""

    @property
    def accesses(self) -> Mapping[int, int]:
        """The kinds of pointers that each slot used, a bit each."""

    @property
    def arithmetic(self) -> AbstractSet[int]:
        """Slots of 64-bit operations that saw an arena pointer."""

    @property
    def plain(self) -> AbstractSet[int]:
        """Slots of 64-bit operations that saw none."""

    def function_number(self, start: int) -> int:
        """How Linux numbers the function that begins at a slot."""
