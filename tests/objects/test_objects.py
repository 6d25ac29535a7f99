"""Object files: what they hold, what they do on every engine, and how damaged ones are refused."""

import contextlib
import functools
import resource
import struct
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from io import BytesIO
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from support.paths import C_PROGRAMS, C_SOURCES

import workbench as wb
from workbench.bpf.disassembler import disassemble
from workbench.bpf.program_types import of_section
from workbench.errors import ArenaError, SegmentationFault, Unsupported, WorkbenchError
from workbench.examples import c_programs
from workbench.objects import Object, read_object
from workbench.objects.btf import Kind, Member, Type, read_btf
from workbench.objects.compiler import compile_bytes
from workbench.objects.layouts import layouts
from workbench.objects.values import decode
from workbench.objects.writing import write_btf
from workbench.verifier.paths import explore

STUDIES = C_PROGRAMS.with_name("studies")
NAMES = sorted(path.stem for path in C_PROGRAMS.glob("*.o"))


def load(name: str) -> Object:
    return wb.load_object(C_PROGRAMS / f"{name}.o")


def run_all(obj: Object, name: str, arena: object) -> None:
    """Run the steps of an example on the interpreter."""
    c_programs.example(name).run(obj, arena, wb.Interpreter)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_programs_are_accepted(name: str) -> None:
    obj = load(name)
    assert obj.license in ("GPL", "Dual MIT/GPL")
    assert obj.maps["arena"].type == "arena"
    for program in obj.programs.values():
        assert program.type == "syscall"
        wb.verify(program, arena_pages=obj.maps["arena"].max_entries).raise_if_refused()


@pytest.mark.parametrize("name", NAMES)
def test_programs_read_as_text(name: str) -> None:
    for program in load(name).programs.values():
        again = wb.assemble(disassemble(program), name=program.name)
        assert again.bytecode == program.bytecode
        assert again.references == program.references


def test_lines_lead_to_the_source() -> None:
    source = (C_PROGRAMS / "list.c").read_text().splitlines()
    for program in load("list").programs.values():
        own = [line for line in program.lines if line.file.endswith("list.c")]
        assert own
        assert [line.pc for line in program.lines] == sorted(line.pc for line in program.lines)
        assert all(source[line.line - 1] == line.text for line in own)


def test_subprograms_are_appended() -> None:
    program = load("list").programs["walk"]
    text = disassemble(program)
    assert text.count("exit") == 2
    assert "call L" in text
    assert len(program) < len(load("list").programs["add"])


def test_globals() -> None:
    obj = load("list")
    assert list(obj.globals) == ["seed", "list_length", "list_head", "pool"]
    assert obj.globals["seed"] == 7
    assert obj.globals["pool"] == {"next": 0, "left": 0}
    with pytest.raises(WorkbenchError, match="no global variable 'head'; there is seed, list_le"):
        obj.globals["head"]


def test_initial_values_can_be_changed() -> None:
    obj = load("search")
    obj.globals["pattern"] = b"worst"
    with obj.arena() as arena, wb.Interpreter(obj.programs["search"], arena) as engine:
        assert engine.run().r0 == 1
        assert obj.globals_in(arena)["found"][0] == obj.globals["text"].index(b"worst")
        obj.globals_in(arena)["pattern"] = b"was"
        assert engine.run().r0 == 2
    assert load("search").globals["pattern"].rstrip(b"\0") == b"times"


def test_a_value_must_fit() -> None:
    values = load("atomics").globals
    with pytest.raises(WorkbenchError, match="does not fit into 4 bytes"):
        values["narrow"] = 1 << 32
    values["narrow"] = -1
    assert values["narrow"] == 0xFFFFFFFF
    with pytest.raises(WorkbenchError, match="a str does not go into a variable of kind int"):
        values["narrow"] = "5"


def test_variables_take_their_pages_out_of_the_free_set() -> None:
    with load("hash").arena() as arena:
        assert arena.free_extents.tolist() == [[1, 127]]
    with load("sparse").arena() as arena:
        assert arena.user_start % (1 << 32) == 0
        assert arena.page_count == 1 << 20


def test_walking_a_list() -> None:
    obj = load("list")
    with obj.arena() as arena:
        run_all(obj, "list", arena)
        head = obj.globals_in(arena)["list_head"]
        table = obj.walk(arena, head, "node")
        assert list(table.columns) == ["address", "next", "value"]
        assert (len(table), table["value"].sum()) == (29, 3621)
        assert obj.struct(arena, head, "struct node")["next"] == table["address"][1]
        assert arena.user.struct(head, "node") == obj.struct(arena, head, "node")
        assert arena.user.walk(head, "node").equals(table)
        arena.user.store(int(table["address"].iloc[-1]), "u64", head)
        with pytest.raises(WorkbenchError, match=f"'node' comes back to {head:#x}"):
            obj.walk(arena, head, "node")
        with pytest.raises(WorkbenchError, match="no member 'nxet'; it has next, value"):
            obj.walk(arena, head, "node", "nxet")
        with pytest.raises(WorkbenchError, match="no structure 'nodes'; there is arena_pool, node"):
            obj.struct(arena, head, "nodes")
        with pytest.raises(SegmentationFault):
            obj.struct(arena, 8, "node")


