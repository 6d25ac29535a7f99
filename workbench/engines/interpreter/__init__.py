"""The interpreter: runs, steps, counts and records programs on the emulated machine.

engine   Interpreter          loop   the compiled loop over instructions
"""
