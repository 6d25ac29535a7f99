"""The parameter block of machine code: one word each, so that code fits every arena and run."""

from enum import IntEnum


class Word(IntEnum):
    """Index of each 64-bit word; addresses are host addresses."""

    REGS, CONTROL, RETURNS, OUT = range(4)  # arrays of the Machine
    STACK, CTX, CTX_START, CTX_SIZE = range(4, 8)  # host stack and context; where BPF sees it
    WINDOW, PAGES, HIGH = range(8, 11)  # byte 0 of the arena window, its page bits; upper half
    STEP, TABLE, CLOCK = range(11, 14)  # what executes one instruction; its table; clock at start
    FUEL, ISSUED, STEPS = range(14, 17)  # steps allowed; of these given out; executed at the end
    SAVE, RESTORE, SIGNALS, THREAD = range(17, 21)  # of Python: let go of the GIL, take it, look
    WORDS = 21


EXITED, STOPPED, LEFT, INTERRUPTED = range(4)
"""How machine code ends: by EXIT; `step` said stop; the interpreter must go on; a signal came."""

SLICE = 1 << 25
"""Steps between two looks for signals: some 10 ms."""
