"""The interpreter: runs, steps, counts and records programs on the emulated machine.

engine   Interpreter          loop   the compiled loop over instructions
"""

from workbench import moved

__getattr__ = moved.parts(__name__)
