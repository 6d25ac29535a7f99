"""C sources through whichever compilers this machine has, and how their complaints are shown."""

import struct
from importlib import metadata
from importlib.util import find_spec

import numpy as np
import pytest
from support.bpf_probe import refusal
from support.compilers import ZIG
from support.paths import C_PROGRAMS

import workbench as wb
from workbench.bpf import prototypes
from workbench.bpf.disassembler import disassemble
from workbench.bpf.functions import FUNCTIONS, HELPERS
from workbench.bpf.helper_names import HELPER_NAMES
from workbench.errors import CompilationError, Unsupported, WorkbenchError
from workbench.objects import compiler
from workbench.objects.compiler import Diagnostic, compile_c, diagnostics, find_compiler
from workbench.objects.core import vmlinux as running

HEAD = '#include "arena.h"\nARENA(arena, 4);\nchar LICENSE[] SEC("license") = "GPL";\n'


@pytest.mark.parametrize("mcpu", ["v3", "v4"])
@pytest.mark.parametrize("name", sorted(path.stem for path in C_PROGRAMS.glob("*.c")))
def test_the_sources_compile_and_are_accepted(each_compiler: str, name: str, mcpu: str) -> None:
    obj = compile_c(C_PROGRAMS / f"{name}.c", mcpu)
    prebuilt = wb.load_object(C_PROGRAMS / f"{name}.o")
    assert list(obj.programs) == list(prebuilt.programs)
    assert set(obj.variables) == set(prebuilt.variables)
    for program in obj.programs.values():
        wb.verify(program).raise_if_refused()
        assert all("/tmp" not in line.file for line in program.lines)


@pytest.mark.parametrize("name", sorted(path.stem for path in C_PROGRAMS.glob("*.c")))
def test_the_prebuilt_objects_are_those_of_the_sources(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("ziglang") is None or metadata.version("ziglang") != "0.17.1":
        pytest.skip("the objects are those of ziglang 0.17.1 (the extra cc)")
    monkeypatch.setenv("WORKBENCH_CC", ZIG)
    built, prebuilt = compile_c(C_PROGRAMS / f"{name}.c"), wb.load_object(C_PROGRAMS / f"{name}.o")
    assert built.programs == prebuilt.programs
    assert built.variables == prebuilt.variables
    assert built.maps == prebuilt.maps
    assert built.contents == prebuilt.contents


def test_source_in_a_string(each_compiler: str) -> None:
    source = """
        long __arena count = 40;
        SEC("syscall") int add(long *ctx) { count += ctx[0]; return count; }
    """
    obj = wb.compile_c(HEAD + source)
    with obj.arena() as arena, wb.Interpreter(obj.programs["add"], arena) as engine:
        assert engine.run((2).to_bytes(8, "little")).r0 == 42
        assert obj.globals_in(arena)["count"] == 42
    assert "call" not in disassemble(obj.programs["add"])


# Body of a program, and what it returns with the context 3, 1, 2, 3.
BODIES = {
    "stack": ("volatile long b[16]; long s = 0; for (int i = 0; i < 16; i++) b[i] = i * i;"
              "for (int i = 0; i < 16; i++) s += b[i]; return s;", 1240),
    "bounded loop": ("long n = ctx[0]; if (n > 100) n = 100;"
                     "for (long i = 0; i < n; i++) total += i * total + 1; return total;", 10),
    "subprogram": ("return twice(ctx[0]) + twice(ctx[2]);", 10),
    "argument in the arena": ("total = 5; return add(&total, ctx[0]) + total;", 16),
    "pointer to the stack": ("long x = ctx[0], y = bump(&x); return 10 * x + y;", 60),
    "switch": ("switch (ctx[0]) { case 0: return 5; case 1: return 9; case 2: return 100;"
               "case 3: return 2; case 4: return 77; case 5: return 1; } return 0;", 2),
    "division": ("unsigned long n = ctx[0]; return n / (ctx[1] + 1UL) + n % (ctx[1] + 3UL);", 4),
    "sign extension": ("return bytes[ctx[0] & 7] - 7;", (1 << 32) - 11),
    "compare and swap": ("long e = 0; __atomic_compare_exchange_n(&total, &e, 5, 0, 5, 5);"
                         "return total + e;", 5),
    "pages": ("long __arena *p = bpf_arena_alloc_pages(&arena, NULL, 2, NUMA_NO_NODE, 0);"
              "if (!p) return -1; p[700] = ctx[0]; long v = p[700];"
              "bpf_arena_free_pages(&arena, p, 2); return v;", 3),
    "index": ("int i = ctx[0]; words[i & 63] = 5; return words[i & 63] + words[(i + 1) & 63];", 5),
}  # fmt: skip
AROUND = """
long __arena total;
signed char __arena bytes[8] = {-1, 2, -3, -4};
unsigned __arena words[64];
static __noinline long bump(long *x) { *x += 3; return *x - 6; }
static __noinline long twice(long x) { return x * 2; }
__noinline long add(long __arena *x, long y) { *x += y; return *x; }
SEC("syscall") int f(long *ctx) { use_arena(arena); BODY }
"""


@pytest.mark.parametrize("mcpu", ["v3", "v4"])
@pytest.mark.parametrize("name", BODIES)
def test_what_c_becomes(each_compiler: str, name: str, mcpu: str) -> None:
    body, expected = BODIES[name]
    obj = compile_c(HEAD + AROUND.replace("BODY", body), mcpu)
    context = struct.pack("<4q", 3, 1, 2, 3)
    with obj.arena() as arena, wb.Interpreter(obj.programs["f"], arena) as engine:
        assert engine.run(context).r0 & 0xFFFFFFFF == expected
        emulated = arena.snapshot()
    if refusal():
        return
    with obj.arena(wb.KernelArena) as real, wb.Kernel(obj.programs["f"], real) as kernel:
        assert kernel.run(context).r0 == expected
        assert np.array_equal(real.snapshot().bytes, emulated.bytes)


def test_the_error_of_every_beginner(each_compiler: str) -> None:
    with pytest.raises(CompilationError) as raised:
        compile_c(HEAD + 'int __arena x;\nSEC("syscall") int f(void *ctx)\n{\n\tint *p = &x;\n}\n')
    place, source, caret, hint = str(raised.value).splitlines()
    assert place.startswith("source.c:7: initializing 'int *' with an expression of type '__arena ")
    assert source.expandtabs(8)[caret.expandtabs(8).index("^")] in "p&"
    assert hint.startswith("hint: ")
    assert "cast_user" in hint
    assert raised.value.line == 7


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("int f(", "source.c:1: expected parameter declarator"),
        ('#include "nothing.h"\n', "source.c:1: 'nothing.h' file not found"),
        (HEAD + 'SEC("syscall") int f(void *ctx) { return y; }', "source.c:4: use of undeclared"),
        (HEAD + 'SEC("syscall") int f(int *ctx) { return g(1, 2); }\n', "source.c:4: "),
        (HEAD + "int x;\n", "source.o: there is no program"),
        (HEAD + 'SEC("kprobe/f") int f(void *c) { return 0; }', "section 'kprobe/f' is not supp"),
        (HEAD + 'ARENA(second, 4);\nSEC("syscall") int f(void *c) { return 0; }',
         "there are several arena maps (arena, second); one is allowed"),
        (HEAD + 'char __arena x[5000 * 4];\nSEC("syscall") int f(void *c) { return x[5]; }',
         "need 20000 bytes; map 'arena' has 16384"),
        ('#include "arena.h"\nint __arena x;\nSEC("syscall") int f(void *c) { return x; }',
         "'x' lies in the arena, but there is no arena map in .maps"),
        (HEAD + 'extern int y;\nSEC("syscall") int f(void *c) { return y; }',
         "'y' is defined nowhere"),
        (HEAD + 'int __arena x;\nSEC("syscall") int f(int *c) '
         "{ __sync_lock_release(&x); return 0; }", "source.c: the compiler cannot translate an op"),
        (HEAD + 'SEC("tc") int tc(void *c) { return 0; }', "hint: a function may not have"),
        (HEAD + 'SEC("tc") int f(void *c) { return bpf_ktime_get_ns(); }',
         'hint: #include "helpers.h"'),
    ],
)  # fmt: skip
def test_refused_sources(each_compiler: str, source: str, message: str) -> None:
    with pytest.raises(WorkbenchError) as raised:
        compile_c(source)
    assert message in str(raised.value)