def test_an_arena_without_types() -> None:
    with wb.Arena(4) as arena, pytest.raises(WorkbenchError, match=r"make it with Object\.arena"):
        arena.user.struct(arena.user_start, "node")


def test_walking_without_user_addresses() -> None:
    obj = load("list")
    with wb.Arena(64, wb.ArenaFlags.NO_USER_CONV) as arena:
        obj.fill(arena)
        run_all(obj, "list", arena)
        assert obj.walk(arena, obj.globals_in(arena)["list_head"], "node")["value"].sum() == 3621


@pytest.mark.parametrize(
    ("section", "type"),
    [("syscall", "syscall"), ("?syscall", "syscall"), ("socket", "socket_filter"),
     ("socket1", "socket_filter"), ("tc", "tc"), ("tcx/ingress", "tc"), ("xdp", "xdp"),
     ("xdp.frags", "xdp"), ("raw_tp/sys_enter", "raw_tp"), ("classifier", "tc")],
)  # fmt: skip
def test_sections_say_the_type(section: str, type: str) -> None:
    assert of_section(section).name == type


@pytest.mark.parametrize("section", ["kprobe/do_exit", "iter/task", "struct_ops", "", "xd"])
def test_other_sections_are_refused(section: str) -> None:
    with pytest.raises(WorkbenchError, match="is not supported; there is syscall, "):
        of_section(section)


def changed(name: str, old: bytes, new: bytes) -> bytes:
    content = (C_PROGRAMS / f"{name}.o").read_bytes()
    assert old in content
    return content.replace(old, new)


def big_endian() -> bytes:
    """The same header with its numbers turned around, which is all that is looked at."""
    content = bytearray((C_PROGRAMS / "list.o").read_bytes())
    names = "<16sHHIQQQIHHHHHH", ">16sHHIQQQIHHHHHH"
    fields = list(struct.unpack_from(names[0], content))
    fields[0] = fields[0][:5] + b"\x02" + fields[0][6:]
    struct.pack_into(names[1], content, 0, *fields)
    return bytes(content)


def relocation_type(number: int) -> bytes:
    """The first relocation of a program, with another type."""
    content = bytearray((C_PROGRAMS / "list.o").read_bytes())
    section = ELFFile(BytesIO(content)).get_section_by_name(".relsyscall")
    struct.pack_into("<I", content, section["sh_offset"] + 8, number)
    return bytes(content)


def e_machine(number: int) -> bytes:
    content = bytearray((C_PROGRAMS / "list.o").read_bytes())
    struct.pack_into("<H", content, 18, number)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or not an ELF object"),
        (b"\x7fELF", "damaged or not an ELF object"),
        (b"int main(void) {}", "damaged or not an ELF object: Magic number does not match"),
        (big_endian(), "a big-endian BPF object; compile with -target bpfel|cut short|damaged"),
        (e_machine(62), "an object for EM_X86_64, not for BPF"),
        ((C_PROGRAMS / "list.o").read_bytes()[:3000], "damaged|cut short"),
        (changed("list", b"syscall\0", b"kprobes\0"), "section 'kprobes' is not supported"),
        (changed("list", b".addr_space.1\0", b".odd_places..\0"),
         "uses 'seed' in section '.odd_places..', which holds no variables"),
    ],
)  # fmt: skip
def test_unusable_objects(content: bytes, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message) as raised:
        read_object(content, "bad.o")
    assert str(raised.value).startswith("bad.o: ")
    assert "\n" not in str(raised.value)


def test_a_relocation_of_an_unknown_type() -> None:
    obj = read_object(relocation_type(9), "odd.o")
    assert list(obj.programs) == ["walk", "delete"]
    with pytest.raises(
        WorkbenchError, match=r"'add': instruction 4: relocation type 9 \(to 'seed'"
    ):
        obj.program("add")


def test_an_arena_that_refuses_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(wb.Arena, "close", lambda arena: closed.append(arena))
    with pytest.raises(SegmentationFault, match="SEGV_ON_FAULT"):
        load("list").arena(flags=wb.ArenaFlags.SEGV_ON_FAULT)
    assert len(closed) == 1


def test_an_object_says_what_it_is() -> None:
    assert repr(load("lock")) == (
        "<Object lock.o: programs pay_in, hold; an arena of 8 pages with account>"
    )


def test_missing_files() -> None:
    with pytest.raises(WorkbenchError, match=r"cannot read nothing\.o: No such file"):
        wb.load_object("nothing.o")


VERIFIED: set[int] = set()  # hashes: most damage leaves the programs as they were


