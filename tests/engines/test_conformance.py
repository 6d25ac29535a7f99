"""Single instructions in their corners, on every engine and through `workbench plugin`."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.kernel_support import KERNEL
from support.paths import CONFORMANCE

import workbench as wb
from workbench.cli import cli
from workbench.engines.base import Engine

ROWS = tomllib.loads(CONFORMANCE.read_text())["row"]
LINUX = [row for row in ROWS if row.get("kernel", True)]
NAMES = {row["name"] for row in ROWS}


def name_of(row: dict[str, Any]) -> str:
    return str(row["name"])


def test_every_row_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(ROWS)


@pytest.mark.parametrize("engine", [wb.Interpreter, wb.Jit])
@pytest.mark.parametrize("verified", [False, True], ids=["raw", "verified"])
def test_in_process(engine: Any, verified: bool, scale: Callable[[int, int], int]) -> None:
    """All rows raw, on run-time checks alone; those that Linux accepts verified, too."""
    wrong = []
    for row in LINUX[:: scale(5, 1)] if verified else ROWS:
        program = wb.assemble(row["asm"], type="syscall" if verified else "raw")
        memory = bytes.fromhex(row.get("memory", ""))
        with engine(program, verify=verified) as machine:
            result = machine.run(memory)
        expected = ("fault", 0) if row.get("fails") else ("exit", int(row["r0"], 16))
        if (result.stop, 0 if result.fault else result.r0) != expected:
            wrong.append(f"{row['name']}: {result}")
    assert not wrong, "\n".join(wrong)


@KERNEL[0]
@KERNEL[1]
@pytest.mark.parametrize("half", [0, 32])
def test_linux_says_the_same(half: int) -> None:
    """The authority: the lower half of r0 as it is, the upper half shifted down before the exit."""
    wrong = []
    for row in LINUX:
        text = row["asm"].replace("\nexit", f"\nr0 >>= {half}\nexit", 1)
        with wb.Kernel(wb.assemble(text)) as engine:
            found = run(engine)
        if found != int(row["r0"], 16) >> half & 0xFFFFFFFF:
            wrong.append(f"{row['name']}: {found:#x}")
    assert not wrong, "\n".join(wrong)


def run(engine: Engine) -> int:
    return engine.run().r0


def plugin(row: dict[str, Any], engine: str, spaced: bool = False) -> Result:
    """One process' worth of `workbench plugin`."""
    content = wb.assemble(row["asm"], type="raw").bytecode
    arguments = ["plugin", *([row["memory"]] if "memory" in row else []), "--engine", engine]
    return CliRunner().invoke(cli, arguments, input=content.hex(" ") if spaced else content.hex())


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_plugin(engine: str) -> None:
    for number, row in enumerate(ROWS[::29] + ROWS[-12:]):
        if row["name"] == "off the end":
            continue
        found = plugin(row, engine, spaced=bool(number % 2))
        if row.get("fails"):
            assert found.exit_code == 1, row["name"]
        else:
            assert found.output == f"{int(row['r0'], 16):x}\n", row["name"]


@pytest.mark.parametrize(
    ("arguments", "content", "words"),
    [
        ([], "xyz", "not pairs of hexadecimal digits"),
        ([], "", "empty"),
        (["zz"], "9500000000000000", "not pairs of hexadecimal digits"),
        ([], "95000000000000", "8"),
    ],
)
def test_plugin_says_what_is_wrong(arguments: list[str], content: str, words: str) -> None:
    found = CliRunner().invoke(cli, ["plugin", *arguments], input=content)
    assert found.exit_code in (1, 2)
    assert words in f"{found.output} {found.exception}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["01  02  03  04  ", ""],
        ["01  02  03  04  ", "--engine jit"],
        ["01020304", "--engine=jit"],
        ["0x01020304", "--engine", "jit"],
        ["--engine jit", "01 02 03 04"],
    ],
)
def test_plugin_takes_arguments_as_the_runner_passes_them(arguments: list[str]) -> None:
    """Memory with spaces, all options in one argument, or an empty one for none."""
    content = wb.assemble("r0 = *(u32 *)(r1 + 0)\nexit", type="raw").bytecode.hex(" ")
    found = CliRunner().invoke(cli, ["plugin", *arguments], input=content.replace(" ", "  ") + "\n")
    assert found.output == "4030201\n"


@pytest.mark.parametrize("arguments", [[], [""], ["", ""], ["", "--engine jit"], ["--engine=jit"]])
def test_plugin_without_memory(arguments: list[str]) -> None:
    content = wb.assemble("r0 = r2\nexit", type="raw").bytecode.hex()
    found = CliRunner().invoke(cli, ["plugin", *arguments], input=content)
    assert found.output == "0\n"
