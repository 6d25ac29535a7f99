"""Measurements with a result to keep: `run() -> tidy frame`, most with `plot(frame) -> Figure`.

    kernel_costs   what pointer conversion costs on the real kernel, and the JIT's code for a cast
    touch_costs    what a first touch costs user space, and an absent page a program
    real_faults    one list of accesses, its page events on the real kernel and emulated
    same_program   the example programs' results and arena bytes, engine by engine
    results        recorded results, for machines without bpf(2)

`python -m workbench.experiments --record` measures on this kernel and rewrites data/results.
"""
