"""Every public name, with arguments that work, to be replaced by wild ones one after the other."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import workbench as wb
from workbench.models import allocators, faults, workloads

WILD = (None, -1, 0, 1, 1 << 70, 1.5, float("nan"), "text", b"bytes", [], [5, 6], {}, object())


@functools.cache
def entries() -> dict[str, tuple[Callable[..., object], dict[str, Any]]]:
    """Name -> the function, and arguments that it takes."""
    program = wb.assemble("r0 = 0\nr1 = arena ll\nexit")
    arena, engine, jit = wb.Arena(8), wb.Interpreter(program), wb.Jit(program)
    trace = wb.record(program, wb.Arena(8))
    hashed = wb.Map(wb.MapDefinition("m", "hash", 4, 8, 4))
    bloom = wb.Map(wb.MapDefinition("b", "bloom_filter", 0, 8, 4))
    log = workloads.make("bump", 50, 64)
    run = {"ctx": b"", "fuel": 10, "trace": None}
    recording = {"program": program, "arena": None, "ctx": b"", "fuel": 10, "capacity": 100}
    made = {"program": program, "arena": None, "seed": 1, "maps": None}
    found = {
        "assemble": (wb.assemble, {"text": "exit", "type": "syscall", "name": "main"}),
        "disassemble": (wb.disassemble, {"program": program}),
        "Program": (wb.Program, {"name": "p", "type": "syscall", "bytecode": program.bytecode}),
        "read_program": (wb.read_program, {"path": "nowhere", "name": None}),
        "load_object": (wb.load_object, {"path": "nowhere"}),
        "compile_c": (wb.compile_c, {"source": "nowhere.c"}),
        "load_trace": (wb.load_trace, {"path": "nowhere", "limit": None}),
        "Arena": (wb.Arena, {"pages": 8, "flags": 0, "user_base": None, "release": "6.18"}),
        "Arena.alloc": (arena.alloc, {"count": 1, "address": 0, "node": -1, "flags": 0}),
        "Arena.free": (arena.free, {"address": 0, "count": 1}),
        "Arena.reserve": (arena.reserve, {"address": 0, "count": 1}),
        "verify": (wb.verify, {"program": program, "flags": 0, "arena_pages": 8, "log_level": 1}),
        "read_verifier_log": (wb.read_verifier_log, {"text": ""}),
        "Interpreter": (wb.Interpreter, made),
        "Interpreter.run": (engine.run, run | {"breakpoints": (), "capacity": 100}),
        "Interpreter.resume": (engine.resume, {"fuel": 10, "breakpoints": (), "capacity": 100}),
        "Interpreter.step": (engine.step, {"count": 1, "ctx": b""}),
        "Jit": (wb.Jit, made),
        "Jit.run": (jit.run, run),
        "Auto": (wb.Auto, {"program": program, "arena": None}),
        "compare": (wb.compare, {"program": program, "ctx": b""}),
        "record": (wb.record, recording),
        "find_schedule": (
            wb.find_schedule,
            {"programs": [program], "arena": wb.Arena, "broken": lambda arena: True, "fuel": 9},
        ),
        "Sweep": (wb.Sweep, {"function": len, "grid": {"obj": [[]]}, "seed": 0}),
        "Kernel": (wb.Kernel, {"program": program, "arena": None, "maps": None}),
        "KernelArena": (wb.KernelArena, {"pages": 4, "flags": 0, "user_base": None}),
        "kernel_map": (wb.kernel_map, {"definition": hashed.definition}),
        "record_cpus": (wb.record_cpus, {"programs": [program], "arena": arena}),
        "Map": (wb.Map, {"definition": hashed.definition}),
        "Map.update": (hashed.update, {"key": 1, "value": 2}),
        "Map.may_contain": (bloom.may_contain, {"value": 1}),
        "Map.query": (wb.Map(wb.MapDefinition("r", "ringbuf", 0, 0, 4096)).query, {"what": 0}),
        "Trace.state": (trace.state, {"step": 0}),
        "Trace.registers": (trace.registers, {"step": 0}),
        "Trace.memory": (trace.memory, {"step": 0, "page": 0}),
        "Trace.window": (trace.window, {"first": 0, "count": 1}),
        "Trace.fork": (trace.fork, {"step": 0, "registers": {1: 1}, "memory": None, "fuel": 9}),
        "Trace.diff": (trace.diff, {"other": trace}),
        "Trace.stepper": (trace.stepper, {"first": 0}),
        "faults.fault_frame": (faults.fault_frame, {"events": trace.events}),
        "fragmentation.history": (allocators.history, {"events": arena.events, "page_count": 8}),
        "replay": (allocators.replay, {"log": log, "rule": "buddy", "pages": 64, "k": 8}),
    }
    return found


def calls(name: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Calls of one entry, each with one argument replaced; and what they look like."""
    function, arguments = entries()[name]
    for parameter in arguments:
        for wild in WILD:
            call = functools.partial(function, **arguments | {parameter: wild})
            yield f"{name}({parameter}={wild!r:.30})", call
