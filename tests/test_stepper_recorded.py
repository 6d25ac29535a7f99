"""Real recordings in the browser's replay: registers, bytes, and a sentence for each step."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import workbench as wb
from workbench import corpus

REPLAY = Path(__file__).parent / "js" / "replay_dump.mjs"


def replay(path: Path, steps: list[int]) -> dict[str, object]:
    """What tests/js/replay_dump.mjs says of a packed run."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js on this machine (Debian: apt-get install nodejs)")
    command = [node, str(REPLAY), str(path), *map(str, steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", ["list", "hash", "allocator"])
def test_the_browser_replays_what_ran(name: str, tmp_path: Path) -> None:
    program = next(iter(corpus.load(name).values()))
    with wb.Arena(pages=corpus.example(name).pages) as arena:
        trace = wb.record(program, arena, verify=False)
        left = arena.snapshot()
    (tmp_path / "run.trace").write_bytes(trace.payload())
    steps = [*range(0, len(trace), max(1, len(trace) // 60)), len(trace) - 1]
    seen = replay(tmp_path / "run.trace", steps)
    expected = {str(t): [str(r) for r in trace.state(t).registers] for t in steps}
    assert seen["registers"] == expected
    pages = zip(left.pages, left.bytes, strict=True)
    assert seen["pages"] == {str(number): page.tobytes().hex() for number, page in pages}
    sentences = seen["sentences"]
    assert isinstance(sentences, list)
    assert len(sentences) == len(trace)
    assert not [text for text in sentences if re.search(r"undefined|null|NaN|\[object", text)]
