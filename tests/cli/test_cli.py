"""The `workbench` command: rows of arguments with the status and the text that they must give."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from support.bpf_probe import refusal
from support.paths import PROGRAMS, ROOT, VERIFIER_LOGS

from workbench.cli import cli, main
from workbench.examples import programs

LIST = str(PROGRAMS / "list.bpf")
KERNEL = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal() or "bpf works")]

FILES = {
    "ok.bpf": "r0 = 42\nexit\n",
    "ctx.bpf": "r0 = *(u64 *)(r1 + 0)\nr0 += 1\n*(u64 *)(r1 + 8) = r0\nexit\n",
    "raw.bpf": "r0 = *(u8 *)(r1 + 1)\nr0 += r2\nexit\n",
    "beyond.bpf": "r0 = *(u64 *)(r1 + 4096)\nexit\n",
    "endless.bpf": "again:\nr0 = 0\nif r0 == 0 goto again\nexit\n",
    "ok.hex": "b70000002a000000\n9500000000000000\n",
    "typo.bpf": "r0 = 0\nr1 =+ 2\nexit\n",
    "empty.bpf": "",
    "label.bpf": "goto nowhere\nexit\n",
    "truncated.hex": "b70000002a00",
    "unknown.hex": "ff00000000000000",
    "letters.hex": "b7000000zz000000",
    "range.bpf": "if r1 == 0 goto +9\nr0 = 0\nexit\n",
    "middle.bpf": "if r1 == 0 goto +1\nr1 = 5 ll\nr0 = 0\nexit\n",
    "unread.bpf": "r0 = 1\nr0 += r3\nexit\n",
    "mixed.bpf": "r4 = *(u64 *)(r1 + 0)\nr2 = arena + 8 ll\nif r4 == 0 goto joined\n"
    "r2 = cast_kern(r2)\njoined: r2 += 8\nr0 = 0\nexit\n",
    "r10.bpf": "r10 = 1\nr0 = 0\nexit\n",
    "end.bpf": "r0 = 0\n",
    "deep.bpf": "call f\nexit\nf:\ncall f\nexit\n",
}


class Row(NamedTuple):
    """Arguments, the exit status, and patterns that standard output and error must contain."""

    arguments: str
    status: int
    output: str = ""
    errors: str = ""


ROWS = [
    Row("run ok.bpf", 0, r"^ok on interpreter: exit, r0 = 0x2a, 2 steps, .* ms$"),
    Row("run ok.hex", 0, "r0 = 0x2a"),
    Row("run ctx.bpf --ctx 0x0500000000000000,0000000000000000", 2, "", "hexadecimal digits"),
    Row(f"run ctx.bpf --ctx 05{'00' * 15}", 0, "0500000000000000 0600000000000000"),
    Row("run raw.bpf --memory 0007", 0, "r0 = 0x9"),
    Row("run raw.bpf --type raw", 1, "fault", r"Error: raw: instruction 0 .* in no memory"),
    Row(f"run ok.bpf --type xdp --ctx {'00' * 14}", 0, "r0 = 0x2a"),
    Row("run ok.bpf --type xdp --ctx 00", 1, "", "a packet for xdp has 14 to"),
    Row("run beyond.bpf --ctx 00", 1, "fault", r"beyond: instruction 0 \(.* has 1 bytes"),
    Row("run beyond.bpf --ctx 00 --no-verify", 1, "fault", r"instruction 0 \(r0 = "),
    Row(
        "run endless.bpf --fuel 1000 --no-verify",
        1,
        "fuel, .* 1,000 steps",
        "out of fuel after 1,000 steps",
    ),
    Row("run ok.bpf --user-base 0x200000000000 --pages 2 --flag SEGV_ON_FAULT", 0, "exit"),
    # Bad text and bytes.
    Row("run typo.bpf", 1, "", "typo.bpf: line 2: unknown instruction 'r1 =.* 2'; did you mean"),
    Row("run empty.bpf", 1, "", "no instructions"),
    Row("run label.bpf", 1, "", "line 1: unknown label 'nowhere'"),
    Row("run truncated.hex", 1, "", "instruction 0: truncated"),
    Row("run unknown.hex", 1, "", "instruction 0: unknown opcode 0xff"),
    Row("run letters.hex", 1, "", "instruction 0: 'z' is not a hexadecimal digit"),
    Row("run missing.bpf", 1, "", "cannot read missing.bpf: No such file"),
    Row("run .", 1, "", "cannot read .: Is a directory"),
    # Programs that are refused.
    Row("run range.bpf", 1, "", "range.bpf:1: instruction 0: jump out of range"),
    Row("run middle.bpf", 1, "", "jump into the middle of ldimm64"),
    Row("run unread.bpf", 1, "", r"unread.bpf:2: instruction 1: R3 !read_ok"),
    Row("run r10.bpf", 1, "", "r10.bpf:1: instruction 0: frame pointer is read only"),
    Row("run end.bpf", 1, "", "last insn is not an exit"),
    Row("run deep.bpf", 1, "", "instruction"),
    Row("run deep.bpf --no-verify", 1, "fault", "more than 8 nested calls"),
    # Arenas that Linux refuses.
    Row("run ok.bpf --pages 0", 1, "", "EINVAL: an arena has at least 1 page"),
    Row("run ok.bpf --pages 1048577", 1, "", "E2BIG: 1048577 pages"),
    Row("run ok.bpf --user-base 0x1001", 1, "", "EINVAL: .* not a multiple of 4096"),
    Row("run ok.bpf --user-base fffff000", 1, "", "ERANGE: .* cross a 4 GiB line"),
    # Wrong usage.
    Row("", 2, "", "Usage: workbench"),
    Row("nonsense", 2, "", "No such command 'nonsense'"),
    Row("run", 2, "", "Missing argument 'FILE'"),
    Row("run ok.bpf --engine warp", 2, "", "'warp' is not one of"),
    Row("run ok.bpf --flag fast", 2, "", "'fast' is not one of"),
    Row("run ok.bpf --ctx 0", 2, "", "'0' is not pairs of hexadecimal digits"),
    Row("run ok.bpf --user-base -1000", 2, "", "is not a hexadecimal number"),
    Row("run ok.bpf --fuel -1", 2, "", "--fuel"),
    Row("run ok.bpf --memory 00 --ctx 00", 2, "", "--memory is for raw programs"),
    Row("run ok.bpf --type raw --ctx 00", 2, "", "--ctx is for syscall programs"),
    Row("run ok.bpf --ctx 00 --ctx 01", 2, "", "2 --ctx for 1 --program"),
    Row("run ok.bpf --trace x.doc", 2, "", "writes .parquet or .html"),
    Row("run ok.bpf --trace nowhere/x.html", 2, "", "no directory 'nowhere'"),
    Row("run ok.bpf --program other", 1, "", "no program 'other' in ok.bpf; it has ok"),
    # Text.
    Row("asm ok.bpf", 0, "^b70000002a000000\n9500000000000000\n$"),
    Row("disasm ok.hex", 0, "^    r0 = 42\n    exit\n$"),
    Row("disasm unknown.hex", 1, "", "unknown opcode"),
    Row(f"asm {LIST} --program walk", 0, "9500000000000000\n$", "Note: .* arena"),
    Row("verify ok.bpf", 0, "^ok: accepted: 2 instructions"),
    Row("verify unread.bpf", 1, "^$", r"^Error: unread.bpf:2: unread: refused at instruction 1"),
    Row("verify unread.bpf --explain", 1, "r3 is read, but(.|\n)*What to change", "refused"),
    Row("verify mixed.bpf --release 6.18", 0, "^mixed: accepted"),
    Row("verify mixed.bpf --release 7.3", 1, "^$", "same insn cannot be used with and without"),
    Row("verify mixed.bpf --profile 7.3", 1, "^$", "same insn cannot be used with and without"),
    Row("verify mixed.bpf --release 6.12", 1, "^$", "does not follow Linux 6.12 yet"),
    Row("verify", 2, "", "give a FILE with programs"),
    Row("verify ok.bpf --kernel-log ok.bpf", 2, "", "not both"),
    Row("verify --kernel-log ok.bpf", 1, "", "holds no verifier log"),
    Row("verify --kernel-log missing.log", 1, "", "missing.log"),
    Row(
        f"verify --kernel-log {VERIFIER_LOGS}/linux_5_4.log",
        1,
        "packet's end(.|\n)*What to change",
        "refused",
    ),
    Row(
        f"verify --kernel-log {VERIFIER_LOGS}/linux_7_3.log",
        1,
        "list.c:14(.|\n)*Linux explains",
        "refused",
    ),
    Row(f"verify --kernel-log {VERIFIER_LOGS}/linux_7_3.log --json", 1, '"pc": 2,', "refused"),
    Row("verify unread.bpf --log", 1, r"1: \(0f\) r0 \+= r3\nR3 !read_ok", "refused"),
    Row(f"verify {LIST}", 0, "list: accepted(.|\n)*walk: accepted"),
    Row("isa cast kern", 0, r"^0xbf  alu64   CAST_KERN +r\{dst\} = cast_kern"),
    Row("--version", 0, "^workbench, version 0"),
    Row("run --help", 0, "--no-verify"),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with FILES in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> int:
    """The exit status of the command, run in this process."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.arguments.replace(str(ROOT), ""))
