"""Which machine and which versions a number comes from, and tables of such numbers as text."""

import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

LIBRARIES = ("bpf-arena-workbench", "numba", "llvmlite", "numpy")


def provenance() -> dict[str, object]:
    """Name the machine, the versions and the moment, as JSON values."""
    return {
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def headline(about: dict[str, object]) -> str:
    """Say the same in a line."""
    return (f"{about['cpu']}, {about['cpus']} CPUs; {about['system']}; Python {about['python']}, "
            f"numba {about['numba']}; load {about['load']}; {about['date']}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align columns of text: the first `left` to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["─" * width for width in widths])
    return "\n".join(
        "  ".join(f"{cell:{'<' if column < left else '>'}{widths[column]}}"
                  for column, cell in enumerate(line)).rstrip()
        for line in lines
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
