"""From LLVM IR to machine code of this computer, through llvmlite."""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np

from workbench.bpf.isa import INSTRUCTION
from workbench.engines.jit import cache
from workbench.engines.jit.function import module
from workbench.engines.jit.graph import Graph, graph
from workbench.engines.jit.support import FUNCTIONS, SUPPORT
from workbench.errors import WorkbenchError

_KEPT = 64  # programs whose machine code stays in memory: bounds it; not measured


class Wanted(NamedTuple):
    """What machine code is to be made of: INSTRUCTION records, and how.

    `verified`, `counts`, `starts` and `entry` are explained by `function.module` and `graph.graph`.
    `quick` code is made without optimiser, in a third of the time.
    """

    records: bytes
    verified: bool
    starts: tuple[int, ...]
    counts: frozenset[str] = frozenset()
    entry: int = 0
    quick: bool = False

    @property
    def key(self) -> str:
        """The name of this machine code on disk: it depends on program, form and processor."""
        counts = sorted(self.counts)
        parts = (self.records, self.verified, self.starts, counts, self.entry, self.quick)
        return cache.key(*parts, *_processor())

    @property
    def graph(self) -> Graph:
        """Functions and basic blocks of the program; raises Unsupported if it is too large."""
        return _graph(self.records, self.starts, self.entry)


@functools.lru_cache(maxsize=4)  # programs, and places to go on at, that are in use; not measured
def _graph(records: bytes, starts: tuple[int, ...], entry: int) -> Graph:
    return graph(np.frombuffer(records, INSTRUCTION), starts, entry)


class Native:
    """A compiled program; `run(address of a parameter block)` returns how it ended."""

    def __init__(self, wanted: Wanted, object_code: bytes, cached: bool) -> None:
        self.wanted, self.object_code, self.cached = wanted, object_code, cached
        self._engine = _engine()
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
        (address,) = _addresses(self._engine, ["run"])
        # holds the GIL on entry, so that machine code can look for signals; it lets go of it
        self.run: Callable[[int], int] = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_uint64)(address)

    @property
    def llvm_ir(self) -> str:
        """The LLVM IR that machine code is made of."""
        return str(_improved(self.wanted)[0])

    def with_lines(self) -> bytes:
        """The object file with a table of where the code of each slot lies."""
        return _object(self.wanted, lines=True)

    @property
    def code(self) -> bytes:
        """The machine code itself: the text sections of the object file."""
        sections = llvm.ObjectFileRef.from_data(self.object_code).sections()
        return b"".join(section.data() for section in sections if section.is_text())


@functools.lru_cache(maxsize=_KEPT)
def compile_program(wanted: Wanted) -> Native:
    """Make machine code, or find it on disk; equal programs are compiled once in a process.

    Raises WorkbenchError where LLVM refuses the text, and Unsupported for what `graph` refuses.
    """
    found = cache.load(wanted.key)
    if found is not None:
        return Native(wanted, found, cached=True)
    made = _object(wanted)
    cache.store(wanted.key, made)
    return Native(wanted, made, cached=False)


def is_compiled(wanted: Wanted) -> bool:
    """Whether machine code is on disk already."""
    return cache.load(wanted.key) is not None


def forget() -> None:
    """Let go of the programs compiled in this process; those on disk stay."""
    compile_program.cache_clear()


@functools.cache
def support() -> tuple[tuple[int, ...], object]:
    """Addresses of the FUNCTIONS that all programs share, and what keeps them there."""
    key = cache.key(SUPPORT, *_processor())
    found = cache.load(key)
    if found is None:
        found = _machine().emit_object(_parsed(SUPPORT))
        cache.store(key, found)
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(found))
    return tuple(_addresses(engine, FUNCTIONS)), engine


def _addresses(engine: llvm.ExecutionEngine, names: Sequence[str]) -> list[int]:
    """Where functions of the object that was added to an engine lie."""
    engine.finalize_object()
    addresses = [engine.get_function_address(name) for name in names]
    if not all(addresses):
        raise WorkbenchError("LLVM gave no machine code for this program")
    return addresses


def _engine() -> llvm.ExecutionEngine:
    """A linker without code; each program has its own, so that it can be let go of."""
    nothing = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(nothing, _target_machine())
    engine.remove_module(nothing)  # LLVM would compile it, in a tenth of the time of all
    return engine


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def _processor() -> tuple[str, str]:
    """Name and features of this processor."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.cache
def _machine(level: int = 2) -> llvm.TargetMachine:
    """The target machine for compiling."""
    return _target_machine(level)


def _target_machine(level: int = 2) -> llvm.TargetMachine:
    _initialise()
    name, features = _processor()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=level, reloc="pic", codemodel="small", jit=True
    )


def _object(wanted: Wanted, lines: bool = False) -> bytes:
    parsed, level = _improved(wanted, lines)
    return _machine(level).emit_object(parsed)


def _improved(wanted: Wanted, lines: bool = False) -> tuple[llvm.ModuleRef, int]:
    """The module of a program, and how hard LLVM is to try.

    What runs every instruction once has no use for good code: making it takes longer than running.
    """
    found = wanted.graph
    text = module(found, wanted.verified, wanted.counts, lines)
    if found.loops and not wanted.quick:
        return _optimised(text), 2
    return _parsed(text), 0


def _parsed(text: str) -> llvm.ModuleRef:
    """Parse and verify; LLVM's complaints become errors before they can be fatal."""
    try:
        parsed = llvm.parse_assembly(text)
        parsed.verify()
    except RuntimeError as error:
        raise WorkbenchError(f"LLVM refuses what was written for this program: {error}") from None
    parsed.triple = _machine().triple
    parsed.data_layout = str(_machine().target_data)
    return parsed


def _optimised(text: str) -> llvm.ModuleRef:
    """All of LLVM's O3 takes twice as long and makes no faster code of what `function` writes."""
    parsed = _parsed(text)
    builder = llvm.create_pass_builder(_machine(), llvm.create_pipeline_tuning_options(2))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()  # registers become values
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for function in parsed.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return parsed
