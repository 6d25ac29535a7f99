"""The machine code of a program, instruction by instruction, beside what the kernel makes of it."""

from bisect import bisect_right
from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING

from workbench.bpf.disassembler import listing
from workbench.bpf.program import Program
from workbench.engines.native_text import disassembler
from workbench.errors import KernelError, Unsupported, VerificationError
from workbench.objects.lines import line_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["pc", "bpf", "address", "code", "native", "kernel"]


def native(program: Program, content: bytes, pages: int | None) -> "pd.DataFrame":
    """A row per machine instruction of an object file whose lines are slots + 1; see COLUMNS.

    `address` counts from the start of the code; `kernel` has what the kernel's JIT writes for the
    same BPF instruction, "" where there is no kernel to ask or nothing more to show. How a function
    begins and is left counts to its first instruction. Raises Unsupported without capstone.
    """
    import pandas as pd

    ours, theirs, texts = _ours(content), _theirs(program, pages), listing(program)
    rows = []
    for pc, text in enumerate(texts):
        pairs = zip_longest(ours.get(pc, ()), theirs.get(pc, ()))
        for mine, other in pairs:
            address, code, native = mine or (-1, "", "")
            rows.append((pc, text, address, code, native, other or ""))
    return pd.DataFrame(rows, columns=COLUMNS)


def _ours(content: bytes) -> dict[int, list[tuple[int, str, str]]]:
    """(address, bytes, text) of the machine instructions of each slot."""
    table = line_table(content)
    begins = [address for address, _ in table.lines]
    found = defaultdict(list)
    for address, size, name, operands in disassembler().disasm_lite(table.code, 0):
        place = bisect_right(begins, address) - 1
        line = table.lines[place][1] if place >= 0 else 0
        code = table.code[address : address + size].hex()
        if line:
            found[line - 1].append((address, code, f"{name} {operands}".strip()))
    return found


def _theirs(program: Program, pages: int | None) -> dict[int, list[str]]:
    """The text of the kernel's machine instructions of each slot; none where it will not run."""
    from workbench.engines.kernel import Kernel, KernelArena

    found = defaultdict(list)
    try:
        with KernelArena(pages or 1) as arena, Kernel(program, arena if pages else None) as engine:
            table = engine.native
    except (KernelError, Unsupported, VerificationError):
        return {}
    for pc, text in zip(table["pc"], table["native"], strict=True):
        found[int(pc)].append(text)
    return found
