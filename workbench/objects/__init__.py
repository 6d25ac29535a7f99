"""Object files of clang: C programs, the maps that they declare, and their variables.

elf, btf, extension   one file taken apart: sections, types, what is said of instructions
unit, linking         one file, or several made one
data, maps, kconfig   variables, what `.maps` declares, settings of the kernel
relocate              functions become programs
core, compatible      code is fitted to a kernel's layouts
subprograms, writing  what verifiers get to know of functions
values                C values in memory, by type
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.arguments import instance, want
from workbench.arguments import path as is_path
from workbench.bpf.declarations import MapDefinition
from workbench.errors import WorkbenchError
from workbench.objects.btf import Types, read_btf
from workbench.objects.core import vmlinux
from workbench.objects.linking import link
from workbench.objects.object import Object, build
from workbench.objects.unit import Unit, read_unit
from workbench.objects.values import Globals

__all__ = ["Globals", "MapDefinition", "Object", "load_object", "read_object"]

ARENA_DATA = ("start", "end")
Files = str | Path | Sequence[str | Path]


def load_object(
    path: Files,
    arena_data: str = "start",
    btf: str | Path | None = None,
    kconfig: Mapping[str, str | int] | None = None,
) -> Object:
    """Read an object file (clang -target bpfel -g -c), or link a list of them into one.

    `arena_data` is where the arena's variables go: "start" is what libbpf does up to Linux 6.18,
    "end" what it does on newer kernels. `btf` is a file of types that code with CO-RE records is
    fitted to: without one, those of the running kernel, else the object's own. `kconfig` gives
    values to settings such as CONFIG_HZ, before the running kernel's. Why a program cannot be
    loaded is in Object.errors; where none can, its WorkbenchError is raised, as one is for a file
    that is no object for BPF.

    >>> from workbench.examples import programs
    >>> wb.load_object(programs.directory() / "c" / "list.o")
    <Object list.o: programs add, walk, delete; an arena of 64 pages with seed, ..., pool>
    """
    want(path, "path", instance(str, Path, list, tuple, instead="the path of a file, or several"))
    given = [path] if isinstance(path, str | Path) else list(path)
    for one in given:
        want(one, "path", is_path)
    paths = list(map(Path, given))
    if not paths:
        raise WorkbenchError("no object file is given")
    files = {one.name: _content(one) for one in paths}
    if len(files) < len(paths):
        raise WorkbenchError("two of the object files have the same name")
    target = None if btf is None else _types(Path(btf))
    return _read(files, arena_data, target, kconfig)


def read_object(content: bytes, name: str = "object") -> Object:
    """Make an Object of an object file's bytes; `name` stands in errors.

    Raises WorkbenchError for what is no object for BPF, or without a program that can be loaded.
    """
    return _read({name: content}, "start", None, None)


def _read(
    files: Mapping[str, bytes],
    arena_data: str,
    target: Types | None,
    kconfig: Mapping[str, str | int] | None,
) -> Object:
    if arena_data not in ARENA_DATA:
        raise WorkbenchError(f"arena_data is '{arena_data}'; choose from {', '.join(ARENA_DATA)}")
    units: dict[str, Unit] = {}
    name = ""
    try:
        for name, content in files.items():
            units[name] = read_unit(content)
        name = next(iter(files)) if len(files) == 1 else " + ".join(files)
        unit = link(units)
        return build(unit, name, arena_data, lambda: target or vmlinux() or unit.types, kconfig)
    except WorkbenchError as error:
        text = "".join(sign if sign.isprintable() else "?" for sign in str(error))
        raise WorkbenchError(f"{name}: {text}") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None


def _types(path: Path) -> Types:
    """Types from a file of BTF, or from the .BTF section of an ELF file."""
    content = _content(path)
    if content.startswith(b"\x7fELF"):
        from workbench.objects.elf import section_of

        content = section_of(content, ".BTF")
    try:
        return read_btf(content)
    except WorkbenchError as error:
        raise WorkbenchError(f"{path}: {error}") from None
