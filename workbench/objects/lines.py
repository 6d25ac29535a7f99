"""Which source line each piece of machine code in an object file comes from (DWARF .debug_line)."""

import io
from typing import NamedTuple

from elftools.elf.elffile import ELFFile

from workbench.errors import WorkbenchError


class LineTable(NamedTuple):
    """The text section, and (offset in it, line) where code of another line begins, ascending."""

    code: bytes
    lines: list[tuple[int, int]]


def line_table(content: bytes) -> LineTable:
    """Read the line table of an object file with one text section; WorkbenchError without one."""
    elf = ELFFile(io.BytesIO(content))
    section = elf.get_section_by_name(".text")
    if section is None:
        raise WorkbenchError("this object file has no machine code")
    found: list[tuple[int, int]] = []
    for unit in elf.get_dwarf_info().iter_CUs():
        program = elf.get_dwarf_info().line_program_for_CU(unit)
        states = (entry.state for entry in program.get_entries()) if program else ()
        found += [(s.address, s.line) for s in states if s is not None and not s.end_sequence]
    return LineTable(section.data(), sorted(found))
