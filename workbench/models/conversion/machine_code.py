"""Native instructions and bytes: how much machine code conversion adds, per program and cast."""

from typing import TYPE_CHECKING

from workbench.arena import Arena, ArenaFlags
from workbench.bpf.isa import Op
from workbench.errors import Unsupported, WorkbenchError
from workbench.models.conversion.timing import FLAGS
from workbench.models.conversion.workloads import Workload, workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from workbench.bpf.program import Program

COLUMNS = ("workload", "engine", "flag", "cast_user", "instructions", "bytes", "kind")


def sizes(loads: "Sequence[str | Workload]", engine: str) -> "pd.DataFrame":
    """The machine code of workloads under both flags, by "kernel" or "jit"; see COLUMNS.

    `cast_user` counts the casts in the BPF text; kind is "measured": the compiler's own output.
    Raises Unsupported for an engine without machine code, KernelError without a kernel.
    """
    import pandas as pd

    rows = []
    for one in loads:
        load = workload(one) if isinstance(one, str) else one
        program, pages = load.program, load.pages
        casts = int((program.instructions["op"] == Op.CAST_USER).sum())
        for flag, bits in FLAGS.items():
            code = compiled(program, engine, pages, bits)
            rows.append((load.name, engine, flag, casts, *code, "measured"))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def compiled(program: "Program", engine: str, pages: int, flags: ArenaFlags) -> tuple[int, int]:
    """Native instructions and bytes that an engine's compiler makes of a program.

    `engine` is "kernel" or "jit". Raises Unsupported for another one, KernelError without a kernel.
    """
    if engine == "kernel":
        from workbench.engines.kernel import Kernel, KernelArena

        with KernelArena(pages, flags) as arena, Kernel(program, arena) as loaded:
            code = loaded.native
        return len(code), int(code["code"].str.len().sum()) // 2
    if engine != "jit":
        raise Unsupported(f"the {engine} engine makes no machine code; use jit or kernel")
    from workbench.engines.jit import Jit

    with Jit(program, Arena(pages, flags)) as jitted:
        code = jitted.native["code"]
        return int((code != "").sum()), len(jitted.machine_code)


def per_cast(frame: "pd.DataFrame") -> "pd.DataFrame":
    """What one cast_user costs more with conversion: a row per workload that has casts.

    Columns workload, engine, cast_user, instructions, bytes; the last two per cast. Raises
    WorkbenchError for a frame that is not of `sizes`.
    """
    if missing := [name for name in COLUMNS if name not in frame]:
        raise WorkbenchError(f"these are no sizes of machine code: no column '{missing[0]}'")
    columns, key = ["instructions", "bytes"], ["workload", "engine", "cast_user"]
    with_casts = frame[frame["cast_user"] > 0]
    sides = [with_casts[with_casts["flag"] == flag].set_index(key)[columns] for flag in FLAGS]
    extra = sides[0] - sides[1]
    return extra.div(extra.index.get_level_values("cast_user"), axis=0).reset_index()
