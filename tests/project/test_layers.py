"""The architecture, held by reading imports: they point down; heavy libraries have one door."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.paths import ROOT

FILES = sorted((ROOT / "workbench").rglob("*.py"))

# From the bottom up, a folder or module of `workbench` a rank: it imports only from those before.
ORDER = (
    "moved",
    "errors",
    "arguments",
    "files",
    "compiled",
    "evidence",
    "bpf",
    "arena",
    "maps",
    "objects",
    "verifier",
    "recording",
    "engines",
    "debugger",
    "examples",
    "models",
    "plots",
    "widgets",
    "experiments",
    "labs",
    "cli",
    "__main__",
)
RANK = {name: rank for rank, name in enumerate(ORDER)}
TOP = len(ORDER)  # notebooks, and whoever uses the package by its public names

# Folder -> its rooms, from the bottom up; what lies loose in the folder and is not named is above.
ROOMS = {
    "verifier": ("values", "rules", "log", "paths", "report", "rewrite"),
    "engines": (
        "base", "native_text", "machine", "interpreter", "kernel", "jit", "auto", "compare",
        "record",
    ),
}  # fmt: skip

# Library -> the only places that import it.
DOORS = {
    "numba": ("workbench.compiled",),
    "llvmlite": ("workbench.compiled", "workbench.engines.jit"),
    "elftools": ("workbench.objects",),
    "tqdm": ("workbench.widgets.progress",),
    "anywidget": ("workbench.widgets",),
    "ipywidgets": ("workbench.widgets",),
    "distributed": ("workbench.experiments",),
}
SLOW_TO_IMPORT = ("matplotlib", "pandas", "IPython", "anywidget", "ipywidgets", "scipy", "numba")

LOADERS = {
    "import_module", "__import__", "exec", "eval", "modules", "run_module", "run_path",
    "resolve_name", "module_from_spec", "exec_module", "load_module",
}  # fmt: skip
"""Names of what loads a module, or runs a text, without an import statement."""
BY_NAME = {
    "workbench": "its public names, on first use",
    "workbench.moved": "names of the last release",
    "workbench.recording.notebook": "the table of methods",
    "workbench.engines.kernel": "its own modules, on first use",
    "workbench.labs.check": "runs what a student wrote",
    "workbench.experiments.sweep": "sets the threads of numba, where it is loaded",
}
"""Who does, and what for."""


class Import(NamedTuple):
    """One imported module, by its full name; `top` is false inside a function."""

    name: str
    line: int
    top: bool


def module_name(path: Path) -> str:
    """workbench/arena/__init__.py -> workbench.arena."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    """Whether a dotted name is a file or folder of this repository."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imported_names(node: ast.AST, package: str) -> list[str]:
    """Full names that an import statement in `package` loads; [] for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1] if node.level else []
    source = ".".join([*base, node.module] if node.module else base)
    names = [f"{source}.{alias.name}" for alias in node.names]
    return [name if is_module(name) else source for name in names]


def imports(path: Path, types: bool = False) -> Iterator[Import]:
    """Every import of a file; those for the type checker alone only with `types`."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    todo: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text()), True)]
    while todo:
        node, top = todo.pop()
        for imported in imported_names(node, package):
            yield Import(imported, getattr(node, "lineno", 0), top)
        if not types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        todo += [(child, top and not inside) for child in ast.iter_child_nodes(node)]


def layer_member(name: str) -> str:
    """workbench.arena.rules -> arena; "" for the package itself."""
    return ([*name.split("."), ""])[1]


