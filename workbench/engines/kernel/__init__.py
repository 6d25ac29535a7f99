"""The running Linux kernel as an engine: real verifier, real JIT, real arena.

syscall    bpf(2) and its structures        memory     mappings, user touches that cannot kill
btf        names in the kernel's BTF        service    questions to an arena (service.bpf)
arena      KernelArena, its user view       loading    the verdict and its decisive line
engine     Kernel                           execution  one test run
native     machine code as a table          debug      BTF that ties machine code to slots
faults     real page faults, with times     timing     in-kernel durations
perf       perf_event_open(2)               features   what this kernel can do
log        the arena's own event log        user       the arena as user space sees it
xlated     rewritten programs, comparable     maps      maps through bpf(2)
stream     what the kernel says of a program  prints    what programs print
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.engines.kernel.arena import KernelArena
    from workbench.engines.kernel.btf import kfunc_id
    from workbench.engines.kernel.engine import Kernel
    from workbench.engines.kernel.faults import FaultRecorder
    from workbench.engines.kernel.features import kernel_facts, probe_features
    from workbench.engines.kernel.loading import Verdict, verdict
    from workbench.engines.kernel.maps import kernel_map
    from workbench.engines.kernel.perf import PageFaults
    from workbench.engines.kernel.timing import (
        UNROLL,
        counting,
        loop,
        rounds_ctx,
        run_time,
        time_engines,
    )

_PUBLIC = {
    "Kernel": "engine",
    "KernelArena": "arena",
    "Verdict": "loading",
    "verdict": "loading",
    "FaultRecorder": "faults",
    "UNROLL": "timing",
    "time_engines": "timing",
    "run_time": "timing",
    "counting": "timing",
    "loop": "timing",
    "rounds_ctx": "timing",
    "kernel_facts": "features",
    "probe_features": "features",
    "PageFaults": "perf",
    "kfunc_id": "btf",
    "kernel_map": "maps",
}

__all__ = [
    "UNROLL",
    "FaultRecorder",
    "Kernel",
    "KernelArena",
    "PageFaults",
    "Verdict",
    "counting",
    "kernel_facts",
    "kernel_map",
    "kfunc_id",
    "loop",
    "probe_features",
    "rounds_ctx",
    "run_time",
    "time_engines",
    "verdict",
]


def __getattr__(name: str) -> object:
    """Import the module that owns a public name the first time the name is used (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
