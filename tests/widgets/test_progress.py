"""Bars are drawn where somebody watches: on a terminal, in a notebook, and nowhere else."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

from workbench.bpf.assembler import assemble
from workbench.verifier import verify

BAR = """
from workbench.widgets.progress import bar
print(sum(bar("counting", range(4), delay=0)))
"""
LOOP = "r0 = 0\nagain:\nr0 += 1\nif r0 < 9000 goto again\nexit"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}


def written(code: str, stderr: int) -> str:
    """Run Python with its standard error there; what it wrote to standard output."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=stderr, env=environment(), check=True, text=True
    )
    return done.stdout


def test_no_bar_in_a_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        assert written(BAR, file.fileno()) == "6\n"
    assert log.read_bytes() == b""


def test_a_bar_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, 80))  # a new one has no columns, and so no room
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            assert written(BAR, theirs) == "6\n"
        finally:
            os.close(theirs)
        drawn = terminal.read(1 << 16).decode()
    assert "counting:   0%" in drawn
    assert drawn.endswith("\r")  # and is gone at the end


def test_a_bar_in_a_notebook(tmp_path: Path) -> None:
    """A kernel's standard error is no terminal, yet a person reads it."""
    stream = "import io, sys\n"
    stream += "Stream = type('Stream', (io.StringIO,), {'__module__': 'ipykernel.iostream'})\n"
    stream += "sys.stderr = Stream()\n"
    shown = written(f"{stream}{BAR}\nprint(sys.stderr.getvalue())", subprocess.DEVNULL)
    assert "counting:   0%" in shown


def test_the_verifier_reports_to_who_asks() -> None:
    told: list[int] = []
    report = verify(assemble(LOOP), progress=told.append)
    assert report.processed == 18_002
    assert told == [4096, 8192, 12288, 16384]


def test_a_verification_writes_no_bar(tmp_path: Path) -> None:
    """As `workbench verify long.bpf 2>log` for a program that takes over a second."""
    source, log = tmp_path / "long.bpf", tmp_path / "log"
    source.write_text(LOOP.replace("9000", "90000"))
    with log.open("wb") as file:
        code = f"from workbench.cli import main; main(['verify', {str(source)!r}])"
        assert "accepted" in written(code, file.fileno())
    assert log.read_bytes() == b""
