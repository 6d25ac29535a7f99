"""Names of the last release, found for one more: whoever uses one is warned where it lives now.

An import of an old module, or of what lies in an old package, gives the very module of the new
name. What an old module held and its new one does not is looked for in the modules of `_PARTS`.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_FOLDERS = {  # folder -> modules and packages that moved into it from beside it
    "arena": "events",
    "bpf": "addresses assembler contexts declarations disassembler functions helper_names isa "
    "program prototypes",
    "cli": "demo demo_rows doctor",
    "engines.interpreter": "loop",
    "engines.machine": "callbacks helpers memory observe packets prepared printing probes recorded",
    "evidence": "measurement provenance",
    "examples": "studies",
    "experiments": "bench reproduce",
    "models": "allocators conversion faults fragmentation requests workloads",
    "objects": "compiler",
    "verifier.log": "explain messages wording",
    "verifier.paths": "branching calls checkpoints equality explore flow liveness path precision "
    "raw recorder stack transfer",
    "verifier.rules": "arguments check facts limits memory structure",
    "verifier.values": "arithmetic branches domain numbers pointers tnum",
    "widgets": "magics",
}
_RENAMED = {
    "c_examples": "examples.c_programs",
    "corpus": "examples.programs",
    "debugger.window": "recording.window",
    "engines.bound": "engines.machine.bound_maps",
    "engines.cold": "engines.machine.entries",
    "engines.disassembly": "engines.native_text",
    "engines.linked": "engines.machine.joined",
    "engines.rare": "engines.machine.uncommon",
    "engines.surroundings": "engines.machine.inputs",
    "memory": "compiled.lazy",
    "trace": "recording.trace",
    "trace_file": "recording.file",
    "verifier.log_reader": "verifier.log.reader",
    "verifier.log_values": "verifier.log.known",
    "verifier.log_view": "verifier.log.view",
    "verifier.logs": "verifier.log.steps",
    "widgets.payload": "recording.format",
}
_PARTS = {  # where else to look for what a module held
    "workbench.arena.events": "recording.columns",
    "workbench.bpf.disassembler": "bpf.text bpf.reference",
    "workbench.bpf.program": "bpf.files",
    "workbench.compiled": "compiled.njit compiled.raw compiled.cache",
    "workbench.engines.interpreter": "engines.interpreter.engine",
    "workbench.engines.machine": "engines.machine.state",
    "workbench.evidence.provenance": "files",
    "workbench.models.fragmentation": "arena.holes models.allocators.history",
    "workbench.recording.file": "widgets.enriched",
    "workbench.recording.trace": "engines.record recording.file recording.columns recording.window",
    "workbench.verifier.log": "verifier.log.writer",
    "workbench.verifier.log.steps": "verifier.log.view",
    "workbench.verifier.paths.path": "verifier.values.trail",
}


def _old(folder: str, name: str) -> str:
    """Where `name` lay before it moved into `folder`."""
    beside = folder.rpartition(".")[0]
    return f"{beside}.{name}" if beside else name


MODULES = {
    f"workbench.{_old(folder, name)}": f"workbench.{folder}.{name}"
    for folder, names in _FOLDERS.items()
    for name in names.split()
} | {f"workbench.{old}": f"workbench.{new}" for old, new in _RENAMED.items()}
"""Old name of each module or package that moved -> its name now."""


def new_name(name: str) -> str | None:
    """The name now of a module of the last release, or None for any other module."""
    if not name.startswith("workbench."):
        return None
    stem, rest = name, ""
    while stem != "workbench":
        if stem in MODULES:
            return MODULES[stem] + rest
        stem, _, last = stem.rpartition(".")
        rest = f".{last}{rest}"
    return None


def parts(module: str) -> Callable[[str], object]:
    """Make the `__getattr__` of a module that finds, with a warning, what went to its parts.

    It raises AttributeError for what none of them has.
    """
    places = [f"workbench.{part}" for part in _PARTS[module].split()]

    def find(name: str) -> object:
        own = vars(sys.modules[module])
        if not name.startswith("_") and not _is_module(f"{module}.{name}", own.get("__path__")):
            for place in places:
                found = vars(import_module(place))
                if name in found:
                    _warn(f"{module}.{name}", f"{place}.{name}")
                    return own.setdefault(name, found[name])
        raise AttributeError(f"module '{module}' has no attribute {name!r}")

    return find


def with_parts(module: ModuleType) -> ModuleType:
    """Have a module that was asked for by its old name find what went to its parts."""
    if module.__name__ in _PARTS:
        vars(module).setdefault("__getattr__", parts(module.__name__))
    return module


def _is_module(name: str, path: Sequence[str] | None) -> bool:
    """Whether a package at `path` has a module of that full name; nothing is imported."""
    return path is not None and PathFinder.find_spec(name, path) is not None


def install() -> None:
    """Have imports of old names find the new modules."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # before who would load the file a second time


class _Finder:
    """Finds modules by their old names; every other import costs it 0.5 µs."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = new_name(name)
        return None if new is None else ModuleSpec(name, _Loader(name, new))  # type: ignore[arg-type]


class _Loader:
    """Gives the module of the new name, as it is, for the old one."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.new)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system wrote the old name's over it
        with_parts(module)
        for name, loaded in list(sys.modules.items()):  # what the package loaded is not loaded anew
            if name.startswith(f"{self.new}."):
                sys.modules.setdefault(self.old + name.removeprefix(self.new), loaded)
        if self.old in MODULES:
            _warn(self.old, self.new)


def _warn(old: str, new: str) -> None:
    """Warn at the line, outside this module and the import system, that used an old name."""
    frame = sys._getframe(1)
    while frame.f_back and _between(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    warnings.warn_explicit(
        f"{old} is now {new}; the old name goes in the next release",
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _between(module: str) -> bool:
    return module in ("workbench", __name__) or module.split(".")[0] == "importlib"
