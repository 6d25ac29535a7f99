"""The settings of a kernel that programs read as variables: `extern int CONFIG_HZ __kconfig`.

Source: libbpf's bpf_object__read_kconfig_file and set_kcfg_value_*.
"""

import gzip
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.objects.btf import ENUMERATIONS, Kind, Type, Types
from workbench.objects.data import KCONFIG, types_in
from workbench.objects.elf import NOWHERE
from workbench.objects.unit import Unit
from workbench.objects.values import Variable

_WHOLE = (1, 2, 4, 8)  # bytes
_TRISTATE = {"n": 0, "y": 1, "m": 2}
_KNOWN = {"LINUX_HAS_BPF_COOKIE": "y", "LINUX_HAS_SYSCALL_WRAPPER": "y"}


class Settings(NamedTuple):
    """The variables of .kconfig, those that have a value, and their bytes."""

    variables: dict[str, Variable]
    content: bytes


def read_settings(unit: Unit, given: Mapping[str, str | int] | None = None) -> Settings:
    """Give each extern of .kconfig its place and value; `given` comes before the running kernel.

    A setting that is not there is 0 if the program declares it weak, and missing here otherwise.
    Raises WorkbenchError for a type that no setting has, as libbpf's find_kcfg_type does.
    """
    typed = types_in(unit.types, KCONFIG)
    weak = {s.name: s.weak for s in unit.elf.symbols if s.section == NOWHERE and s.name in typed}
    found: dict[str, Variable] = {}
    content = bytearray()
    for name in weak:
        _check_type(unit.types, typed[name], name)
    for name in sorted(weak, key=lambda name: _order(unit.types, typed[name], name)):
        size = unit.types.size(typed[name])
        text = _text(name, given)
        if text is None and not weak[name]:
            continue
        found[name] = Variable(name, len(content), size, typed[name], KCONFIG)
        content += bytes(size) if text is None else _value(unit.types, typed[name], name, text)
    return Settings(found, bytes(content))


def _check_type(types: Types, number: int, name: str) -> None:
    type = types.resolve(number)
    if type.kind == Kind.ARRAY:
        element = types.resolve(type.target)
        fits = type.length > 0 and (element.kind, element.size) == (Kind.INT, 1)
    elif type.kind == Kind.INT:
        fits = type.size == 1 if type.boolean else type.size in _WHOLE
    else:
        fits = type.kind in ENUMERATIONS and type.name == "libbpf_tristate"
    if not fits:
        raise WorkbenchError(
            f"setting {name} has a type that no setting has; declare it an integer, _Bool, char, "
            "char[] or enum libbpf_tristate"
        )


def _order(types: Types, number: int, name: str) -> tuple[int, int, str]:
    """Widest elements first, so that all are aligned; then the smallest, then by name."""
    type = types.resolve(number)
    element = types.size(type.target if type.kind == Kind.ARRAY else number)
    return -element, types.size(number), name


def _text(name: str, given: Mapping[str, str | int] | None) -> str | None:
    """A setting as the configuration file writes it; None where it is not set."""
    if given and name in given:
        return str(given[name])
    if name == "LINUX_KERNEL_VERSION":
        return str(kernel_version())
    return _KNOWN.get(name) or _running().get(name)


def kernel_version() -> int:
    """The running kernel's version as KERNEL_VERSION(major, minor, patch) counts it."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", os.uname().release)
    major, minor, patch = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return major << 16 | minor << 8 | min(patch, 255)


@cache
def _running() -> dict[str, str]:
    """The running kernel's configuration; empty where there is none to read."""
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        return dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.MULTILINE))
    return {}


def _value(types: Types, number: int, name: str, text: str) -> bytes:
    """The bytes of a setting, for a variable of a type."""
    type, size = types.resolve(number), types.size(number)
    if text.startswith('"'):
        characters = type.kind == Kind.ARRAY and types.resolve(type.target).size == 1
        if not characters or not size:
            raise WorkbenchError(f"setting {name} is the string {text}; declare it char[]")
        return text.strip('"').encode()[: size - 1].ljust(size, b"\0")
    value = _number(type, name, text)
    whole = type.kind != Kind.ARRAY and size in _WHOLE
    if not whole or not -(1 << 8 * size - 1) <= value < 1 << 8 * size:
        raise WorkbenchError(f"setting {name} = {text} does not fit into {size} bytes")
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _number(type: Type, name: str, text: str) -> int:
    if text in _TRISTATE:
        if type.boolean and text == "m":
            raise WorkbenchError(f"setting {name} is m; declare it enum libbpf_tristate")
        if type.boolean or type.kind in ENUMERATIONS:
            return _TRISTATE[text]
        if type.size == 1:
            return ord(text)
        raise WorkbenchError(f"setting {name} is {text}; declare it _Bool or char")
    try:
        return int(text, 0)
    except ValueError:
        raise WorkbenchError(f"setting {name} has the unknown form {text}") from None
