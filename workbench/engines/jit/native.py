"""From LLVM IR to machine code of this computer, through llvmlite."""

import ctypes
import functools
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm
import numpy as np

from workbench.engines.jit import cache
from workbench.engines.jit.function import module
from workbench.engines.jit.graph import graph
from workbench.engines.jit.support import FUNCTIONS, SUPPORT
from workbench.errors import WorkbenchError
from workbench.isa import INSTRUCTION

_KEPT = 64


class Native:
    """A compiled program; `run(address of a parameter block)` returns how it ended."""

    def __init__(
        self, code: np.ndarray, verified: bool, counts: frozenset[str], starts: tuple[int, ...]
    ) -> None:
        self._source = code, verified, counts, starts
        key = cache.key(code.tobytes(), verified, *sorted(counts), starts, *_processor())
        found = cache.load(key)
        self.cached = found is not None
        if found is None:
            found = _object(*self._source)
            cache.store(key, found)
        self.object_code = found
        self._engine = _engine()
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(found))
        (address,) = _addresses(self._engine, ["run"])
        # holds the GIL on entry, so that machine code can look for signals; it lets go of it
        self.run: Callable[[int], int] = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_uint64)(address)

    @property
    def llvm_ir(self) -> str:
        """The LLVM IR that machine code is made of."""
        return str(_improved(*self._source)[0])

    def with_lines(self) -> bytes:
        """The object file with a table of where the code of each slot lies."""
        return _object(*self._source, lines=True)

    @property
    def code(self) -> bytes:
        """The machine code itself: the text sections of the object file."""
        sections = llvm.ObjectFileRef.from_data(self.object_code).sections()
        return b"".join(section.data() for section in sections if section.is_text())


def compile_program(
    code: np.ndarray, verified: bool, counts: frozenset[str], starts: tuple[int, ...]
) -> Native:
    """Compile INSTRUCTION records; equal programs are compiled once in a process.

    `starts` are the first slots of the programs in them.
    """
    return _compile(code.tobytes(), verified, counts, starts)


@functools.lru_cache(maxsize=_KEPT)
def _compile(
    records: bytes, verified: bool, counts: frozenset[str], starts: tuple[int, ...]
) -> Native:
    return Native(np.frombuffer(records, INSTRUCTION), verified, counts, starts)


def forget() -> None:
    """Let go of the programs compiled in this process; those on disk stay."""
    _compile.cache_clear()


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
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())


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


def _object(  # the arguments of `module`
    code: np.ndarray,
    verified: bool,
    counts: frozenset[str],
    starts: tuple[int, ...],
    lines: bool = False,
) -> bytes:
    parsed, level = _improved(code, verified, counts, starts, lines)
    return _machine(level).emit_object(parsed)


def _improved(
    code: np.ndarray,
    verified: bool,
    counts: frozenset[str],
    starts: tuple[int, ...],
    lines: bool = False,
) -> tuple[llvm.ModuleRef, int]:
    """The module of a program, and how hard LLVM is to try.

    What runs every instruction once has no use for good code: making it takes longer than running.
    """
    text = module(code, verified, counts, starts, lines)
    if graph(code, starts).loops:
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
