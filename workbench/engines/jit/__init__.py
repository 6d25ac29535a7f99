"""The JIT engine: verified programs become machine code for this computer, through LLVM.

    graph       functions and basic blocks
    streams     accesses that walk through memory
    text        LLVM IR as text
    body        the function being written: registers, fuel, ways out
    arithmetic  access  calls     how each operation is written
    function    a whole program as an LLVM module
    support     what machine code calls out of line, the same for all programs
    native      LLVM
    cache       machine code on disk
    tiers       quick code first, good code for long runs
    counting    counts of blocks become counts of instructions
    listing     machine code next to BPF instructions and the kernel's
    layout      the words that machine code and engine share
    engine      Jit

Machine code handles what is common and hands everything else, one instruction
(`machine.entries.step`) or the rest of a run, to the interpreter's own code; so both engines cannot
disagree about the corners.

What was tried, as the time that the eleven programs of `workbench bench` take without it, each a
ratio within one interleaved run (AMD EPYC of family 25, medians of 7; a geometric mean, then the
program that differs most):

    the last page of a stream is remembered         1.03  memsum 1.17
    may_goto only counts in functions without calls 1.04  sieve 1.12 (chase 1.22, noisy)
    one comparison for both tests of an access      1.00  not kept: chase varied from 0.92 to 1.4
    short loops with one test look every other turn 1.03  memsum 1.24, sieve 1.14
    the same for loops with several tests           1.00  not kept: string search 0.88
    no look at the fuel (unsafe)                    0.98  red-black tree 0.91
    nor counting of steps                           0.96  red-black tree 0.86
    no test of pages (unsafe)                       0.92  sieve 0.71

The last is the price of the kernel's fault semantics, the two before it of Ctrl-C, exact fuel and
exact counts of steps.

Guard pages would save the tests, at most those 8 %, as in Linux. They cost more than that here:
taking a page's protection away or giving it back is a system call of 2.6 to 2.9 us (mprotect, every
second page of 4 GiB), seven times what allocating a page takes, and a fault with a handler in
machine code takes 2.8 us, where an absent page that a test finds takes 0.07, logged. The handler
would be the whole process's, Python's and Jupyter's too. So they are not used.

Compiling 100 instructions takes 24 ms with LLVM's optimiser: half of what it took before functions
had machine code of their own and what is uncommon went through memory. It takes 9 ms without, and
such code runs 2 to 3 times as long; so that comes first (`tiers`). LLVM's time is spread evenly
over the 150 passes of its code generator: leaving out any one of them saves little.
"""

from workbench.engines.jit.engine import Jit

__all__ = ["Jit"]
