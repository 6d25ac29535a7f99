"""Real recordings in the browser's replay: registers, bytes, and a sentence for each step."""

import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.paths import C_PROGRAMS, JAVASCRIPT

import workbench as wb
from workbench.debugger.cpus import Random
from workbench.examples import programs
from workbench.recording.format import unpack
from workbench.verifier.report import Record

REPLAY = JAVASCRIPT / "replay_dump.mjs"


def replay(path: Path, steps: list[int]) -> dict[str, Any]:
    """What replay_dump.mjs says of a packed run."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js on this machine (Debian: apt-get install nodejs)")
    command = [node, str(REPLAY), str(path), *map(str, steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", ["list", "hash", "allocator"])
def test_the_browser_replays_what_ran(name: str, tmp_path: Path) -> None:
    program = next(iter(programs.load(name).values()))
    with wb.Arena(pages=programs.example(name).pages) as arena:
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
    assert len(sentences) == len(trace)
    assert not [text for text in sentences if re.search(r"undefined|null|NaN|\[object", text)]


def test_the_browser_finds_the_objects_of_a_tree(tmp_path: Path) -> None:
    example = wb.load_object(C_PROGRAMS / "tree.o")
    with example.arena() as arena:
        trace = wb.record(example.program("grow"), arena, ctx=struct.pack("<4Q", 9, 1, 0, 0))
        (tmp_path / "run.trace").write_bytes(trace.payload())
        found = {row["address"]: row for row in replay(tmp_path / "run.trace", [0])["objects"]}
        variables = found.pop(str(arena.user_start))
        assert variables["fields"]["nodes"] == "9"
        nodes = {key: row for key, row in found.items() if row["name"] == "rb_node"}
        assert len(nodes) == 9
        for address, row in nodes.items():
            node = example.struct(arena, int(address), "rb_node")
            assert row["fields"]["key"] == str(node["key"])
            for side in ("left", "right", "parent"):
                offset = node[side] and node[side] - arena.user_start
                assert row["fields"][side] == (f"→ arena+{offset:#x}" if offset else "NULL")
    assert wb.load_trace(tmp_path / "run.trace").program.structures == trace.program.structures


def test_the_verifier_s_states_come_along() -> None:
    trace = wb.record(wb.assemble("r0 = 1\nif r0 == 1 goto done\nr0 = 2\ndone:\nexit"))
    states = {0: ("R10=fp0",), 1: ("R0=1 R10=fp0",), 2: ("R0=1",)}
    report = replace(trace.report, record=lambda: Record("", states, ()))
    meta, _ = unpack(replace(trace, report=report).payload())
    assert meta["states"] == {"0": ["R10=fp0"], "1": ["R0=1 R10=fp0"]}
    assert unpack(replace(trace, report=None).payload())[0]["states"] == {}


CALLED_BACK = """
    *(u64 *)(r10 - 8) = 1
    r1 = 100
    r2 = add ll
    r3 = r10
    r3 += -8
    r4 = 0
    call bpf_loop
    r6 = *(u64 *)(r10 - 8)
    r0 += r6
    exit
add: r3 = *(u64 *)(r2 + 0)
    r3 += r1
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    exit
"""


def test_the_browser_replays_what_helpers_changed(tmp_path: Path) -> None:
    """Callbacks run in frames that no instruction entered; on several CPUs, in a window, a file."""
    program = wb.assemble(CALLED_BACK)
    with wb.Interpreter(program) as engine:
        states = [(engine.run(fuel=t), engine.registers)[1].tolist() for t in range(0, 500, 7)]
    alone = wb.record(program)
    alone.save(tmp_path / "kept.trace")
    both = wb.record_cpus([program, program], wb.Arena(1), [0] * 3 + [1] * 300)
    for trace in (alone, wb.load_trace(tmp_path / "kept.trace"), alone.window(256, 200), both):
        (tmp_path / "run.trace").write_bytes(trace.payload())
        steps = list(range(0, len(trace), 7))
        seen = replay(tmp_path / "run.trace", steps)["registers"]
        expected = {str(t): [str(r) for r in trace.state(t).registers] for t in steps}
        assert seen == expected
    assert [alone.state(t).registers.tolist() for t in range(0, 500, 7)] == states
    assert both.registers(len(both))[[0, 8], 6].tolist() == [1 + sum(range(100))] * 2


def test_the_browser_replays_several_cpus(tmp_path: Path) -> None:
    program = next(iter(programs.load("list").values()))
    with wb.Arena(pages=64) as arena:
        trace = wb.record_cpus([program, program], arena, Random(seed=3))
    (tmp_path / "run.trace").write_bytes(trace.payload())
    steps = [*range(0, len(trace), 37), len(trace) - 1]
    seen = replay(tmp_path / "run.trace", steps)
    assert {int(cpu) for cpu in trace.cpus} == {0, 1}
    assert seen["registers"] == {str(t): [str(r) for r in trace.state(t).registers] for t in steps}
    assert not [text for text in seen["sentences"] if re.search(r"undefined|null|NaN", text)]
