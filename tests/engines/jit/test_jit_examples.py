"""The jit against the interpreter and Linux: every example program, also by the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.both_engines import BASE, agree, left_by
from support.kernel_support import REASON

import workbench as wb
from workbench.bpf.files import read_programs
from workbench.cli import cli
from workbench.examples import programs
from workbench.objects import load_object


@pytest.mark.parametrize("name", programs.names())
def test_examples(name: str) -> None:
    """Every example program in turn on one arena, with the quick size where there is one."""
    example = programs.example(name)
    loaded = programs.load(name)
    order = ["setup"] * ("setup" in loaded) + [n for n in loaded if n != "setup"]
    arenas = [wb.Arena(example.pages), wb.Arena(example.pages)]
    for key in order:
        for count in (example.sizes.quick if example.sizes else 5, 0):
            ctx = example.contexts[key]
            values = ctx.pack(*[count][: len(ctx.fields)])
            one, other = (
                left_by(engine, loaded[key], arena, values, fuel=None)
                for engine, arena in zip((wb.Interpreter, wb.Jit), arenas, strict=True)
            )
            assert agree(one, other, (name, key)) == "exit"


FILES = sorted(programs.directory().rglob("*.bpf")) + sorted(programs.directory().rglob("*.o"))


def told(path: Path, names: list[str], engine: str) -> list[dict[str, object]]:
    """What `workbench run --json` says of programs in turn; C examples declare their arenas."""
    whole = ("sparse.o", "sparse_array.o")  # arenas of 4 GiB, which begin on such a line
    base = 1 << 44 if path.name in whole else BASE
    arguments = ["run", str(path), "--engine", engine, "--json", "--user-base", f"{base:x}"]
    arguments += ["--pages", "256"] if path.suffix == ".bpf" else []
    size = 128 if path.parent.name == "studies" else 32
    for name in names:
        ctx = b"" if name == "setup" else (3).to_bytes(size, "little")
        arguments += ["--program", name, "--ctx", ctx.hex()]
    found = json.loads(CliRunner().invoke(cli, arguments).stdout)
    return list(found.get("runs", [found]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_command_line_gives_the_same(path: Path) -> None:
    """Every program of data/programs, by its JSON: interpreter, jit, and Linux where it is."""
    declared = load_object(path).programs if path.suffix == ".o" else read_programs(path)
    for name in declared:
        if declared[name].type != "syscall":  # wants a packet: see test_kv
            continue
        names = ["setup", name] if "setup" in declared and name != "setup" else [name]
        one, other = (told(path, names, engine) for engine in ("interpreter", "jit"))
        assert [result["stop"] for result in one] == ["exit"] * len(names), name
        for result in (*one, *other):
            del result["seconds"], result["engine"]
        assert one == other
        linux = [] if REASON else told(path, names, "kernel")
        for mine, theirs in zip(one, linux, strict=not REASON):
            assert (theirs["stop"], theirs["ctx"]) == ("exit", mine["ctx"]), name
            assert int(str(theirs["r0"]), 16) == int(str(mine["r0"]), 16) & 0xFFFFFFFF, name


@pytest.mark.parametrize("flags", [0, wb.ArenaFlags.NO_USER_CONV])
def test_compare_knows_it(flags: int) -> None:
    found = wb.compare(programs.load("hash")["main"], ("interpreter", "jit"), flags=flags)
    assert found.equal, found
