"""Assembly text to programs, in the syntax of LLVM and of the kernel's verifier log.

A line is reduced to its shape (registers, numbers and names replaced by placeholders) and the
shape is looked up among the shapes of the instruction table, so the table is the grammar.

    start:  r1 = *(u64 *)(r2 + 8)     ; comments begin with ';', '//' or '#'
            if r1 == 0 goto start     ; labels, or relative targets such as +3 and -2
            r3 = arena + 16 ll        ; an address in the program's arena
            call bpf_arena_alloc_pages
    .equ SIZE, 4096                   ; a named constant
    .program add syscall              ; begins another program in the same file
    .function hash                    ; joined to every program that says `call hash`
    .map counts hash key=4 value=8 entries=16    ; declared by every program that names it
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from workbench.arguments import string, takes
from workbench.bpf import isa
from workbench.bpf.declarations import MapDefinition, read_map
from workbench.bpf.functions import BY_NAME, KFUNCS
from workbench.bpf.helper_names import HELPER_NUMBERS
from workbench.bpf.isa import REGISTERS, Op
from workbench.bpf.program import Program, Reference, SourceLine
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.errors import AssemblyError

_TOKEN = re.compile(
    r"(?P<typo>=[+-]\s)|(?P<sign>[+-])?\s*(?P<number>0[xX][0-9a-fA-F]+|\d+)\b"
    r"|(?P<sign_of_name>[+-])\s*(?P<name>(?![rw]\d)[A-Za-z_.$][\w.$]*)"
    r"|(?P<register>\b[rw](?:10|\d)\b)"
    r"|(?P<signed>\bs(?:>>=|>=|<=|/=|%=|>|<))"
    r"|(?P<word>[A-Za-z_.$][\w.$]*)"
    r"|(?P<mark>>>=|<<=|==|!=|>=|<=|[-+*/%&|^]=|\S)"
)
_PASTED = re.compile(r"^\s*\d+:\s+(?:\([0-9a-f]{2}\)\s+|(?:[0-9a-f]{2}\s+){8})")
_COMMENT = re.compile(r"(?:;|//|(?:^|\s)#).*$")
_NO_REGISTER = re.compile(r"\b[rw](?:1[1-9]|[2-9]\d|\d{3,})\b")
_LABEL = re.compile(r"^\s*([A-Za-z_.$][\w.$]*):(?!\S)")


class Shape(NamedTuple):
    """A line without its particulars: `key` to look up, and the particulars in order."""

    key: str
    values: tuple[str, ...]


def _keywords() -> frozenset[str]:
    words: set[str] = set()
    for row in isa.TABLE:
        for text in (row.syntax, *row.aliases):
            words |= set(re.findall(r"[A-Za-z_]\w*", re.sub(r"[rw]?\{\w+\}", " ", text)))
    return frozenset(words - {"r0", "w0"})


_KEYWORDS = _keywords()


def _shape(text: str) -> Shape:
    """Reduce a line of assembly to its shape."""
    key: list[str] = []
    values: list[str] = []
    for match in _TOKEN.finditer(text):
        if match["number"]:
            key.append("N")
            values.append((match["sign"] or "") + match["number"])
        elif match["name"]:
            key.append("N")
            values.append(match["sign_of_name"] + match["name"])
        elif match["register"]:
            key.append(match["register"][0].upper())
            values.append(match["register"][1:])
        elif match["word"] and match["word"] not in _KEYWORDS:
            key.append("N")
            values.append(match["word"])
        else:
            key.append(match[0])
    return Shape(" ".join(key), tuple(values))


class Pattern(NamedTuple):
    """A row of the table as the assembler sees it: the operands its shape's values stand for."""

    row: isa.Row
    fields: tuple[str, ...]
    syntax: str


_PLACE = re.compile(r"\b[rw](?:\{(dst|src)\}|(0)\b)|\{(\w+)\}|\b(\d+)\b")


