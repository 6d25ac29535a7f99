"""The cell magics, in an IPython without a notebook: what they bind, and how mistakes look."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

import workbench as wb
from workbench.errors import Unsupported
from workbench.examples import c_programs
from workbench.objects.compiler import find_compiler

HEAD = '#include "arena.h"\nARENA(arena, 16);\nchar LICENSE[] SEC("license") = "GPL";\n'


@pytest.fixture
def shell() -> InteractiveShell:
    """An IPython with the extension loaded."""
    made = InteractiveShell()
    made.run_line_magic("load_ext", "workbench")
    return made


@pytest.fixture
def compiler() -> None:
    """Skip where C cannot be compiled."""
    try:
        find_compiler()
    except Unsupported as error:
        pytest.skip(str(error))


def run(shell: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Run a cell as a notebook does; gives what it said and what it complained about."""
    shell.run_cell(cell)
    return capsys.readouterr()


@pytest.mark.usefixtures("compiler")
def test_c_becomes_an_object(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    source = HEAD + 'long __arena n = 2;\nSEC("syscall") int f(void *c) { return ++n; }\n'
    out, err = run(shell, f"%%bpf counter\n{source}", capsys)
    assert out == "counter: Object counter.o: programs f; an arena of 16 pages with n\n"
    assert err == ""
    made, twin = shell.user_ns["counter"], wb.compile_c(source, name="counter.c")
    assert made.programs["f"].bytecode == twin.programs["f"].bytecode
    with made.arena() as arena, wb.Interpreter(made.programs["f"], arena) as engine:
        assert engine.run().r0 == 3
    lines = {line.line: line.text for line in made.programs["f"].lines}
    assert lines == {6: 'SEC("syscall") int f(void *c) { return ++n; }'}  # of the whole cell


@pytest.mark.usefixtures("compiler")
def test_an_error_points_into_the_cell(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    body = 'int __arena x;\nSEC("syscall") int f(void *c)\n{\n\treturn x + nope;\n}\n'
    source = HEAD + body
    out, err = run(shell, f"%%bpf wrong --mcpu v4\n{source}", capsys)
    said = (out + err).splitlines()
    assert said[0] == "CompilationError: wrong.c:8: use of undeclared identifier 'nope'"
    assert said[1:3] == ["    \treturn x + nope;", "    \t           ^"]
    assert "Traceback" not in out + err
    assert "wrong" not in shell.user_ns


@pytest.mark.usefixtures("compiler")
def test_address_spaces_get_a_hint(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    source = HEAD + 'int __arena x;\nSEC("syscall") int f(void *c) { int *p = &x; return *p; }\n'
    out, err = run(shell, f"%%bpf wrong\n{source}", capsys)
    assert "wrong.c:6: initializing 'int *' with an expression of type '__arena int *'" in out + err
    assert "hint: a pointer into the arena is declared with __arena; cast_user(p)" in out + err


@pytest.mark.usefixtures("compiler")
def test_warnings_and_lost_programs_are_told(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    source = HEAD + (
        'SEC("syscall") int f(void *c) { int lost; return 1; }\n'
        'SEC("kprobe/x") int g(void *c) { return 1; }\n'
    )
    out, err = run(shell, f"%%bpf some\n{source}", capsys)
    assert "some.c:5: warning: unused variable 'lost'" in err
    assert "program 'g': section 'kprobe/x' is not supported" in err
    assert out.startswith("some: Object some.o: programs f")


def test_without_a_compiler_what_was_built_is_loaded(
    shell: InteractiveShell,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKBENCH_CC", "/nowhere/clang")
    prebuilt = c_programs.example("lock").source.with_suffix(".o")
    out, _ = run(shell, f"%%bpf lock --prebuilt {prebuilt}\n...", capsys)
    assert out.splitlines()[0] == f"no C compiler here; this is {prebuilt}"
    assert list(shell.user_ns["lock"].programs) == ["pay_in", "hold"]
    out, err = run(shell, "%%bpf lock\n...", capsys)
    assert "Unsupported: WORKBENCH_CC: cannot run '/nowhere/clang'" in out + err


def test_assembly_becomes_a_program(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run(shell, "%%bpfasm answer\nr0 = 42\nexit\n", capsys)
    assert out == "answer: a syscall program of 2 instructions\n"
    assert shell.user_ns["answer"].bytecode == wb.assemble("r0 = 42\nexit\n").bytecode
    run(shell, "%%bpfasm mean --type raw\nr0 = r2\nexit\n", capsys)
    assert shell.user_ns["mean"].type == "raw"
    text = ".program one syscall\nr0 = 1\nexit\n.program two tc\nr0 = 2\nexit\n"
    out, _ = run(shell, f"%%bpfasm both\n{text}", capsys)
    assert out == "both: programs one, two\n"
    assert shell.user_ns["both"]["two"].type == "tc"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%bpfasm wrong\nr0 = 42\n\nexitt\n", "AssemblyError: line 4: unknown instruction"),
        ("%%bpfasm not-a-name\nexit\n", "WorkbenchError: 'not-a-name' cannot be the name of a"),
        ("%%bpfasm\nexit\n", "UsageError: the following arguments are required: NAME"),
        ("%%bpf x --mcpu v1\n\n", "UsageError: argument --mcpu: invalid choice: 'v1'"),
    ],
)
def test_mistakes(
    shell: InteractiveShell, cell: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(shell, cell, capsys)
    assert message in out + err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("name", ["bpf", "bpfasm"])
def test_magics_document_themselves(shell: InteractiveShell, name: str) -> None:
    text = shell.find_cell_magic(name).__doc__
    assert f"%{name} [--" in text
    assert "The same without a cell: wb." in text
    assert f"%%{name} " in text
