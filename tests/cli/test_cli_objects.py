"""The `workbench` command on object files: run with variables, info, disasm, verify, cc."""

import json
import re
from pathlib import Path

import pytest
from support.kernel_support import KERNEL
from support.paths import C_PROGRAMS, C_SOURCES

from workbench.bpf.assembler import assemble_all
from workbench.cli import main
from workbench.errors import Unsupported
from workbench.objects import compiler, load_object

LIST = str(C_PROGRAMS / "list.o")
SEARCH = str(C_PROGRAMS / "search.o")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


@pytest.mark.parametrize("engine", ["interpreter", "jit", pytest.param("kernel", marks=KERNEL)])
def test_programs_share_the_arena(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(
        capsys, "run", LIST, "--engine", engine, "--json", "--program", "add", "--program", "walk",
        "--ctx", "0300000000000000", "--ctx", "0000000000000000", "--set-global", "seed=0x10",
        "--dump-global", "list_length", "--dump-global", "pool",
    )  # fmt: skip
    said = json.loads(out)
    assert status == 0
    assert [row["r0"] for row in said["runs"]] == ["0x3", "0x3"]
    assert said["globals"]["list_length"] == 3
    assert said["globals"]["pool"]["left"] == 4096 - 3 * 16


def test_variables_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "run", SEARCH, "--dump-global", "found", "--dump-global", "text")
    assert status == 0
    _, found, text = out.splitlines()
    assert found.startswith("found = [19, 46, 0, ")
    assert bytes.fromhex(text.removeprefix("text = ")).startswith(b"it was the best of times")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", LIST, "--program", "nope"), "no program 'nope' in .*; it has add, walk, delete"),
        (("run", LIST, "--set-global", "nope=1"), "no global variable 'nope'; there is seed, "),
        (("run", LIST, "--dump-global", "nope"), "no global variable 'nope'; there is seed, "),
        (("run", LIST, "--set-global", "seed"), "--set-global seed: expected NAME=NUMBER, or a"),
        (("run", str(C_PROGRAMS.parent / "list.bpf"), "--dump-global", "x"), "has no variables"),
        (("run", "missing.o"), "cannot read missing.o: No such file"),
        (("run", LIST, "--pages", "0"), "EINVAL: an arena has at least 1 page"),
        (("info", str(C_PROGRAMS / "list.c")), "not an object file"),
    ],
)
def test_mistakes(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (1, "")
    assert re.search(message, err)


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "info", LIST)
    assert status == 0
    assert "map       arena  arena  64 entries  flags 0x400\n" in out
    assert "variable  seed  __u64  at .addr_space.1+0  = 7\n" in out


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_packets_and_what_is_printed(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = C_SOURCES / "calls.c"
    output = str(tmp_path / "calls.o")
    if not _has_compiler():
        pytest.skip("no C compiler")
    assert call(capsys, "cc", str(source), "-o", output) == (0, "", "")
    options = "run", output, "--engine", engine, "--ctx", bytes(64).hex()
    status, out, _ = call(capsys, *options, "--program", "filter", "--program", "said")
    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("printed: ")] == [
        "printed: -5 of ff", "printed: 0, 7, x and text"
    ]  # fmt: skip
    _, out, _ = call(capsys, *options, "--program", "said", "--json")
    assert json.loads(out)["printed"] == ["-5 of ff", "0, 7, x and text"]


def test_functions(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "functions", "throw")
    assert (status, out) == (
        0,
        "kfunc      void bpf_throw(__u64 cookie)  in syscall, tc, xdp  gpl\n",
    )
    assert call(capsys, "functions", "--header")[1].startswith("/* SPDX-License-Identifier")


def test_text_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert "arena + 16 ll" in call(capsys, "disasm", LIST, "--program", "walk")[1]
    status, out, _ = call(capsys, "verify", LIST)
    assert (status, out.count("accepted")) == (0, 3)


def test_cc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        compiler.find_compiler()
    except Unsupported as error:
        pytest.skip(str(error))
    output = tmp_path / "list.o"
    assert call(capsys, "cc", str(C_PROGRAMS / "list.c"), "-o", str(output))[0] == 0
    assert call(capsys, "run", str(output), "--ctx", "0100000000000000")[0] == 0
    source = tmp_path / "bad.c"
    source.write_text('#include "arena.h"\nint __arena x;\nint *f(void)\n{\n\treturn &x;\n}\n')
    status, _, err = call(capsys, "cc", str(source), "-o", str(output))
    assert status == 1
    assert err.startswith("Error: bad.c:5: returning '__arena int *' from a function")
    assert err.splitlines()[2].strip() == "^"


def test_disassembly_with_lines_assembles(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "disasm", LIST)
    assert "; list_add()\n; list.c:16: static __noinline int list_add(__u64 value)\n" in out
    programs, again = load_object(LIST).programs, assemble_all(out)
    assert list(again) == list(programs)
    for name, program in programs.items():
        assert again[name].bytecode == program.bytecode
        assert again[name].type == program.type
    _, one, _ = call(capsys, "disasm", LIST, "--program", "walk")
    assert one.startswith(".program walk syscall\n")
    assert one.count(".program") == 1


def test_warnings_do_not_stop_the_compiler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not _has_compiler():
        pytest.skip("no C compiler")
    source = tmp_path / "warned.c"
    source.write_text(
        '#define SEC(name) __attribute__((section(name), used))\nSEC("syscall") int f(void *c)\n'
        '{\n\tint lost;\n\treturn 4;\n}\nSEC("kprobe/x") int g(void *c) { return 0; }\n'
        'SEC("?tc") int h(void *c) { return 0; }\nint n = 7;\n'
    )
    output = str(tmp_path / "warned.o")
    status, _, err = call(capsys, "cc", str(source), "-o", output)
    assert status == 0
    assert err.startswith("warned.c:4: warning: unused variable 'lost'\n    \tint lost;\n")
    _, out, _ = call(capsys, "info", output)
    assert "program   g  cannot be loaded: section 'kprobe/x' is not supported" in out
    assert "program   h  tc  2 instructions  (not loaded unless asked)" in out
    assert "variable  n  int  at .data+0  = 7" in out
    assert "map       .data  array  1 entries  key 4 bytes  value 4 bytes  flags 0x400" in out
    _, out, _ = call(capsys, "verify", output)
    assert out.startswith("f: ")
    assert "h: " not in out
    status, _, err = call(capsys, "run", output, "--program", "g")
    assert status == 1
    assert "warned.o: program 'g': section 'kprobe/x' is not supported" in err
    status, _, err = call(capsys, "cc", str(source), "-o", str(source / "where.o"))
    assert "cannot be written" in err


def _has_compiler() -> bool:
    try:
        compiler.find_compiler()
    except Unsupported:
        return False
    return True
