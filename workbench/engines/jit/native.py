"""From LLVM IR to machine code of this computer, through llvmlite."""

import ctypes
import functools
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

from workbench.engines.jit.function import module
from workbench.errors import WorkbenchError
from workbench.isa import INSTRUCTION

_KEPT = 64


class Native:
    """A compiled program; `run(address of a parameter block)` returns how it ended."""

    def __init__(self, text: str) -> None:
        self._machine = _target_machine()
        self._module = _optimised(text, self._machine)
        self._engine = llvm.create_mcjit_compiler(self._module, self._machine)
        self._engine.finalize_object()
        address = self._engine.get_function_address("run")
        if not address:
            raise WorkbenchError("LLVM gave no machine code for this program")
        # holds the GIL on entry, so that machine code can look for signals; it lets go of it
        self.run: Callable[[int], int] = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_uint64)(address)

    @property
    def llvm_ir(self) -> str:
        """The optimised LLVM IR."""
        return str(self._module)

    @property
    def assembly(self) -> str:
        """The machine code as assembly text."""
        return self._machine.emit_assembly(self._module)


def compile_program(code: np.ndarray) -> Native:
    """Compile INSTRUCTION records; equal programs are compiled once in a process."""
    return _compile(code.tobytes())


@functools.lru_cache(maxsize=_KEPT)
def _compile(records: bytes) -> Native:
    return Native(module(np.frombuffer(records, INSTRUCTION)))


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def _features() -> tuple[str, str]:
    """Name and features of this processor."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _target_machine() -> llvm.TargetMachine:
    _initialise()
    name, features = _features()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=2, reloc="pic", codemodel="small", jit=True
    )


def _optimised(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """Parse, verify and optimise; LLVM's complaints become errors before they can be fatal.

    All of LLVM's O3 takes twice as long and makes no faster code of what `function` writes.
    """
    try:
        parsed = llvm.parse_assembly(text)
        parsed.verify()
    except RuntimeError as error:
        raise WorkbenchError(f"LLVM refuses what was written for this program: {error}") from None
    parsed.triple = machine.triple
    parsed.data_layout = str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()  # registers become values
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for function in parsed.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return parsed
