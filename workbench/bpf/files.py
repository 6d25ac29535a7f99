"""Programs from files: assembly text and hexadecimal bytecode."""

import sys
from dataclasses import replace
from pathlib import Path

from workbench.arguments import optional, path, string, takes
from workbench.bpf.assembler import assemble_all
from workbench.bpf.program import Program
from workbench.errors import DecodeError, WorkbenchError


@takes(path=path, type=string)
def read_programs(path: str | Path, type: str = "syscall") -> dict[str, Program]:
    """Read every program of a file, by name and in file order.

    `.hex` holds 16 hexadecimal digits per instruction (one program, named by the file), anything
    else is assembly text; "-" reads assembly or, when it is nothing but hex digits, bytecode from
    standard input. A program called "main" bears the file's name. Raises WorkbenchError for a
    file that cannot be read, AssemblyError or DecodeError for one that holds no programs.
    """
    name = "stdin" if str(path) == "-" else Path(path).stem
    text = _read_text(path)
    if str(path).endswith(".hex") or (str(path) == "-" and _is_hex(text)):
        return {name: Program(name, type, parse_hex(text))}
    programs = assemble_all(text, type=type, name=name)
    if "main" in programs:
        programs["main"] = replace(programs["main"], name=name)
    return programs


@takes(path=path, name=optional(string), type=string)
def read_program(path: str | Path, name: str | None = None, type: str = "syscall") -> Program:
    """Read one program of a file: the one called `name`, or the first.

    A file whose name ends in `.hex` holds bytecode as hexadecimal digits, any other assembly text;
    "-" is standard input. Raises WorkbenchError for a file that cannot be read or has no program of
    that name, AssemblyError or DecodeError for one that holds no programs.

    >>> from workbench.examples import programs
    >>> program = wb.read_program(programs.path("list"), "add")
    >>> program.name, program.type, program.uses_arena
    ('add', 'syscall', True)
    """
    programs = read_programs(path, type)
    if name is None:
        return next(iter(programs.values()))
    if name not in programs:
        raise WorkbenchError(f"no program '{name}' in {path}; it has {', '.join(programs)}")
    return programs[name]


def parse_hex(text: str) -> bytes:
    """Turn hexadecimal bytecode, white space ignored, into bytes.

    Raises DecodeError for another character, or digits that end inside an instruction.
    """
    digits = "".join(text.split())
    if len(digits) % 16:
        raise DecodeError(len(digits) // 16, "truncated: an instruction is 16 hexadecimal digits")
    for position, digit in enumerate(digits):
        if digit not in "0123456789abcdefABCDEF":
            raise DecodeError(position // 16, f"{digit!r} is not a hexadecimal digit")
    return bytes.fromhex(digits)


def _is_hex(text: str) -> bool:
    digits = "".join(text.split())
    return bool(digits) and all(digit in "0123456789abcdefABCDEF" for digit in digits)


def _read_text(path: str | Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WorkbenchError(
            f"cannot read {path}: it is not text (expected .bpf or .hex)"
        ) from None
