"""`make lint` prints how many lines of code each folder has, and fails over its budget.

The budgets stand in pyproject.toml, [tool.size]. Blank lines, comments and docstrings are free.
Who needs more room raises the number in the same commit, and says there what the lines are for.
"""

import sys
import tokenize
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FREE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


def code_lines(path: Path) -> int:
    """Lines of a Python or JavaScript file that hold code."""
    if path.suffix == ".js":
        lines = map(str.strip, path.read_text().splitlines())
        return sum(bool(line) and not line.startswith(("//", "/*", "*")) for line in lines)
    with tokenize.open(path) as file:
        found = {
            line
            for token in tokenize.generate_tokens(file.readline)
            if token.type not in FREE and not token.line.lstrip().startswith('"""')
            for line in range(token.start[0], token.end[0] + 1)
        }
    return len(found)


def sizes() -> dict[str, int]:
    """Lines of code of each folder of workbench/, of its loose modules (".") and of tests/."""
    found = {"tests": sum(map(code_lines, (ROOT / "tests").rglob("*.py")))}
    for path in (ROOT / "workbench").rglob("*.*"):
        if path.suffix in (".py", ".js"):
            folder, *inside = path.relative_to(ROOT / "workbench").parts
            name = folder if inside else "."
            found[name] = found.get(name, 0) + code_lines(path)
    return found


def main() -> int:
    """Print the table; the exit status is 1 if a folder is over its budget or has none."""
    budgets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["size"]
    found = sizes()
    over = {name: size for name, size in found.items() if size > budgets.get(name, 0)}
    for name, size in sorted(found.items(), key=lambda row: -row[1]):
        sign = "  over budget" if name in over else ""
        print(f"{name:12} {size:6,} of {budgets.get(name, 0):6,}{sign}")
    print(f"{'workbench':12} {sum(found.values()) - found['tests']:6,}")
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
