"""One object file taken apart: its ELF, its types, and what these say of its instructions."""

from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.objects.btf import Types, read_btf
from workbench.objects.elf import Elf, read_elf
from workbench.objects.extension import Extension, read_extension

ARENA_SECTION, MAPS_SECTION = ".addr_space.1", ".maps"


class Unit(NamedTuple):
    """An object file, or several linked into one."""

    elf: Elf
    types: Types
    extension: Extension


def read_unit(content: bytes) -> Unit:
    """Take an object file apart; raises WorkbenchError for what is not one of BPF's."""
    elf = read_elf(content)
    types = read_btf(elf.content(".BTF"))
    if elf.named(MAPS_SECTION) and len(types) == 1:
        raise WorkbenchError("section '.maps' without .BTF that describes it; compile with -g")
    return Unit(elf, types, read_extension(elf.content(".BTF.ext"), types))
