"""Objects with maps, in every engine: what programs and user space leave in variables and maps."""

import json
import struct
from pathlib import Path

import pytest
from support.c_sources import compiled, content_of
from support.kernel_support import KERNEL

import workbench as wb
from workbench.cli import main
from workbench.errors import WorkbenchError

ENGINES = [
    (wb.Interpreter, None),
    (wb.Jit, None),
    (wb.Auto, None),
    pytest.param(wb.Kernel, "kernel", marks=KERNEL),
]
# Object, programs with contexts, r0 of each, variables afterwards.
RUNS = {
    "variables": (
        [("count", (1,)), ("count", (2,)), ("count", (3,))],
        [1 + ord("e") + 7, 2 + ord("l") + 14, 3 + ord("l") + 21],
        {"counter": 3 + 3 * 5, "hidden": 21, "zeros": [0, 9, 0], "count.calls": 3},
    ),
    "functions": ([("entry", (5,))], [5 + 4 + 3 * 30 + 9], {"total": 30}),
    "maps": ([("look", ())], [5], {}),
}


@pytest.mark.parametrize(("engine", "where"), ENGINES)
@pytest.mark.parametrize("name", RUNS)
def test_maps_are_shared_by_programs(name: str, engine: type, where: str | None) -> None:
    from workbench.engines.kernel import kernel_map

    obj = compiled(name)
    steps, results, expected = RUNS[name]
    maps = obj.make_maps(kernel_map if where else None)
    found = []
    for program, ctx in steps:
        packet = bytes(64) if obj.programs[program].type == "tc" else struct.pack("<2Q", *ctx, 0)
        with engine(obj.programs[program], maps=maps) as loaded:
            found.append(loaded.run(packet).r0 & 0xFFFFFFFF)
    assert found == results
    values = obj.globals_in(maps=maps)
    assert {variable: values[variable] for variable in expected} == expected
    if name == "variables":
        values["counter"] = -77
        assert values["counter"] == -77
        with pytest.raises(WorkbenchError):
            values["limit"] = 5  # frozen
    for map in maps.values():
        map.close()


@pytest.mark.parametrize(
    "engine", ["interpreter", "jit", "auto", pytest.param("kernel", marks=KERNEL)]
)
def test_the_command_line_shares_maps(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "variables.o").write_bytes(content_of("variables"))
    options = ["--dump-global", "counter", "--dump-global", "table", "--set-global", "counter=0x10"]
    options += ["--set-global", "table=[7, 8]", "--set-global", 'greeting="abc"']
    with pytest.raises(SystemExit) as left:
        main(["run", str(tmp_path / "variables.o"), "--engine", engine, "--json", *options,
              "--program", "count", "--program", "count", "--ctx", "01000000"])  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert left.value.code == 0
    assert [row["r0"] for row in said["runs"]] == [hex(1 + ord("b") + 7), hex(2 + ord("b") + 14)]
    assert said["globals"] == {"counter": 0x10 + 10, "table": [7, 8, 0, 0]}