def test_compilers_are_found_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CC", "/opt/clang -v")
    assert find_compiler() == (("/opt/clang", "-v"), "bpfel", "WORKBENCH_CC")
    with pytest.raises(Unsupported, match="WORKBENCH_CC: cannot run '/opt/clang -v': No such file"):
        compile_c("")
    monkeypatch.delenv("WORKBENCH_CC")
    monkeypatch.setattr(compiler, "_system_clang", lambda: "/usr/bin/clang-19")
    assert find_compiler().source == "system"
    monkeypatch.setattr(compiler, "_system_clang", lambda: None)
    monkeypatch.setattr(compiler, "find_spec", lambda name: object())
    assert find_compiler().target == "bpfel-freestanding"
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match="apt-get install clang-19"):
        find_compiler()


def test_the_header_of_functions_is_that_of_the_table() -> None:
    """Verifier, engines, documentation and C programs have one table of prototypes."""
    assert (compiler.INCLUDE / "helpers.h").read_text() == prototypes.header()
    for row in FUNCTIONS:
        parameters = prototypes.prototype(row).partition("(")[2].rstrip(")").split(", ")
        given = [word for word in parameters if word not in ("void", "...")]
        assert len(given) == len(row.arguments), row.name


def test_names_of_helpers_are_those_of_linux() -> None:
    types = running()
    if types is None:
        pytest.skip("this kernel has no BTF")
    names = types[types.called("bpf_func_id")[0]].members[1:-1]
    known = {member.value: member.name.replace("BPF_FUNC", "bpf") for member in names}
    assert {n: name for n, name in known.items() if n <= len(HELPER_NAMES)} == HELPER_NAMES
    assert {row.number: row.name for row in HELPERS.values()}.items() <= HELPER_NAMES.items()


@pytest.mark.parametrize("verify", [True, False])
def test_functions_that_are_missing_are_told_by_name(verify: bool) -> None:
    for call, message in (
        ("bpf_get_current_task", "bpf_get_current_task; near: bpf_get_current_pid_tgid"),
        ("bpf_iter_num_nxt", "bpf_iter_num_nxt; near: bpf_iter_num_next"),
        ("500", "no such helper; `workbench functions` lists"),
    ):
        program = wb.assemble(f"call {call}\nr0 = 0\nexit\n")
        with pytest.raises(WorkbenchError, match=message):
            wb.Interpreter(program, verify=verify)


def test_processors_without_arena() -> None:
    with pytest.raises(Unsupported, match="mcpu 'v2' has no arena; choose from v3, v4"):
        compile_c("", "v2")


def test_plain_diagnostics_are_read() -> None:
    text = "a.c:3:7: warning: odd\na.c:4:1: fatal error: gone\n1 error generated.\n"
    assert diagnostics(text) == [
        Diagnostic("warning", "odd", "a.c", 3, 7),
        Diagnostic("error", "gone", "a.c", 4, 1),
    ]
    assert diagnostics('{"$schema" broken') == []
