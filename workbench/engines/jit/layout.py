"""The parameter block of machine code: one word each, so that code fits every arena and run."""

from enum import IntEnum

from workbench.bpf.addresses import STACK_BYTES


class Word(IntEnum):
    """Index of each 64-bit word; addresses are host addresses."""

    REGS, RETURNS, OUT, REGIONS = range(4)  # arrays of the Machine
    WINDOW, PAGES, HIGH = range(4, 7)  # byte 0 of the arena window, its page bits; upper half
    STEP, TABLE, CLOCK = range(7, 10)  # what executes one instruction; its table; clock at start
    FUEL, ISSUED, NEEDED = range(10, 13)  # steps allowed; given out; wanted between two checks
    SAVE, RESTORE, SIGNALS, THREAD = range(13, 17)  # of Python: let go of the GIL, take it, look
    EXECUTED, READS, WRITES = range(17, 20)  # counters: of slots, of page slots
    PC, DEPTH, LEFT, HOW = range(20, 24)  # place, callers and unspent steps; how the run ended
    A, B, AT = range(24, 27)  # operands of an uncommon instruction; its place in the window
    VALUE, WROTE = range(27, 29)  # its result, and whether a register gets it
    SIZE, ADDRESS = range(29, 31)  # an access outside the arena
    NEAR_READ, READ_ROOM, READ_HOST = range(31, 34)  # the region last read, as `owned` has it
    NEAR_WRITE, WRITE_ROOM, WRITE_HOST = range(34, 37)  # the region last written
    REGION_COUNT, BUDGET = range(37, 39)  # rounds that may_goto has left in this function
    CONTROL, LOOPS, ADVANCE = range(39, 42)  # arrays of the Machine; what begins another round
    UNCOMMON, REFILL, AGAIN, REACH_LOAD, REACH_STORE = range(42, 47)  # the functions of `support`
    LOAD1, LOAD2, LOAD4, LOAD8 = range(47, 51)
    STORE1, STORE2, STORE4, STORE8 = range(51, 55)
    SLICE, HANDS_OVER = range(55, 57)  # steps between looks for signals; whether to end there
    STACK = 57  # the program's stack itself


WORDS = Word.STACK + STACK_BYTES // 8

EXITED, STOPPED, LEFT, STUCK, INTERRUPTED, REPLACED = range(6)
"""How machine code ends: by EXIT; `step` said stop; the fuel is nearly used up, before a block;
only the interpreter can do the next instruction; a signal came, before a block; better code is to
go on, before a block of the main function."""

GONE = -(1 << 62)
"""What a function returns, instead of unspent steps, when the run ends inside it."""

SLICE = 1 << 25
"""Steps between two looks for signals: some 10 ms, so that nobody waits for Ctrl-C."""

ROUNDS = 2 * SLICE
"""Rounds of may_goto that must be left for another slice without counting them one by one.

A slice has at most SLICE rounds, and the steps up to the next look; twice that leaves a margin."""
