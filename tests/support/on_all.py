"""One program on the kernel, the interpreter and the jit: all must leave the same."""

import workbench as wb
from workbench.engines.base import Result
from workbench.maps import Map, MapDefinition, drained


def on_all(program: wb.Program, ctx: bytes = b"", **maps: MapDefinition) -> list[Result]:
    """Run on kernel, interpreter and jit with fresh maps; contents must be equal too."""
    results, contents = [], []
    for engine, make in ((wb.Kernel, wb.kernel_map), (wb.Interpreter, Map), (wb.Jit, Map)):
        made = {name: make(definition) for name, definition in maps.items()}
        options = {} if engine is wb.Kernel else {"verify": False}
        with engine(program, maps=made, **options) as loaded:
            results.append(loaded.run(ctx))
            contents.append({name: drained(map) for name, map in made.items()})
    assert contents[0] == contents[1] == contents[2]
    assert {r.r0 & 0xFFFFFFFF for r in results} == {results[0].r0}
    assert {r.ctx for r in results} == {results[0].ctx}
    return results
