"""What an ELF object file holds for us: sections, symbols and relocations as plain values.

Source: ELF-64 object file format; docs.kernel.org/bpf/llvm_reloc.html for machine and types.
"""

from io import BytesIO
from typing import NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from workbench.errors import WorkbenchError

SHF_ALLOCATED, SHF_EXECUTABLE, SHF_COMPRESSED = 0x2, 0x4, 0x800
MAX_SECTIONS = 10_000  # bounds what a damaged file costs; those of clang have some tens
MAX_ZEROS = 1 << 26  # bytes of variables that the file does not store; bounds a damaged size
NOWHERE = -1  # section number of an undefined symbol
ELSEWHERE = -2  # absolute and common symbols


class Section(NamedTuple):
    """A section: its content is b"" if the file stores none; `size` then says how much is zero."""

    number: int
    name: str
    content: bytes
    size: int
    executable: bool = False
    allocated: bool = False
    alignment: int = 1


class Symbol(NamedTuple):
    """A symbol at byte `value` of section `section`; kind is "func", "object", "section", ...

    `binding` is "local", "global" or "weak"; other objects cannot see a `hidden` one once linked.
    """

    name: str
    kind: str
    value: int
    size: int
    section: int
    binding: str = "global"
    hidden: bool = False

    @property
    def weak(self) -> bool:
        """Whether it may be missing, or give way to another of its name."""
        return self.binding == "weak"


class Relocation(NamedTuple):
    """Byte `offset` of a section depends on a symbol, in a way that the BPF type number says."""

    offset: int
    type: int
    symbol: Symbol


class Elf(NamedTuple):
    """An object file: sections by number, all symbols, relocations by number of the section."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: dict[int, tuple[Relocation, ...]]

    def named(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, name: str) -> bytes:
        """The bytes of a section, with the zeros that the file leaves out; b"" without one."""
        section = self.named(name)
        return section.content or bytes(section.size) if section else b""


def read_elf(content: bytes) -> Elf:
    """Take an object file apart; raises WorkbenchError for what is not BPF's."""
    try:
        file = ELFFile(BytesIO(content))
        _check_kind(file)
        return _elf(file, content)
    except WorkbenchError:
        raise
    except Exception as error:  # pyelftools lets the errors of its parts through
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WorkbenchError(f"damaged or not an ELF object: {reason}") from None


def _check_kind(file: ELFFile) -> None:
    """Raise WorkbenchError unless this is a little-endian BPF object with sections."""
    machine = file["e_machine"]
    if machine != "EM_BPF":
        raise WorkbenchError(f"an object for {machine}, not for BPF (-target bpfel)")
    if not file.little_endian or file.elfclass != 64:
        raise WorkbenchError("a big-endian BPF object; compile with -target bpfel")
    if file["e_type"] != "ET_REL":
        raise WorkbenchError(f"{file['e_type']}, not an object file (compile with -c)")
    if file.num_sections() > MAX_SECTIONS:
        raise WorkbenchError(f"{file.num_sections()} sections; damaged?")


def _elf(file: ELFFile, content: bytes) -> Elf:
    raw = list(file.iter_sections())
    sections = tuple(_section(index, section, content) for index, section in enumerate(raw))
    tables = [section for section in raw if isinstance(section, SymbolTableSection)]
    if len(tables) > 1:
        raise WorkbenchError("more than one symbol table")
    symbols = tuple(map(_symbol, tables[0].iter_symbols())) if tables else ()
    symbols = tuple(_named_by_section(symbol, sections) for symbol in symbols)
    relocations: dict[int, tuple[Relocation, ...]] = {}
    for section in raw:
        if isinstance(section, RelocationSection) and _wanted(section["sh_info"], sections):
            found = relocations.get(section["sh_info"], ())
            relocations[section["sh_info"]] = found + _relocations(section, symbols)
    return Elf(sections, symbols, relocations)


def _section(index: int, section, content: bytes) -> Section:  # type: ignore[no-untyped-def]
    """Cut out a section's bytes ourselves, so that no damaged size allocates memory."""
    begin, size = section["sh_offset"], section["sh_size"]
    flags = section["sh_flags"]
    allocated, alignment = bool(flags & SHF_ALLOCATED), max(section["sh_addralign"], 1)
    if section["sh_type"] in ("SHT_NULL", "SHT_NOBITS"):
        if allocated and size > MAX_ZEROS:
            raise WorkbenchError(f"section '{section.name}' has {size} bytes; damaged?")
        return Section(index, section.name, b"", size, False, allocated, alignment)
    if begin + size > len(content):
        raise WorkbenchError(f"section '{section.name}' ends beyond the file; it is cut short")
    stored = b"" if flags & SHF_COMPRESSED else content[begin : begin + size]
    executable = bool(flags & SHF_EXECUTABLE)
    return Section(index, section.name, stored, size, executable, allocated, alignment)


def _symbol(symbol) -> Symbol:  # type: ignore[no-untyped-def]
    where = symbol["st_shndx"]
    special = NOWHERE if where == "SHN_UNDEF" else ELSEWHERE
    kind = str(symbol["st_info"]["type"]).removeprefix("STT_").lower()
    section = where if isinstance(where, int) else special
    return Symbol(
        symbol.name,
        kind,
        symbol["st_value"],
        symbol["st_size"],
        section,
        str(symbol["st_info"]["bind"]).removeprefix("STB_").lower(),
        symbol["st_other"]["visibility"] in ("STV_HIDDEN", "STV_INTERNAL"),
    )


def _named_by_section(symbol: Symbol, sections: tuple[Section, ...]) -> Symbol:
    """A section's own symbol has no name of its own."""
    if symbol.section >= len(sections):
        raise WorkbenchError(f"symbol '{symbol.name}' lies in section {symbol.section}, "
                             f"of {len(sections)}")  # fmt: skip
    if symbol.kind == "section" and symbol.section >= 0 and not symbol.name:
        return symbol._replace(name=sections[symbol.section].name)
    return symbol


def _wanted(index: int, sections: tuple[Section, ...]) -> bool:
    """Only relocations of code and maps are applied; those of debug sections never matter."""
    if not 0 <= index < len(sections):
        raise WorkbenchError(f"relocations for section {index}, of {len(sections)}")
    section = sections[index]
    return section.executable or section.name == ".maps"


def _relocations(  # type: ignore[no-untyped-def]
    section, symbols: tuple[Symbol, ...]
) -> tuple[Relocation, ...]:
    found = []
    for entry in section.iter_relocations():
        number = entry["r_info_sym"]
        if number >= len(symbols):
            raise WorkbenchError(f"'{section.name}' names symbol {number}, of {len(symbols)}")
        found.append(Relocation(entry["r_offset"], entry["r_info_type"], symbols[number]))
    return tuple(found)


def section_of(content: bytes, name: str) -> bytes:
    """One section of an ELF file for any machine; raises WorkbenchError without it."""
    try:
        section = ELFFile(BytesIO(content)).get_section_by_name(name)
        if section is not None:
            return content[section["sh_offset"] : section["sh_offset"] + section["sh_size"]]
    except Exception as error:  # pyelftools lets the errors of its parts through
        raise WorkbenchError(f"damaged or not an ELF file: {error}") from None
    raise WorkbenchError(f"there is no section {name}")
