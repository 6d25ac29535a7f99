"""What clang writes and libbpf loads, loaded here: each feature compared with libbpf's result."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from oracles.libbpf import comparable, library, loaded
from support.c_sources import compiled, content_of
from support.kernel_support import KERNEL
from support.paths import C_SOURCES

import workbench as wb
from workbench.bpf.isa import WIRE
from workbench.errors import Unsupported, WorkbenchError
from workbench.objects import Object, load_object, read_object
from workbench.objects.btf import Kind, Type, read_btf
from workbench.objects.compiler import compile_bytes
from workbench.objects.relocate import POISON
from workbench.objects.values import c_name
from workbench.objects.writing import write_btf

LIBBPF = pytest.mark.skipif(library() is None, reason="libbpf.so.1 is not installed")
ELSEWHERE = (
    "part_one",
    "part_two",
    "layouts",
    "helpers",
    "calls",
)  # not for libbpf 1.1 and this kernel
NAMES = sorted(path.stem for path in C_SOURCES.glob("*.c") if path.stem not in ELSEWHERE)


@LIBBPF
@pytest.mark.parametrize("name", [pytest.param(name, marks=KERNEL) for name in NAMES])
def test_code_is_what_libbpf_sends_to_the_kernel(name: str) -> None:
    content = content_of(name)
    obj = read_object(content, f"{name}.o")
    theirs = loaded(content)
    assert set(theirs) == set(obj.programs)
    assert not obj.errors
    for program in set(theirs) - obj.optional:
        code = theirs[program]
        mine = np.frombuffer(obj.programs[program].bytecode, WIRE)
        assert comparable(mine).tolist() == comparable(code).tolist(), program


def test_variables_of_all_sections() -> None:
    obj = compiled("variables")
    values = obj.globals
    assert values["counter"] == 3
    assert values["limit"] == -4
    assert values["table"] == [1, 2, 3, 4]
    assert values["greeting"].rstrip(b"\0") == b"hello"  # type: ignore[union-attr]
    assert values["origin"] == {"x": 7, "y": -8, "flags": 5}
    assert values["hidden"] == 0
    assert values["count.calls"] == 0
    assert {v.section for v in obj.variables.values()} == {
        ".data", ".data.other", ".rodata", ".bss"
    }  # fmt: skip


def test_variables_are_written_as_they_are_read() -> None:
    values = compiled("variables").globals
    values["table"] = [9, 8]
    assert values["table"] == [9, 8, 0, 0]
    values["origin"] = {"x": -1, "flags": 19}
    assert values["origin"] == {"x": -1, "y": 0, "flags": 3}
    for name in values:
        before = values[name]
        values[name] = before
        assert values[name] == before
    with pytest.raises(WorkbenchError, match="'point' has no member 'z'; it has x, y, flags"):
        values["origin"] = {"z": 1}
    with pytest.raises(WorkbenchError, match="a list does not go into a variable of kind array"):
        values["table"] = [1, 2, 3, 4, 5]


def test_types_are_written_as_c_writes_them() -> None:
    types = [Type(Kind.INT, "int", 4), Type(Kind.ARRAY, "", target=1, length=3),
             Type(Kind.ARRAY, "", target=2, length=2), Type(Kind.PTR, "", target=1),
             Type(Kind.ARRAY, "", target=4, length=5)]  # fmt: skip
    found = read_btf(write_btf(types))
    assert [c_name(found, n) for n in (2, 3, 5)] == ["int[3]", "int[2][3]", "int *[5]"]


def test_variables_become_maps_of_the_programs() -> None:
    obj = compiled("variables")
    maps = {m.name: m for m in obj.programs["count"].maps}
    assert set(maps) == {".data", ".data.other", ".rodata", ".bss"}
    assert maps[".rodata"].frozen
    assert not maps[".data"].frozen
    assert maps[".bss"].initial == bytes(maps[".bss"].value_size)
    before = obj.variables["counter"].offset
    obj.globals["counter"] = 77
    changed = {m.name: m for m in obj.programs["count"].maps}[".data"]
    assert changed.initial[before : before + 4] == (77).to_bytes(4, "little")
    assert maps[".rodata"] in obj.programs["count"].maps


def test_maps_are_read_completely() -> None:
    maps = compiled("maps").maps
    assert maps["counts"][:6] == ("counts", "hash", 4, 16, 100, 1)
    assert (maps["counts"].key_type, maps["counts"].value_type) == ("int", "struct value")
    assert maps["counts"].lock == 8
    assert maps["events"].max_entries == 16384
    assert maps["outer"].inner is not None
    assert maps["outer"].inner.max_entries == 5
    assert maps["outer"].values == ("", "second", "first")
    assert maps["jumps"].values == ("", "leaf")
    assert (maps["jumps"].key_size, maps["jumps"].value_size) == (4, 4)
    reached = {m.name for m in compiled("maps").programs["look"].maps}
    assert {"outer", "first", "second", "counts"} <= reached


def test_functions_are_described() -> None:
    programs = compiled("functions").programs
    found = {s.name: s for p in programs.values() for s in p.subprograms}
    assert found["entry"].pc == 0
    assert [found[n].is_global for n in ("seen", "unseen", "each", "entry")] == [
        True, False, False, False
    ]  # fmt: skip
    assert found["seen"].arguments == ("scalar", "mem_or_null:4")
    assert found["must"].arguments == ("mem:8", "ctx")
    assert found["nothing"].returns == "void"


ARENA = '#include "arena.h"\nARENA(arena, 4);\nchar LICENSE[] SEC("license") = "GPL";\n'


def from_source(source: str) -> Object:
    try:
        return wb.compile_c(ARENA + source)
    except Unsupported as error:
        pytest.skip(str(error))


ARENA_POINTERS = {
    "dereferenced": ("long __noinline g(long __arena *p) { return *p; }", "arena"),
    "moved on": ("long __noinline g(long __arena *p) { p += 3; return p[1] + *p; }", "arena"),
    "passed on": ("static __noinline long h(long __arena *q) { return *q; }\n"
                  "long __noinline g(long __arena *p) { return h(p + 1) + 1; }", "arena"),
    "in a loop": ("long __noinline g(long __arena *p) { long s = 0;"
                  "for (int i = 0; i < 9 && can_loop; i++) s += p[i]; return s; }", "arena"),
    "not in the arena": ("long __noinline g(long *p) { return p ? *p : 0; }", "mem_or_null:8"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARENA_POINTERS)
def test_pointers_into_the_arena_are_recognised(name: str) -> None:
    source, kind = ARENA_POINTERS[name]
    call = "g(&x)" if kind == "arena" else "g(&y)"
    obj = from_source(
        f'long __arena x;\n{source}\nSEC("syscall") int f(void *c) '
        f"{{ long y = 5; use_arena(arena); return {call}; }}"
    )
    described = {s.name: s for s in obj.programs["f"].subprograms}
    assert described["g"].arguments == (kind,)


def test_a_program_in_error_leaves_the_others() -> None:
    obj = from_source(
        'SEC("kprobe/f") int bad(void *c) { return 0; }\nSEC("syscall") int good(void *c) '
        "{ return 7; }\n"
    )
    assert list(obj.programs) == ["good"]
    assert "section 'kprobe/f' is not supported" in str(obj.errors["bad"])
    with pytest.raises(WorkbenchError, match="program 'bad': section 'kprobe/f'"):
        obj.program("bad")


def test_arena_variables_at_the_end(tmp_path: Path) -> None:
    source = ARENA + 'long __arena x[600];\nSEC("syscall") int f(long *c) { return x[5]; }'
    try:
        (tmp_path / "end.o").write_bytes(compile_bytes(source))
    except Unsupported as error:
        pytest.skip(str(error))
    obj = load_object(tmp_path / "end.o", arena_data="end")
    obj.globals["x"] = bytes(40) + b"\x09"
    with obj.arena() as arena:
        assert arena.free_extents.tolist() == [[0, 2]]
        assert obj.globals_in(arena)["x"][5] == 9
        with wb.Interpreter(obj.programs["f"], arena) as engine:
            assert engine.run(bytes(8)).r0 == 9
    with pytest.raises(WorkbenchError, match="end at byte 12992 of the arena; 3 pages have 12288"):
        obj.arena(pages=3)
    with pytest.raises(WorkbenchError, match="arena_data is 'middle'; choose from start, end"):
        load_object(tmp_path / "end.o", arena_data="middle")


def test_settings_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "k.o").write_bytes(content_of("kernel_layouts"))
    given = {"CONFIG_HZ": 1234, "CONFIG_BPF": "n", "CONFIG_DEFAULT_HOSTNAME": '"here"'}
    obj = load_object(tmp_path / "k.o", kconfig=given)
    assert obj.globals["CONFIG_HZ"] == 1234
    assert obj.globals["CONFIG_BPF"] == 0
    assert obj.globals["CONFIG_DEFAULT_HOSTNAME"] == b"here".ljust(16, b"\0")
    assert obj.globals["CONFIG_NOWHERE"] == 0
    release = os.uname().release.split("-")[0].split(".")
    assert obj.globals["LINUX_KERNEL_VERSION"] >> 8 == int(release[0]) << 8 | int(release[1])
    assert obj.maps[".kconfig"].frozen
    for text, complaint in (
        ({"CONFIG_BPF": "m"}, "setting CONFIG_BPF is m; declare it enum libbpf_tristate"),
        ({"CONFIG_HZ": "y"}, "setting CONFIG_HZ is y; declare it _Bool or char"),
        ({"CONFIG_HZ": '"100"'}, 'CONFIG_HZ is the string "100"; declare it char'),
        ({"CONFIG_HZ": 1 << 40}, "does not fit into 4 bytes"),
    ):
        with pytest.raises(WorkbenchError, match=complaint):
            load_object(tmp_path / "k.o", kconfig=text)


@pytest.mark.parametrize(
    "declaration", ["struct { int x; } S", "int S[4]", "enum { NO, YES } S", "char *S", "char S[0]"]
)
def test_types_of_settings_are_those_that_libbpf_knows(declaration: str) -> None:
    declaration = declaration.replace("S", "CONFIG_S")
    use = 'SEC("syscall") int f(void *c) { return *(volatile char *)&CONFIG_S; }'
    section = '__attribute__((weak, section(".kconfig")))'
    with pytest.raises(WorkbenchError, match="setting CONFIG_S has a type that no setting has"):
        from_source(f"extern {declaration} {section}; {use}")


def test_functions_of_linux_may_be_missing() -> None:
    """A weak one whose address was asked for is known to be missing; its call is never reached."""
    declare = 'extern int {}(void) __attribute__((weak, section(".ksyms")));\n'
    obj = from_source(
        declare.format("bpf_nowhere")
        + 'SEC("syscall") int f(void *c) { return &bpf_nowhere ? bpf_nowhere() : 5; }\n'
        + 'SEC("syscall") int g(void *c) { return &bpf_arena_alloc_pages ? 1 : 2; }\n'
    )
    assert not [r for r in obj.programs["f"].references if r.kind == "kfunc"]
    assert f"call {POISON}" in str(obj.programs["f"])
    with wb.Interpreter(obj.programs["g"]) as engine:
        assert engine.run(bytes(8)).r0 == 1
    called = from_source(
        declare.format("bpf_nowhere") + 'SEC("syscall") int f(void *c) { return bpf_nowhere(); }'
    )
    assert [r.name for r in called.programs["f"].references] == ["bpf_nowhere"]


def test_objects_are_linked(tmp_path: Path) -> None:
    for name in ("part_one", "part_two"):
        (tmp_path / f"{name}.o").write_bytes(content_of(name))
    obj = load_object([tmp_path / "part_one.o", tmp_path / "part_two.o"])
    assert obj.name == "part_one.o + part_two.o"
    assert obj.globals["shared"] == 5
    assert obj.globals["weak_value"] == 20
    assert obj.globals["own"] == 1
    assert obj.globals["own@2"] == 2
    with obj.arena() as arena, wb.Interpreter(obj.programs["first"], arena) as engine:
        assert engine.run(bytes(8)).r0 == 1007
    with obj.arena() as arena, wb.Interpreter(obj.programs["second"], arena) as engine:
        assert engine.run(bytes(8)).r0 == 2002
    lines = {line.file for line in obj.programs["first"].lines}
    assert {"part_one.c", "part_two.c"} <= lines
    (tmp_path / "again.o").write_bytes(content_of("part_one"))
    with pytest.raises(WorkbenchError, match=r"'first' is defined in part_one\.o and in again\.o"):
        load_object([tmp_path / "part_one.o", tmp_path / "again.o"])


def test_layouts_of_a_given_kernel(tmp_path: Path) -> None:
    """Against a BTF that is no kernel's, the answers are known."""
    target = """
        struct inner { char pad[3]; unsigned short half; };
        struct thing { long first; struct { int nested; }; struct inner inner[4];
                       unsigned flag : 3; unsigned other : 5; unsigned long wide; } t;
        enum choice { NO, YES = 40 } c;
        #define SEC(name) __attribute__((section(name), used))
        SEC("syscall") int f(struct thing *t) { return t->wide + c; }
    """
    try:
        (tmp_path / "target.o").write_bytes(compile_bytes(target))
        (tmp_path / "user.o").write_bytes(content_of("layouts"))
    except Unsupported as error:
        pytest.skip(str(error))
    obj = load_object(tmp_path / "user.o", btf=tmp_path / "target.o")
    text = str(obj.programs["f"])
    stored = re.findall(r"^ +r\d = (0x[0-9a-f]+|\d+)(?: ll)?$", text, re.MULTILINE)
    assert [int(value, 0) for value in stored] == [8, 2, 16, 1, 0, 48, 1, 40, 0, 59]
    assert "r0 = *(u64 *)(r1 + 40)" in text  # an unsigned that has grown
