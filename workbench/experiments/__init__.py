"""Measurements with a result to keep: `run() -> tidy frame`, most with `plot(frame) -> Figure`.

    batch_faults   the same pages used: faults and time of program and user, by 1 to 512 a call
    gallery        every figure, its experiment, its claims: one module each, listed there
    exhibit        what such a module declares of itself
    together       counts, machine code and times of one program in one table
    explorer       pick a workload and see all of it
    frames         what a frame must have before an experiment reads it
    repetition     a measurement repeated in new processes
    kernel_costs   what pointer conversion costs on the real kernel, and the JIT's code for a cast
    real_faults    one list of accesses, its page events on the real kernel and emulated
    same_program   the example programs' results and arena bytes, engine by engine
    calibration    ns of a step and of each kind of fault: `workbench calibrate`
    touches        access patterns of user space on pages prepared in several ways
    kernel_allocators  Linux 6.12's page allocator against 6.13's, on five workloads
    kernel_replay  a log of requests on Linux and emulated: the same pages, the same curves
    replay_speed   events replayed per second, and their cost among many free extents
    sweep          a function at every point of a grid, in parallel, kept as it comes
    verdicts       thousands of changed programs, judged by Linux's verifier and by ours
    log_agreement  logs of both verifiers, value by value
    seeds, mutate  what those programs start from, and how they are changed
    results        recorded results, for machines without bpf(2)

`python -m workbench.experiments --record` measures on this kernel and rewrites data/results.
"""
