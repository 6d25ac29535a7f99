"""Run the tests of the widgets' JavaScript under Node.js, one file at a time."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = [
    path.relative_to(TESTS)
    for path in sorted(TESTS.rglob("*js"))
    if path.is_file() and "node:test" in path.read_text()
]


@pytest.mark.parametrize("name", FILES, ids=str)
def test_javascript(name: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js on this machine (Debian: apt-get install nodejs)")
    done = subprocess.run(
        [node, "--test", name], cwd=TESTS, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
