"""Run, step through and draw BPF arena programs: one program, several engines, one answer.

Public names are loaded on first use, so that `import workbench` stays fast.
"""

from importlib import import_module

from workbench import moved

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
    "read_verifier_log": "workbench.verifier.log.view",
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

_MODULES = {
    "allocators": "workbench.models.allocators",
    "conversion": "workbench.models.conversion",
    "examples": "workbench.examples",
    "experiments": "workbench.experiments",
    "faults": "workbench.models.faults",
    "fragmentation": "workbench.models.fragmentation",
    "isa": "workbench.bpf.isa",
    "labs": "workbench.labs",
    "maps": "workbench.maps",
    "measurement": "workbench.evidence.measurement",
    "models": "workbench.models",
    "plots": "workbench.plots",
    "requests": "workbench.models.requests",
    "verifier": "workbench.verifier",
    "widgets": "workbench.widgets",
    "workloads": "workbench.models.workloads",
}

__all__ = [*_PUBLIC, "__version__"]

moved.install()


def __getattr__(name: str) -> object:
    """Import a public module, or the owner of a public name, on its first use (PEP 562)."""
    value: object
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
    elif name in _MODULES:
        value = moved.with_parts(import_module(_MODULES[name]))
    elif f"workbench.{name}" in moved.MODULES:
        value = import_module(f"workbench.{name}")
    else:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    globals()[name] = value
    return value


def load_ipython_extension(shell: object) -> None:
    """Add %%bpf and %%bpfasm to a notebook: `%load_ext workbench`."""
    import_module("workbench.widgets.magics").register(shell)


def __dir__() -> list[str]:
    """List the public names and modules for completion in the notebook."""
    return sorted([*__all__, *_MODULES])