def within(name: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of the places or lies inside one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    name = module_name(path)
    if name == "workbench":  # loads its public names on first use
        used = {i.name for i in imports(path, types=True) if i.name.startswith("workbench")}
        assert used == {"workbench.moved"}
        return
    assert layer_member(name) in RANK, f"{name}: give it a rank in ORDER"
    for imported in imports(path, types=True):
        if imported.name.split(".")[0] != "workbench":
            continue
        member = layer_member(imported.name)
        down = RANK.get(member, TOP) <= RANK[layer_member(name)]
        assert down, f"{path.name}:{imported.line} imports {imported.name}, above it"


@pytest.mark.parametrize("folder", ROOMS)
def test_rooms_of_a_folder_point_down(folder: str) -> None:
    order, prefix = ROOMS[folder], f"workbench.{folder}"

    def rank(name: str) -> int:
        room = name.removeprefix(prefix).removeprefix(".").partition(".")[0]
        return order.index(room) if room in order else len(order)

    for path in (ROOT / "workbench" / folder).rglob("*.py"):
        name = module_name(path)
        for imported in imports(path, types=True):
            if within(imported.name, (prefix,)) and name != prefix:
                above = f"{path}:{imported.line} imports {imported.name}, above it"
                assert rank(imported.name) <= rank(name), above


def test_no_circle_of_files() -> None:
    """Take away files that import no other that is left, until none are left."""
    wanted = {
        module_name(path): {i.name for i in imports(path, types=True)} - {module_name(path)}
        for path in FILES
    }
    while ready := {name for name, needs in wanted.items() if not needs & wanted.keys()}:
        wanted = {name: needs for name, needs in wanted.items() if name not in ready}
    assert not wanted, f"in a circle, or above one: {sorted(wanted)}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_heavy_libraries_have_one_door(path: Path) -> None:
    for imported in imports(path):
        doors = DOORS.get(imported.name.split(".")[0])
        if doors is not None:
            assert within(module_name(path), doors), f"line {imported.line}: only {doors} may"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_the_kernel_engine_knows_its_system_calls(path: Path) -> None:
    if within(module_name(path), ("workbench.engines.kernel",)):
        return
    private = [i for i in imports(path) if i.name.startswith("workbench.engines.kernel.")]
    assert not private, "import from workbench.engines.kernel itself"
    nodes = ast.walk(ast.parse(path.read_text()))
    calls = [n.lineno for n in nodes if isinstance(n, ast.Attribute) and n.attr == "syscall"]
    assert not calls, f"system calls at lines {calls}"


def modules_after(statement: str) -> set[str]:
    """Names of the top-level modules that a new process holds after a statement."""
    code = f"import sys; {statement}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_workbench_is_light() -> None:
    assert modules_after("import workbench").isdisjoint(SLOW_TO_IMPORT)


def test_engines_do_not_load_the_views() -> None:
    name = "workbench.engines.interpreter.engine"
    if not is_module(name):
        pytest.skip("no interpreter yet")
    loaded = modules_after(f"import {name}")
    assert loaded.isdisjoint({"matplotlib", "IPython", "anywidget", "ipywidgets"})


def ways_round(tree: ast.AST) -> list[str]:
    """What in a file loads a module without an import statement, or runs a text that may."""
    named = (
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    )
    used = (
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )
    return [name for name in (*named, *used) if name in LOADERS]


def test_only_tables_of_names_load_by_name() -> None:
    trees = {module_name(path): ast.parse(path.read_text()) for path in FILES}
    assert {name for name, tree in trees.items() if ways_round(tree)} == BY_NAME.keys()


@pytest.mark.parametrize(
    "statement",
    [
        "from importlib import import_module as load",
        "import importlib; importlib.import_module('workbench.cli')",
        "__import__('workbench.cli')",
        "exec('import workbench.cli')",
        "sys.modules['workbench.cli']",
        "import runpy; runpy.run_module('workbench.cli')",
        "from pkgutil import resolve_name",
        "importlib.util.module_from_spec(spec)",
    ],
)
def test_a_way_round_imports_is_seen(statement: str) -> None:
    assert ways_round(ast.parse(statement))


def test_the_engine_in_the_kernel_loads_its_own_modules_alone() -> None:
    text = (ROOT / "workbench/engines/kernel/__init__.py").read_text()
    assert re.findall(r"import_module\((.*?)\.", text) == ['f"{__name__}']


@pytest.mark.parametrize(
    "text",
    [
        "import workbench.cli.run",
        "from workbench.cli import run",
        "from workbench import cli",
        "from ..cli import run",
        "def f():\n    from workbench import cli",
        "if TYPE_CHECKING:\n    from workbench.cli import run",
        "if typing.TYPE_CHECKING:\n    import workbench.cli as top",
        "try:\n    import workbench.cli\nexcept ImportError: pass",
        "import workbench",
        "from workbench import Interpreter",
        "class A:\n    from workbench import cli",
        "f = lambda: 0\nif 1:\n    import workbench.cli",
    ],
)
def test_an_import_is_seen_wherever_it_stands(text: str) -> None:
    nodes = ast.walk(ast.parse(text))
    names = [name for node in nodes for name in imported_names(node, "workbench.bpf")]
    members = [layer_member(name) for name in names if name.split(".")[0] == "workbench"]
    assert any(RANK.get(member, TOP) > RANK["bpf"] for member in members)
