"""A function called with many seeds in other processes, of which any may die, hang or raise.

`attack("support.module:function", seeds)` counts how that went. A process is started anew after
one that died, at the seed after; each says which seed it begins, so the one to blame is known.
"""

import importlib
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from support.paths import ROOT

WORK = 120.0  # seconds of the processor for one seed: far more than any takes, with compiling
WAIT = 1200.0  # seconds by the clock, for one that waits for ever; a busy machine takes its time
_LOOK = 5.0  # seconds between looks at both
_TICKS = os.sysconf("SC_CLK_TCK")
_BEGINS, _RAISES = "begins ", "raises "


@dataclass
class Outcome:
    """What went wrong, by seed: nothing, if all is well."""

    crashed: dict[int, str] = field(default_factory=dict)
    hung: list[int] = field(default_factory=list)
    raised: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"crashes {len(self.crashed)}, hangs {len(self.hung)}, raw {len(self.raised)}"]
        lines += [f"seed {seed}: {what}" for seed, what in [*self.crashed.items()][:5]]
        lines += [f"seed {seed}: no end" for seed in self.hung[:5]]
        kinds = {
            what.rstrip("|").rpartition("|")[2]: (seed, what) for seed, what in self.raised.items()
        }
        lines += [f"seed {seed}: {what.replace('|', chr(10))}" for seed, what in kinds.values()]
        return "\n".join(lines)


def attack(target: str, seeds: Sequence[int], processes: int = 0) -> Outcome:
    """Call `target` ("module:function") with every seed, spread over processes."""
    outcome = Outcome()
    count = processes or os.cpu_count() or 1
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(_shift, target, seeds[n::count], outcome) for n in range(count)]:
            done.result()
    return outcome


def _shift(target: str, seeds: Sequence[int], outcome: Outcome) -> None:
    """Go through seeds in one process, and in another from where it ended too early."""
    left = list(seeds)
    while left:
        at = _watch(target, left, outcome)
        left = left[left.index(at) + 1 :] if at is not None else []


def _watch(target: str, seeds: list[int], outcome: Outcome) -> int | None:
    """Run a process until it ends; the seed at which it ended too early, None if it did not."""
    command = [sys.executable, "-m", "support.attack", target]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # so that what select sees is all there is
        env=os.environ | {"PYTHONPATH": path},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(map(str, seeds)).encode())
        process.stdin.close()
        at, began, worked = seeds[0], time.monotonic(), 0.0
        while True:
            if not select.select([process.stdout], [], [], _LOOK)[0]:
                spent = _processor(process.pid) - worked
                if spent < WORK and time.monotonic() - began < WAIT:
                    continue
                process.kill()
                outcome.hung.append(at)
                return at
            line = process.stdout.readline().decode()
            if not line:
                break
            if line.startswith(_BEGINS):
                at = int(line.removeprefix(_BEGINS))
                began, worked = time.monotonic(), _processor(process.pid)
            elif line.startswith(_RAISES):
                outcome.raised[at] = line.removeprefix(_RAISES).strip()
        if process.wait():
            outcome.crashed[at] = f"ended with {process.returncode}"
            return at
    return None


def _processor(process: int) -> float:
    """Seconds of the processor that a process has used; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _say(line: str) -> None:
    os.write(_REPORT, f"{line}\n".encode())


def _serve(target: str) -> None:
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    for seed in map(int, sys.stdin.read().split()):
        _say(f"{_BEGINS}{seed}")
        try:
            function(seed)
        except Exception:
            _say(_RAISES + traceback.format_exc().replace("\n", "|"))


if __name__ == "__main__":
    _REPORT = os.dup(1)
    os.dup2(2, 1)  # what the function prints is no report
    _serve(sys.argv[1])
