"""Which machine code runs: made in a hurry at first, made well once a program has run for long.

Good code runs two to three times as fast as quick code, and takes five times as long to make, which
short runs never earn back. After PATIENCE steps, in one run or several, good code is made. A long
run goes over to it in its midst, before a block of the main function; one that stays in another
function to the end goes on as it is, and the next run is faster. Where good code is on disk
already, it runs at once.
"""

from workbench.engines.jit.layout import SLICE
from workbench.engines.jit.native import Native, Wanted, compile_program, is_compiled

PATIENCE = SLICE
"""Steps of quick code before better code is made: some 10 ms. At most SLICE, the first look."""


class Tiers:
    """The machine code of one program, of which `current` begins the next run."""

    def __init__(self, wanted: Wanted) -> None:
        self._good = wanted
        self._steps = 0
        quick = PATIENCE and wanted.verified and not is_compiled(wanted) and wanted.graph.loops
        self.current = compile_program(wanted._replace(quick=True) if quick else wanted)

    def good(self) -> Native:
        """The best code, made now if need be."""
        return compile_program(self._good)

    def improve(self) -> None:
        """Let the next run be the best code."""
        self.current = self.good()

    def going_on(self, pc: int) -> Native:
        """Good code that begins at the block at `pc`, with all registers as they are."""
        return compile_program(self._good._replace(entry=pc))

    def count(self, steps: int) -> None:
        """A run has taken these steps."""
        self._steps += steps
        if self.current.wanted.quick and self._steps >= PATIENCE:
            self.improve()
