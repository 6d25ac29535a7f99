"""What a recorded step consists of: its columns, the bits of its access, and how often registers.

The engines' compiled loops write these columns, recordings keep them, files name them.
"""

from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.isa import REGISTERS

READ, WRITE, ABSENT, ATOMIC, IN_ARENA = 1, 2, 4, 8, 16  # bits of a step's access
NO_REGISTER = 255  # `reg` of a step that wrote none
KEYFRAME = 256  # steps between records of all registers: 2.75 bytes a step, 255 steps to replay
CPU_REGISTERS = MAX_FRAMES * REGISTERS  # of one CPU, in a keyframe

STEP_COLUMNS = {
    "pc": "<u4",
    "depth": "<u1",
    "reg": "<u1",
    "size": "<u1",
    "access": "<u1",
    "value": "<u8",
    "address": "<u8",
    "old": "<u8",
    "new": "<u8",
}

SPARSE = ("address", "old", "new")
"""Columns that may have rows only for the steps that touch memory."""

CHANGES = {"step": "<u4", "address": "<u8", "size": "<u1", "old": "<u8", "new": "<u8"}
"""Columns of what helpers changed besides r0: words of memory, up to 8 bytes each; or, with size 0,
a register, `address` being 11 times the frame plus its number."""
