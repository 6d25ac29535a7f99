"""Run, step through and draw BPF arena programs: one program, several engines, one answer.

Public names are loaded on first use, so that `import workbench` stays fast.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "assemble": "workbench.bpf.assembler",
    "disassemble": "workbench.bpf.disassembler",
    "Program": "workbench.bpf.program",
    "read_program": "workbench.bpf.files",
    "load_object": "workbench.objects",
    "compile_c": "workbench.objects.compiler",
    "Arena": "workbench.arena",
    "ArenaFlags": "workbench.arena",
    "verify": "workbench.verifier",
    "read_verifier_log": "workbench.verifier.log.steps",
    "Interpreter": "workbench.engines.interpreter.engine",
    "Jit": "workbench.engines.jit",
    "Auto": "workbench.engines.auto",
    "Kernel": "workbench.engines.kernel",
    "KernelArena": "workbench.engines.kernel",
    "Map": "workbench.maps",
    "MapDefinition": "workbench.bpf.declarations",
    "kernel_map": "workbench.engines.kernel",
    "compare": "workbench.engines.compare",
    "record": "workbench.engines.record",
    "Trace": "workbench.recording.trace",
    "load_trace": "workbench.recording.file",
    "record_cpus": "workbench.debugger.cpus",
    "find_schedule": "workbench.debugger.cpus",
    "Sweep": "workbench.experiments.sweep",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> object:
    """Import the module that owns a public name the first time the name is used (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def load_ipython_extension(shell: object) -> None:
    """Add %%bpf and %%bpfasm to a notebook: `%load_ext workbench`."""
    import_module("workbench.widgets.magics").register(shell)


def __dir__() -> list[str]:
    """List the public names for completion in the notebook."""
    return sorted(__all__)
