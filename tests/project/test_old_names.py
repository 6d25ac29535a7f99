"""Names of the last release still work, warn, and are the same modules under both names."""

import json
import subprocess
import sys
from functools import cache

import pytest

from workbench import moved
from workbench.bpf import program

STATEMENTS = {  # what a notebook of the last release wrote -> what it is told, one text a warning
    "import workbench.isa; workbench.isa.Op": ["workbench.isa is now workbench.bpf.isa"],
    "from workbench import corpus": ["workbench.corpus is now workbench.examples.programs"],
    "import workbench as wb; wb.prototypes": [
        "workbench.prototypes is now workbench.bpf.prototypes"
    ],
    "import workbench.allocators.heaps as heaps; heaps.run_heap": [
        "workbench.allocators is now workbench.models.allocators"
    ],
    "from workbench.verifier.log_reader import Reader": [
        "workbench.verifier.log_reader is now workbench.verifier.log.reader"
    ],
    "from workbench.engines.machine import Machine": [
        "workbench.engines.machine.Machine is now workbench.engines.machine.state.Machine"
    ],
    "from workbench.engines.interpreter import Interpreter": [
        "workbench.engines.interpreter.Interpreter is now "
        "workbench.engines.interpreter.engine.Interpreter"
    ],
    "from workbench.compiled import load64": [
        "workbench.compiled.load64 is now workbench.compiled.raw.load64"
    ],
    "from workbench.program import read_program": [
        "workbench.program is now workbench.bpf.program",
        "workbench.bpf.program.read_program is now workbench.bpf.files.read_program",
    ],
    "from workbench.trace import load_trace, record": [
        "workbench.trace is now workbench.recording.trace",
        "workbench.recording.trace.load_trace is now workbench.recording.file.load_trace",
        "workbench.recording.trace.record is now workbench.engines.record.record",
    ],
    "from workbench.compiled import njit; assert njit(inline=True)": [],
    "import workbench as wb; wb.plots.style, wb.faults.fault_frame, wb.conversion": [],
    "from workbench import fragmentation; fragmentation.history": [
        "workbench.models.fragmentation.history is now workbench.models.allocators.history.history"
    ],
    "from workbench.engines.machine import state, prepared": [],
}
PROBE = """
import json, pkgutil, sys, warnings
from importlib import import_module
import workbench
from workbench import moved
from workbench.bpf import program

warned = {}
for statement in json.loads(sys.argv[1]):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(statement, statement, "exec"), {"__name__": "__main__"})
    assert all(w.filename == statement and w.lineno == 1 for w in caught), statement
    warned[statement] = [str(w.message) for w in caught]

packages = {name: import_module(name) for name in moved.MODULES.values()}
for name, package in list(packages.items()):
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), f"{name}."):
        packages[found.name] = import_module(found.name)
before = {name: dict(vars(package)) for name, package in packages.items()}
old = dict(moved.MODULES)
for name, new in moved.MODULES.items():
    old |= {m.replace(new, name, 1): m for m in packages if m.startswith(f"{new}.")}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    other = [name for name, new in old.items() if import_module(name) is not packages[new]]
changed = [f"{m}.{k}" for m, names in before.items() for k, value in names.items()
           if vars(packages[m]).get(k) is not value]
print(json.dumps({"warned": warned, "other": other, "changed": changed, "count": len(old),
                  "told": [str(w.message).split()[0] for w in caught]}))
"""


@cache
def probe() -> dict:
    """What a new process finds under the old names."""
    command = [sys.executable, "-c", PROBE, json.dumps(list(STATEMENTS))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_an_old_notebook_is_told_the_new_name(statement: str) -> None:
    expected = [f"{text}; the old name goes in the next release" for text in STATEMENTS[statement]]
    assert probe()["warned"][statement] == expected


def test_every_old_module_is_the_new_one() -> None:
    found = probe()
    assert found["count"] > len(moved.MODULES) > 80
    assert found["other"] == []


def test_every_old_module_warns() -> None:
    found = probe()
    first = {text.split()[0] for texts in found["warned"].values() for text in texts}
    assert set(moved.MODULES) <= first | set(found["told"])


def test_an_old_name_changes_nothing_under_the_new_one() -> None:
    assert probe()["changed"] == []


def test_other_names_are_no_old_ones() -> None:
    assert moved.new_name("workbench.bpf.isa") is None
    assert moved.new_name("workbenches.isa") is None
    assert moved.new_name("workbench.isa") == "workbench.bpf.isa"
    assert moved.new_name("workbench.allocators.heaps") == "workbench.models.allocators.heaps"
    with pytest.raises(AttributeError, match="'nothing'"):
        moved.parts(program.__name__)("nothing")
