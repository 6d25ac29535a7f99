"""LLVM IR as text: numbered values, labels, and the metadata that keeps memories apart.

Text is several times faster to make than llvmlite's objects, and LLVM checks it all the same.
"""

MASK32 = "4294967295"

METADATA = """
!0 = distinct !{!0, !"memory"}
!1 = distinct !{!1, !0, !"arena"}
!2 = distinct !{!2, !0, !"pages"}
!3 = distinct !{!3, !0, !"private"}
!4 = !{!1}
!5 = !{!2}
!6 = !{!3}
!7 = !{!2, !3}
!8 = !{!1, !3}
!9 = !{!1, !2}
!10 = !{!"branch_weights", i32 1048575, i32 1}
!11 = !{}
"""
"""Arena, page bits, and what only this run can reach (registers, stack, context) never overlap."""

ARENA = ", !alias.scope !4, !noalias !7"
PAGES = ", !alias.scope !5, !noalias !8"
PRIVATE = ", !alias.scope !6, !noalias !9"
LIKELY = ", !prof !10"


class Writer:
    """Collects the instructions of one function; values and labels are numbered."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._count = 0

    def value(self, text: str) -> str:
        """Append an instruction with a result; returns the result's name."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + text)

    def new_label(self) -> str:
        """A fresh label's name."""
        self._count += 1
        return f"l{self._count}"

    def label(self, name: str) -> None:
        """Begin the basic block `name`."""
        self.lines.append(f"{name}:")

    def branch(self, condition: str, then: str, otherwise: str, hint: str = "") -> None:
        """Leave the block: to `then` if the i1 `condition` holds; LIKELY says it mostly does."""
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}{hint}")

    def goto(self, name: str) -> None:
        """Leave the block."""
        self.do(f"br label %{name}")


def literal(value: int) -> str:
    """A 64-bit number as LLVM writes it: signed."""
    return str((value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63))
