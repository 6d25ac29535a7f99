"""Questions about a recorded run: what it did wrong with memory, what if, what differs, and when.

shadow      which allocation every pointer of a run belongs to
sanitizer   findings: reads of absent pages, use after free, leaks, ...
difference  where two runs part
what_if     the same run with a register or a byte changed at a step
cpus        several programs on one arena, step by step under a schedule
perfetto    a run as a file for ui.perfetto.dev
"""