def survives(content: bytes) -> bool:
    """Whether an object loads; anything but one-line WorkbenchErrors fails the test."""
    complaints: list[object] = []
    try:
        obj = read_object(content, "fuzzed.o")
        complaints += obj.errors.values()
        for program in obj.programs.values():
            if hash(program) not in VERIFIED:
                VERIFIED.add(hash(program))
                with mock.patch.object(explore, "LIMIT", 2_000):  # it has fuzzers of its own
                    wb.verify(program)
        repr(obj.globals)
    except WorkbenchError as error:
        complaints.append(error)
    assert not any("\n" in str(complaint) for complaint in complaints)
    return not complaints


def test_structures_that_contain_themselves_end() -> None:
    """Each has two of the next, the last two of the first: 2 ** 64 parts, if all were counted."""
    count = 40
    types = [
        Type(Kind.STRUCT, f"s{n}", 8, members=(Member("a", (n + 1) % count + 1),
                                                Member("b", (n + 1) % count + 1, 32)))
        for n in range(count)
    ]  # fmt: skip
    found = read_btf(write_btf(types))
    assert len(layouts(found)) == count
    with pytest.raises(WorkbenchError, match="types contain each other without end"):
        decode(found, 1, bytes(8))


@functools.cache
def originals() -> tuple[bytes, ...]:
    """The prebuilt objects, and those that use more features, where there is a compiler."""
    found = [path.read_bytes() for path in (*C_PROGRAMS.glob("*.o"), *STUDIES.glob("*.o"))]
    for path in sorted(C_SOURCES.glob("*.c")):
        with contextlib.suppress(Unsupported):
            found.append(compile_bytes(path.read_text(), name=path.name, directory=path.parent))
    return tuple(found)


@given(data=st.data())
def test_damaged_objects_are_refused_or_load(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(originals())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    survives(bytes(content))


@given(data=st.data(), part=st.floats(0, 1, exclude_max=True))
def test_truncated_objects_are_refused(data: st.DataObject, part: float) -> None:
    content = data.draw(st.sampled_from(originals()))
    assert not survives(content[: int(part * len(content))])


BTF_SECTIONS = (".BTF", ".BTF.ext", ".maps", ".symtab", ".rel.maps", ".relsyscall")


@functools.cache
def tables(content: bytes) -> tuple[tuple[int, int], ...]:
    """Where an object keeps what a loader trusts: types, symbols, relocations."""
    file = ELFFile(BytesIO(content))
    found = (file.get_section_by_name(name) for name in BTF_SECTIONS)
    return tuple((s["sh_offset"], s["sh_size"]) for s in found if s and s["sh_size"])


class Fuzzed(NamedTuple):
    """How many damaged objects loaded, the slowest in CPU times of a usual one, KiB grown by."""

    loaded: int
    slowest: float
    grown: int


def fuzz(seed: int, count: int) -> Fuzzed:
    """Flip bits: half of the flips are anywhere, half in the tables, where they do more."""
    rng = np.random.default_rng(seed)
    loaded, times = 0, []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        original = originals()[(seed + number) % len(originals())]
        content = bytearray(original)
        places = tables(original)
        begin, size = places[rng.integers(len(places))] if number & 1 else (0, len(content))
        for _ in range(rng.integers(1, 8)):
            content[begin + rng.integers(size)] ^= 1 << rng.integers(8)
        start = time.thread_time()
        loaded += survives(bytes(content))
        times.append(time.thread_time() - start)
    slowest = max(times) / float(np.median(times))
    return Fuzzed(loaded, slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


@pytest.mark.timeout(3600)
def test_flipped_bits(scale) -> None:  # type: ignore[no-untyped-def]
    count, each = scale(300, 100_000), scale(300, 1_000)
    seeds = range(4, 4 + count // each)
    if len(seeds) == 1:
        found = [fuzz(seeds[0], each)]
    else:
        with ProcessPoolExecutor() as pool:
            found = list(pool.map(fuzz, seeds, [each] * len(seeds)))
    loaded, slowest, grown = (column for column in zip(*found, strict=True))
    summary = f"{count} damaged objects: {sum(loaded)} load, slowest {max(slowest):.1f} usual"
    print(f"{summary}, {max(grown)} KiB more")
    assert 0 < sum(loaded) < count
    assert max(slowest) < 2000, summary  # of 300, the slowest takes some 70 usual times
    assert max(grown) < 500_000, f"{max(grown)} KiB more"


def test_a_program_with_variables_wants_an_arena_that_holds_them():
    obj = load("list")
    program = obj.program("add")
    for engine in (wb.Interpreter, wb.Jit):
        with pytest.raises(WorkbenchError, match=r"has variables in the arena.*obj\.fill\(arena\)"):
            engine(program, wb.Arena(64)).run(bytes(16))
        arena = wb.Arena(64)
        machine = engine(program, arena)  # made first, as by who fills anew before each run
        obj.fill(arena)
        assert machine.run(bytes(16)).stop == "exit"


def test_an_arena_is_declared_as_bpf_takes_it():
    obj = load("list")
    declared = {obj.arena_map.name: obj.arena_map._replace(map_flags=0)}
    obj = replace(obj, declared=declared)
    with pytest.raises(ArenaError, match="EINVAL: an arena needs the flag MMAPABLE"):
        obj.arena()