def test_rows(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    status = call(*row.arguments.split())
    captured = capsys.readouterr()
    assert status == row.status, captured.err
    assert re.search(row.output, captured.out), captured.out
    assert re.search(row.errors, captured.err), captured.err
    if status == 1:
        problems = [line for line in captured.err.splitlines() if line.startswith("Error: ")]
        assert captured.err.splitlines() == problems
        assert len(problems) == 1
    if not row.errors:
        assert captured.err == ""


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """The one object that `run --json` prints."""
    call("run", *arguments, "--json")
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("files")
def test_json_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "ctx.bpf", "--ctx", "ff" * 8 + "00" * 8)
    assert found.pop("seconds") >= 0
    assert found == {
        "engine": "interpreter", "program": "ctx", "stop": "exit", "r0": "0x0", "r0_bits": 64,
        "steps": 4, "ctx": "ff" * 8 + "00" * 8, "pc": 3, "reason": "",
    }  # fmt: skip


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("file", ["typo.bpf", "unread.bpf", "missing.bpf"])
def test_json_of_a_refusal_has_the_same_keys(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused = run_json(capsys, file)
    assert refused.keys() == run_json(capsys, "ok.bpf").keys()
    assert (refused["stop"], refused["r0"], refused["program"]) == ("refused", None, file[:-4])
    assert file in refused["reason"]


def words(*values: int) -> str:
    """A context of 64-bit words."""
    return b"".join(value.to_bytes(8, "little") for value in values).hex()


def test_programs_in_turn_share_the_arena(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [("add", 5), ("add", 7), ("delete", 5), ("walk", 0)]
    options = [("--program", name, "--ctx", words(value, 0)) for name, value in steps]
    runs = run_json(capsys, LIST, *sum(options, ()))["runs"]
    assert [run["program"] for run in runs] == [name for name, _ in steps]
    assert [run["r0"] for run in runs][2:] == ["0x1", "0x7"]


def test_the_first_failure_ends_the_series(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--program", "main", "--program", "add", "--program", "walk", "--fuel", "100"]
    runs = run_json(capsys, LIST, *arguments)["runs"]
    assert [run["stop"] for run in runs] == ["fuel"]
    runs = run_json(capsys, LIST, *arguments[:-2], "--ctx", "00")["runs"]  # add reads more
    assert [run["stop"] for run in runs] == ["exit", "fault"]


def test_a_trace_is_a_table_of_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "steps.parquet"
    names = ["--program", "main", "--program", "walk"]
    found = run_json(capsys, LIST, *names, "--ctx", words(0, 0), "--trace", str(output))
    table = pd.read_parquet(output)
    assert table.groupby("run").size().tolist() == [run["steps"] for run in found["runs"]]
    assert list(table["program"].unique()) == ["list", "walk"]
    assert {"step", "pc", "text", "value", "address"} <= set(table.columns)


def test_a_trace_is_a_page(tmp_path: Path) -> None:
    assert call("run", LIST, "--trace", str(tmp_path / "list.html")) == 0
    assert "stepper" in (tmp_path / "list.html").read_text()


@pytest.mark.usefixtures("files")
def test_verify_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify", "unread.bpf", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    [row] = found["programs"]
    assert (found["ok"], row["pc"], row["line"]) == (False, 1, 2)
    assert "R3 !read_ok" in row["log"]


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor", "--json") == 0
    assert {"name", "ok", "detail", "cure"} == set(json.loads(capsys.readouterr().out)["checks"][0])


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("text", [FILES["ok.bpf"], FILES["ok.hex"]], ids=["assembly", "bytecode"])
def test_standard_input(text: str) -> None:
    done = command("run", "-", "--json", input=text)
    assert json.loads(done.stdout)["r0"] == "0x2a"


def command(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run([*COMMAND, *arguments], input=input, capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip


COMMAND = [sys.executable, "-c", "from workbench.cli import main; main()"]


def test_help_imports_next_to_nothing() -> None:
    code = "import sys\nfrom workbench.cli import main\ntry:\n    main(['--help'])\n" \
        "finally:\n    print(*sys.modules, file=sys.stderr)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "numba", "pandas"} & set(done.stderr.split())


@pytest.mark.parametrize("group", ["", "labs"])
def test_no_summary_of_a_command_is_cut_off(
    group: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*group.split(), "--help"])
    commands = capsys.readouterr().out.partition("Commands:\n")[2]
    assert len(commands.splitlines()) >= 5
    assert "..." not in commands


def test_no_help_speaks_of_exceptions(capsys: pytest.CaptureFixture[str]) -> None:
    for command in cli.commands:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "Raises" not in capsys.readouterr().out, command


def test_a_plain_run_imports_neither_pandas_nor_matplotlib() -> None:
    code = f"import sys\nfrom workbench.cli import main\ntry:\n    main(['run', {LIST!r}])\n" \
        "finally:\n    print(*sys.modules, file=sys.stderr)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "matplotlib", "anywidget"} & set(done.stderr.split())


def test_a_closed_pipe_is_no_news() -> None:
    shell = f"{COMMAND[0]} -c '{COMMAND[2]}' isa | head -1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=True)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_ctrl_c_ends_an_endless_program(files: Path) -> None:
    code = "from workbench.cli import main; print('ready', flush=True); main()"
    arguments = ["run", "endless.bpf", "--no-verify", "--fuel", "1000000000000", "--json"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=files, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    if output:  # not when the signal came before the program ran
        assert json.loads(output)["stop"] == "interrupt"


def example_runs() -> list[pytest.param]:
    names = [name for name in programs.names() if programs.example(name).sizes is None]
    return [pytest.param(str(programs.path(name)), id=name, marks=KERNEL) for name in names]


@pytest.mark.parametrize("path", example_runs())
def test_both_engines_give_equal_results(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    emulated = run_json(capsys, path, "--pages", "64")
    real = run_json(capsys, path, "--pages", "64", "--engine", "kernel")
    assert (real["r0_bits"], real["steps"]) == (32, None)
    assert int(emulated["r0"], 16) & 0xFFFFFFFF == int(real["r0"], 16)
    assert emulated["ctx"] == real["ctx"]
    assert emulated.keys() == real.keys()


KERNEL_ROWS = [
    Row("run raw.bpf --memory 0007 --engine kernel", 1, "", "cannot run a 'raw' program"),
    Row("run ok.bpf --fuel 5 --engine kernel", 1, "", "cannot stop after a number of steps"),
    Row("run ok.bpf --no-verify --engine kernel", 1, "", "runs verified programs only"),
    Row("run ok.bpf --trace x.html --engine kernel", 1, "", "cannot record 'steps'"),
    Row("run unread.bpf --engine kernel", 1, "", "unread.bpf:2: instruction 1: R3 !read_ok"),
    Row("run ok.bpf --engine kernel", 0, r"r0 = 0x2a \(its low 32 bits\), steps not counted"),
    Row("run ok.bpf --engine kernel --pages 0", 1, "", "EINVAL: an arena has at least 1 page"),
    Row("agreement --help", 0, "on thousands of programs"),
    Row("verify unread.bpf --kernel", 1, "R3 !read_ok", "refused by the kernel"),
    Row("verify ok.bpf --kernel --log-level 2", 0, "Live regs(.|\n)*accepted by the kernel"),
    Row("verify ok.bpf --engine kernel", 0, "ok: accepted by the kernel"),
]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.arguments, marks=KERNEL) for row in KERNEL_ROWS]
)
def test_kernel_rows(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    test_rows(row, capsys)
