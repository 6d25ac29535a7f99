"""Numbers as tables for a terminal, and the machine that they come from in a line."""

from collections.abc import Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align columns of text: the first `left` to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["─" * width for width in widths])
    return "\n".join(
        "  ".join(
            f"{cell:{'<' if column < left else '>'}{widths[column]}}"
            for column, cell in enumerate(line)
        ).rstrip()
        for line in lines
    )


def headline(about: dict[str, Any]) -> str:
    """Name processor, kernel and versions, as evidence.provenance knows them, in a line."""
    packages = about["packages"]
    return (
        f"{about['cpu']}, {about['cpus']} CPUs; {about['kernel']} {about['machine']}; "
        f"Python {about['python']}, numba {packages['numba']}, "
        f"workbench {packages['bpf-arena-workbench']}; {about['date']}"
    )