def _field(match: re.Match[str]) -> str:
    """The operand a place in a syntax stands for; `=N` is the number N itself."""
    return match[1] or match[3] or (f"={match[2] or match[4]}")


def _patterns() -> dict[str, list[Pattern]]:
    """Shape of every syntax and alias in the table -> the rows that have it."""
    found: dict[str, list[Pattern]] = {}
    for row in isa.TABLE:
        for syntax in (row.syntax, *row.aliases):
            fields = tuple(_field(match) for match in _PLACE.finditer(syntax))
            example = _PLACE.sub(lambda m: f"{m[0][0]}0" if m[1] or m[2] else " 0", syntax)
            found.setdefault(_shape(example).key, []).append(Pattern(row, fields, syntax))
    return found


_PATTERNS = _patterns()
_SYMBOL_LOAD = re.compile(r"^r(10|\d)\s*=\s*([A-Za-z_.$][\w.$]*)\s*(?:([+-])\s*(\w+)\s*)?ll$")
_CALL = re.compile(r"^call\s+(?:kfunc\s+)?([A-Za-z_.$][\w.$]*)(?:#(-?\d+))?$")


FUNCTION = "function"
LINE_LIMIT = 1000  # characters; a line that is no assembly is refused within 1 ms


@dataclass
class _Section:
    """One program, or a function for several (its type is FUNCTION), while its lines are read."""

    name: str
    type: str
    records: list[tuple[int, ...]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    jumps: list[tuple[int, int, str]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    lines: list[SourceLine] = field(default_factory=list)
    license: str = "GPL"

    def emit(self, op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        """Append one instruction, with its second slot when it has one."""
        self.records.append((int(op), dst, src, 0, off, imm))
        if op in isa.WIDE:
            self.records.append((int(Op.INVALID), 0, 0, 0, 0, 0))


@takes(text=string, type=string, name=string)
def assemble(text: str, type: str = "syscall", name: str = "main") -> Program:
    r"""Assemble one program; raises AssemblyError with the line and what to write instead.

    >>> wb.assemble("r0 = 6\nr0 *= 7\nexit").bytecode.hex(" ", 8)
    'b700000006000000 2700000007000000 9500000000000000'
    >>> wb.assemble("r0 == 42")
    Traceback (most recent call last):
    workbench.errors.AssemblyError: line 1: unknown instruction 'r0 == 42'; did you mean 'r0 = 42'?
    """
    programs = assemble_all(text, type, name)
    if len(programs) > 1:
        raise AssemblyError(0, f"the text holds {len(programs)} programs; use assemble_all")
    return next(iter(programs.values()))


@takes(text=string, type=string, name=string)
def assemble_all(text: str, type: str = "syscall", name: str = "main") -> dict[str, Program]:
    """Assemble every `.program` of a text, by name; text before the first is called `name`.

    A `.function` is appended to each program that calls it, directly or not, as libbpf does with
    functions in `.text`; its labels are its own. Raises AssemblyError with the line and what to
    write instead.
    """
    constants: dict[str, int] = {}
    maps: dict[str, MapDefinition] = {}
    sections = [_Section(name, type)]
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_LIMIT:
            raise AssemblyError(number, f"a line has at most {LINE_LIMIT} characters")
        statement = _COMMENT.sub("", _PASTED.sub("", line)).strip()
        if statement.startswith("."):
            statement = _directive(statement, number, sections, constants, maps)
        while match := _LABEL.match(statement):
            _define_label(sections[-1], match[1], number)
            statement = statement[match.end() :].strip()
        if statement:
            _statement(sections[-1], statement, number, line, constants)
    functions = {s.name: s for s in sections if s.records and s.type == FUNCTION}
    kept = [s for s in sections if s.records and s.type != FUNCTION]
    if not kept:
        raise AssemblyError(1, "no instructions; a program needs at least 'exit'")
    for section in kept:
        _link(section, functions)
    return {section.name: _finish(section, maps) for section in kept}


def _link(section: _Section, functions: dict[str, _Section]) -> None:
    """Append each function that a program calls, once; calls in what was appended count too."""
    for _, _, name in section.jumps:  # grows while it is read
        if name not in functions or name in section.labels:
            continue
        function, base = functions[name], len(section.records)
        section.labels[name] = base
        section.labels |= {f"{name}:{label}": base + pc for label, pc in function.labels.items()}
        section.records += function.records
        section.lines += [line._replace(pc=base + line.pc) for line in function.lines]
        section.references += [ref._replace(pc=base + ref.pc) for ref in function.references]
        section.jumps += [
            (base + pc, number, f"{name}:{target}" if target in function.labels else target)
            for pc, number, target in function.jumps
        ]


def _directive(
    text: str,
    number: int,
    sections: list[_Section],
    constants: dict[str, int],
    maps: dict[str, MapDefinition],
) -> str:
    """Carry out a directive; anything else may be a label such as `.L1:`."""
    words = text.replace(",", " ").split()
    if words[0] == ".equ" and len(words) == 3:
        constants[words[1]] = _number(words[2], number, constants)
    elif words[0] == ".program" and len(words) in (2, 3):
        kind = words[2] if len(words) == 3 else sections[0].type
        if kind not in PROGRAM_TYPES:
            known = ", ".join(PROGRAM_TYPES)
            raise AssemblyError(number, f"unknown program type '{kind}'; choose from {known}")
        if any(s.name == words[1] and s.records and s.type != FUNCTION for s in sections):
            raise AssemblyError(number, f"program '{words[1]}' is defined twice")
        sections.append(_Section(words[1], kind))
    elif words[0] == ".function" and len(words) == 2:
        if any(s.name == words[1] and s.type == FUNCTION for s in sections):
            raise AssemblyError(number, f"function '{words[1]}' is defined twice")
        sections.append(_Section(words[1], FUNCTION))
    elif words[0] == ".map" and len(words) > 1:
        try:
            definition = read_map(words[1:])
        except ValueError as error:
            raise AssemblyError(number, str(error)) from None
        if definition.name in maps:
            raise AssemblyError(number, f"map '{definition.name}' is declared twice")
        maps[definition.name] = definition
    elif words[0] == ".license" and len(words) == 2:
        sections[-1].license = words[1].strip('"')
    elif _LABEL.match(text):
        return text
    else:
        raise AssemblyError(
            number,
            f"cannot read '{text}'; directives are .equ NAME, VALUE  .program NAME [TYPE]  "
            ".function NAME  .license NAME  .map NAME TYPE ...",
        )
    return ""


def _define_label(section: _Section, label: str, number: int) -> None:
    if label in section.labels:
        raise AssemblyError(number, f"label '{label}' is defined twice")
    section.labels[label] = len(section.records)


def _statement(
    section: _Section, text: str, number: int, line: str, constants: dict[str, int]
) -> None:
    """Assemble one instruction."""
    section.lines.append(SourceLine(len(section.records), number, line.strip()))
    if match := _CALL.match(text):
        return _call(section, match[1], match[2], number)
    if re.match(r"^call\s+(?:pc)?[+-]\d", text):
        target = text.split()[-1].removeprefix("pc")
        section.jumps.append((len(section.records), number, target))
        return section.emit(Op.CALL_LOCAL)
    match = _SYMBOL_LOAD.match(text)
    if match and match[2] not in constants and match[2] not in _KEYWORDS:
        return _symbol_load(section, match, number, constants)
    pattern, shape = _find(text, number)
    _encode(section, pattern, shape, number, constants)


def _find(text: str, number: int) -> tuple[Pattern, Shape]:
    """Look a line up in the table, or explain what was probably meant."""
    shape = _shape(re.sub(r"\bpc(?=[+-]\d)", "", text))
    for pattern in _PATTERNS.get(shape.key, ()):
        pairs = zip(pattern.fields, shape.values, strict=True)
        if all(field[0] != "=" or field[1:] == value.lstrip("+") for field, value in pairs):
            return pattern, shape
    if bad := _NO_REGISTER.search(text):
        raise AssemblyError(number, f"register {bad[0]} does not exist; use r0 to r10", text)
    raise AssemblyError(number, f"unknown instruction '{text}'{_suggest(shape)}", text)


def _suggest(shape: Shape) -> str:
    """Offer the nearest instruction, written with the operands of the line."""
    key = re.sub(r"=([+-])\s", r"\1=", shape.key).replace("if R = ", "if R == ")
    near = difflib.get_close_matches(key, _PATTERNS, 1, 0.55)  # not measured; the usual is 0.6
    if not near:
        return ""
    values = iter(shape.values)
    text = re.sub(
        r"([rw])?(\{\w+\})",
        lambda match: _operand(next(values, "0"), match[1], match[2]),
        _PATTERNS[near[0]][0].syntax,
    )
    return f"; did you mean '{text}'?"


def _operand(value: str, register: str | None, place: str) -> str:
    """An operand for a suggestion: the line's own where it fits, else register 1."""
    if register:
        return register + (value if value in map(str, range(REGISTERS)) else "1")
    if place == "{off}":
        return value.replace("-", "- ") if value[0] == "-" else "+ " + value.removeprefix("+")
    return value


def _encode(
    section: _Section, pattern: Pattern, shape: Shape, number: int, constants: dict[str, int]
) -> None:
    """Turn matched operands into a record, checking that each fits its field."""
    row = pattern.row
    found: dict[str, int] = {}
    for name, text in zip(pattern.fields, shape.values, strict=True):
        if name[0] == "=":
            continue
        if name == "target":
            section.jumps.append((len(section.records), number, text))
            continue
        value = _number(text, number, constants)
        if found.setdefault(name, value) != value:
            both = f"r{found[name]} and r{value}"
            raise AssemblyError(number, f"both registers must be the same: {both}")
    _check_ranges(row, found, number)
    wide = row.op in isa.WIDE
    immediate = isa.has_immediate_form(row.op) and "{imm}" in row.syntax
    src = isa.ZERO if immediate else found.get("src", 0)
    imm = found.get("imm", 0)
    if wide and row.op not in _WHOLE_64:
        return section.emit(row.op, found["dst"], imm=imm & 0xFFFFFFFF | found.get("off", 0) << 32)
    if wide:
        imm = (imm & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)
    else:
        imm = (imm & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    section.emit(row.op, found.get("dst", 0), src, found.get("off", 0), imm)


_UNSIGNED_OK = frozenset({"alu32", "jump32", "packet", "imm64"})
_WHOLE_64 = frozenset({Op.LD_IMM64, Op.LD_BTF_ID})


def _check_ranges(row: isa.Row, found: dict[str, int], number: int) -> None:
    """Refuse a number that its field cannot hold."""
    off, imm = found.get("off", 0), found.get("imm", 0)
    bits = 32 if row.op in isa.WIDE else 16
    if not -1 << bits - 1 <= off < 1 << bits - 1:
        raise AssemblyError(number, f"offset {off} does not fit {bits} bits")
    if row.op in _WHOLE_64:
        if not -(1 << 63) <= imm < 1 << 64:
            raise AssemblyError(number, f"{imm:#x} does not fit 64 bits")
        return
    unsigned = row.group in _UNSIGNED_OK or row.op in (Op.STX8, Op.STX16, Op.STX32, Op.CALL_HELPER)
    top = 1 << 32 if unsigned else 1 << 31
    if not -(1 << 31) <= imm < top:
        hint = f"; load it with 'rN = {imm:#x} ll'" if row.group == "alu64" else ""
        raise AssemblyError(number, f"{imm:#x} does not fit a 32-bit immediate{hint}")


def _number(text: str, number: int, constants: dict[str, int]) -> int:
    """Read a number or a named constant."""
    sign, bare = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if bare in constants:
        return sign * constants[bare]
    try:
        return sign * int(bare, 0 if bare[:2] in ("0x", "0X") else 10)
    except ValueError:
        if _NO_REGISTER.fullmatch(bare):
            raise AssemblyError(number, f"register {bare} does not exist; use r0 to r10") from None
        near = difflib.get_close_matches(bare, constants, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "; define it with .equ"
        raise AssemblyError(number, f"unknown name '{bare}'{hint}") from None


def _call(section: _Section, name: str, ident: str | None, number: int) -> None:
    """Assemble a call by name: a helper or kfunc of the table, a label, or another kfunc."""
    if name in HELPER_NUMBERS:
        return section.emit(Op.CALL_HELPER, imm=HELPER_NUMBERS[name])
    if name in KFUNCS or name.startswith("bpf_"):
        section.references.append(Reference(len(section.records), "kfunc", name))
        return section.emit(Op.CALL_KFUNC, imm=-1)
    section.jumps.append((len(section.records), number, name))
    return section.emit(Op.CALL_LOCAL)


def _symbol_load(
    section: _Section, match: re.Match[str], number: int, constants: dict[str, int]
) -> None:
    """Assemble `rN = arena ll`, `rN = NAME + OFFSET ll` (a map) or `rN = LABEL ll` (a function)."""
    dst, name, sign, offset = int(match[1]), match[2], match[3], match[4]
    if dst > 9:
        raise AssemblyError(number, "r10 is the frame pointer and cannot be written")
    kind = "arena" if name == "arena" else "map"
    section.references.append(Reference(len(section.records), kind, name))
    if offset is None:
        return section.emit(Op.LD_MAP_FD, dst)
    value = _number((sign or "") + offset, number, constants)
    if not -1 << 31 <= value < 1 << 31:
        raise AssemblyError(number, f"offset {value} does not fit 32 bits")
    section.emit(Op.LD_MAP_VALUE, dst, imm=value << 32)


def _targets(section: _Section) -> Iterator[tuple[int, int]]:
    """Resolve each jump to (slot, relative target)."""
    for pc, number, text in section.jumps:
        if re.fullmatch(r"[+-]?(0[xX][0-9a-fA-F]+|\d+)", text):
            offset = _number(text, number, {})
        elif text in section.labels:
            offset = section.labels[text] - pc - 1
        else:
            near = difflib.get_close_matches(text, [*section.labels, *BY_NAME], 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise AssemblyError(number, f"unknown label '{text}'{hint}")
        bits = 16 if isa.row_of(section.records[pc][0]).target_field == "off" else 32
        if not -1 << bits - 1 <= offset < 1 << bits - 1:
            far = f"'{text}' is {offset} slots away, out of {bits}-bit range"
            raise AssemblyError(number, far + ("; use gotol" if bits == 16 else ""))
        yield pc, offset


def _finish(section: _Section, maps: dict[str, MapDefinition]) -> Program:
    """Close a section: resolve its jumps and names, and make the value."""
    loads = [ref for ref in section.references if ref.kind == "map"]
    functions = [ref for ref in loads if ref.name in section.labels]
    for ref in functions:
        section.records[ref.pc] = (int(Op.LD_FUNC), *section.records[ref.pc][1:])
        section.jumps.append((ref.pc, 0, ref.name))
    records = np.array(section.records, isa.INSTRUCTION)
    for pc, offset in _targets(section):
        records[pc]["off"] = offset
    references = tuple(ref for ref in section.references if ref not in functions)
    bytecode, lines = isa.encode(records), tuple(section.lines)
    named = {reference.name for reference in references}
    declared = tuple(definition for name, definition in maps.items() if name in named)
    return Program(
        section.name, section.type, bytecode, references, lines, section.license, declared
    )
