"""The JIT engine: verified programs become machine code for this computer, through LLVM.

    graph       basic blocks
    text        LLVM IR as text
    body        the function being written: registers, fuel, ways out
    arithmetic  access  calls     how each operation is written
    function    a whole program as an LLVM module
    native      LLVM
    cold        what machine code calls for uncommon instructions: the interpreter's code
    layout      the words that machine code and engine share
    engine      Jit

Machine code handles what is common and hands everything else, one instruction or the rest of a
run, to the interpreter's own code; so both engines cannot disagree about the corners.
"""

from workbench.engines.jit.engine import Jit

__all__ = ["Jit"]
