"""LLVM IR as text: numbered values, labels, and what is likely.

Text is several times faster to make than llvmlite's objects, and LLVM checks it all the same.
"""

from workbench.engines.jit.layout import Word

MASK32 = "4294967295"

# So far apart that LLVM lays the uncommon side out elsewhere; the ratio is not measured.
METADATA = """
!0 = !{}
!1 = !{!"branch_weights", i32 1048575, i32 1}
!2 = !{!"branch_weights", i32 1, i32 1048575}
"""

ALWAYS = ", !invariant.load !0"
LIKELY = ", !prof !1"
UNLIKELY = ", !prof !2"


class Writer:
    """Collects the instructions of one function; values and labels are numbered."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.places: list[int] = []  # the slot that each line was written for
        self.pc = -1
        self._count = 0

    def value(self, text: str) -> str:
        """Append an instruction with a result; returns the result's name."""
        self._count += 1
        name = f"%v{self._count}"
        self.do(f"{name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + text)
        self.places.append(self.pc)

    def new_label(self) -> str:
        """A fresh label's name."""
        self._count += 1
        return f"l{self._count}"

    def label(self, name: str) -> None:
        """Begin the basic block `name`."""
        self.lines.append(f"{name}:")
        self.places.append(-1)

    def branch(self, condition: str, then: str, otherwise: str, hint: str = "") -> None:
        """Leave the block: to `then` if the i1 `condition` holds; LIKELY says it mostly does."""
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}{hint}")

    def goto(self, name: str) -> None:
        """Leave the block."""
        self.do(f"br label %{name}")


def literal(value: int) -> str:
    """A 64-bit number as LLVM writes it: signed."""
    return str((value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63))


def load_words(kind: str, **words: Word) -> str:
    """Lines that load words of the parameter block %p as %name, each address as %name_at."""
    return "\n".join(
        f"  %{name}_at = getelementptr i64, ptr %p, i64 {int(word)}\n"
        f"  %{name} = load {kind}, ptr %{name}_at"
        for name, word in words.items()
    )


class Lines:
    """Debug metadata that ties each line of LLVM IR to the slot it was written for."""

    def __init__(self) -> None:
        self._rows = [
            "!llvm.dbg.cu = !{!101}",
            "!llvm.module.flags = !{!102}",
            '!100 = !DIFile(filename: "program", directory: "")',
            "!101 = distinct !DICompileUnit(language: DW_LANG_C, file: !100, emissionKind: "
            "LineTablesOnly)",
            '!102 = !{i32 2, !"Debug Info Version", i32 3}',
            "!103 = !DISubroutineType(types: !0)",
        ]
        self._next = 104
        self._scope = 0

    def function(self, entry: int) -> str:
        """Begin a function; returns its attachment."""
        self._scope = self._add(
            f'distinct !DISubprogram(name: "f{entry}", file: !100, line: {entry + 1}, '
            "type: !103, unit: !101, spFlags: DISPFlagDefinition)"
        )
        return f" !dbg !{self._scope}"

    def annotate(self, lines: list[str], places: list[int]) -> list[str]:
        """The lines of the function with their slots; what belongs to none gets line 0."""
        numbers = {
            pc: self._add(f"!DILocation(line: {pc + 1}, column: 1, scope: !{self._scope})")
            for pc in sorted(set(places))
        }
        return [
            f"{line}, !dbg !{numbers[pc]}" if line.startswith("  ") else line
            for line, pc in zip(lines, places, strict=True)
        ]

    def metadata(self) -> str:
        """All that the module needs at its end."""
        return "\n".join(self._rows)

    def _add(self, text: str) -> int:
        self._rows.append(f"!{self._next} = {text}")
        self._next += 1
        return self._next - 1
