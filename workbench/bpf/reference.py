"""The instruction table as a page to read."""

import re

from workbench.bpf import isa

_PLACEHOLDERS = {"dst": "D", "src": "S", "imm": "IMM", "off": "+ OFF", "target": "TARGET"}


def reference() -> str:
    """The instruction table as Markdown: a section for each class, a line for each encoding.

    D and S stand for register numbers, IMM and OFF for numbers, TARGET for a label or a distance
    in slots. Fields that a line neither shows nor fixes must be 0.
    """
    lines: list[str] = []
    group = ""
    for row in sorted(isa.TABLE, key=lambda row: row.group):
        if row.group != group:
            group = row.group
            lines += ["", f"## {group}", "", "| text | opcode | fixed fields | operation |"]
            lines.append("|---|---|---|---|")
        text = re.sub(r"\{(\w+)\}", lambda match: _PLACEHOLDERS[match[1]], row.syntax)
        fixed = ", ".join(f"{name} = {value:#x}" for name, value in row.pinned.items())
        escaped = text.replace("|", "\\|")
        lines.append(f"| `{escaped}` | `{row.opcode:#04x}` | {fixed} | {row.op.name} |")
    return "\n".join(lines[1:]) + "\n"
