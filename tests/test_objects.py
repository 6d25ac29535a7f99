"""Object files: what they hold, what they do on every engine, and how damaged ones are refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_support import KERNEL

import workbench as wb
from workbench.disassembler import disassemble
from workbench.errors import SegmentationFault, WorkbenchError
from workbench.objects import Object, read_object
from workbench.objects.relocate import program_type

FOLDER = Path(__file__).resolve().parents[1] / "data" / "programs" / "c"
NAMES = sorted(path.stem for path in FOLDER.glob("*.o"))
BASE = 0x7E0_0000_0000  # its low half is 0, so that the largest arena fits

# Runs in turn on one arena: program, context, then r0 and context after the run.
RUNS = {
    "list": [
        ("add", (30,), 30, (30,)),
        ("walk", (0,), 30, (3865,)),
        ("delete", (244,), 0, (1,)),
        ("walk", (0,), 29, (3621,)),
    ],
    "hash": [
        ("fill", (200,), 200, (200,)),
        ("get", (30, 0), 1, (30, 900)),
        ("get", (31, 7), 0, (31, 0)),
        ("put", (30, 5), 0, (30, 5)),
        ("put", (31, 6), 1, (31, 6)),
        ("get", (30, 0), 1, (30, 5)),
    ],
    "atomics": [
        ("update", (0, 0, 0), 5, (2, 0, 77)),
        ("raise", (500,), 1, (500,)),
        ("locked", (0,), 1, (0,)),
        ("locked", (0,), 1, (0,)),
    ],
    "sparse": [("scatter", (60,), 60, (60,)), ("gather", (60,), 0, (70270,))],
    "search": [("search", (), 2, ())],
    "lock": [
        ("pay_in", (50,), 1, (150,)),
        ("hold", (), 1, ()),
        ("pay_in", (1,), 0, (1,)),
    ],
    "tree": [
        ("grow", (500, 1), 500, (500, 1)),
        ("find", (32422,), 1, (1,)),
        ("find", (5,), 0, (0,)),
        ("grow", (20, 1), 0, (20, 1)),
    ],
}


def load(name: str) -> Object:
    return wb.load_object(FOLDER / f"{name}.o")


def words(values: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def run_all(obj: Object, name: str, engine: type, arena: object) -> list[tuple[int, bytes]]:
    """The low half of r0 (all that Linux returns) and the context, after each of RUNS."""
    found = []
    for program, values, _, _ in RUNS[name]:
        with engine(obj.programs[program], arena) as started:
            result = started.run(words(values))
        assert result.stop == "exit", result.reason
        found.append((result.r0 & 0xFFFFFFFF, result.ctx))
    return found


def test_every_source_has_its_object() -> None:
    assert [path.stem for path in sorted(FOLDER.glob("*.c"))] == NAMES == sorted(RUNS)


@pytest.mark.parametrize("name", NAMES)
def test_programs_are_accepted(name: str) -> None:
    obj = load(name)
    assert obj.license == "Dual MIT/GPL"
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


@pytest.mark.parametrize("engine", ["Interpreter", "Jit"])
@pytest.mark.parametrize("name", NAMES)
def test_in_the_emulated_arena(name: str, engine: str) -> None:
    obj = load(name)
    with obj.arena(user_base=BASE) as arena:
        found = run_all(obj, name, getattr(wb, engine), arena)
    assert found == [(r0, words(ctx)) for _, _, r0, ctx in RUNS[name]]


@pytest.mark.parametrize("name", [pytest.param(name, marks=KERNEL) for name in NAMES])
def test_in_the_kernel(name: str) -> None:
    obj = load(name)
    with obj.arena(user_base=BASE) as arena, obj.arena(wb.KernelArena, user_base=BASE) as real:
        emulated = run_all(obj, name, wb.Interpreter, arena)
        assert run_all(obj, name, wb.Kernel, real) == emulated
        ours, theirs = arena.snapshot(), real.snapshot()
    assert ours.pages.tolist() == theirs.pages.tolist()
    assert np.array_equal(ours.bytes, theirs.bytes)


def test_lines_lead_to_the_source() -> None:
    source = (FOLDER / "list.c").read_text().splitlines()
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
        run_all(obj, "list", wb.Interpreter, arena)
        head = obj.globals_in(arena)["list_head"]
        table = obj.walk(arena, head, "node")
        assert list(table.columns) == ["address", "next", "value"]
        assert (len(table), table["value"].sum()) == (29, 3621)
        assert obj.struct(arena, head, "struct node")["next"] == table["address"][1]
        arena.user.store(int(table["address"].iloc[-1]), "u64", head)
        with pytest.raises(WorkbenchError, match=f"'node' comes back to {head:#x}"):
            obj.walk(arena, head, "node")
        with pytest.raises(WorkbenchError, match="no member 'nxet'; it has next, value"):
            obj.walk(arena, head, "node", "nxet")
        with pytest.raises(WorkbenchError, match="no structure 'nodes'; there is arena_pool, node"):
            obj.struct(arena, head, "nodes")
        with pytest.raises(SegmentationFault):
            obj.struct(arena, 8, "node")


def test_walking_without_user_addresses() -> None:
    obj = load("list")
    with wb.Arena(64, wb.ArenaFlags.NO_USER_CONV) as arena:
        obj.fill(arena)
        run_all(obj, "list", wb.Interpreter, arena)
        assert obj.walk(arena, obj.globals_in(arena)["list_head"], "node")["value"].sum() == 3621


def test_walking_a_tree() -> None:
    obj = load("tree")

    def keys(address: int, black: int) -> tuple[list[int], int]:
        """Keys below a node in order, and how many black nodes every path passes."""
        if not address:
            return [], black
        node = obj.struct(arena, address, "rb_node")
        black += node["color"]
        (left, same), (right, also) = keys(node["left"], black), keys(node["right"], black)
        assert same == also
        return [*left, node["key"], *right], same

    with obj.arena() as arena:
        run_all(obj, "tree", wb.Interpreter, arena)
        found, _ = keys(obj.globals_in(arena)["root"], 0)
    assert found == sorted(set(found))
    assert len(found) == 500


@pytest.mark.parametrize(
    ("section", "type"),
    [("syscall", "syscall"), ("?syscall", "syscall"), ("socket", "socket_filter"),
     ("socket1", "socket_filter"), ("tc", "tc"), ("tcx/ingress", "tc"), ("xdp", "xdp"),
     ("xdp.frags", "xdp"), ("raw_tp/sys_enter", "raw_tp"), ("classifier", "tc")],
)  # fmt: skip
def test_sections_say_the_type(section: str, type: str) -> None:
    assert program_type(section) == type


@pytest.mark.parametrize("section", ["kprobe/do_exit", "iter/task", "struct_ops", "", "xd"])
def test_other_sections_are_refused(section: str) -> None:
    with pytest.raises(WorkbenchError, match="is not supported yet; there is syscall, "):
        program_type(section)


def changed(name: str, old: bytes, new: bytes) -> bytes:
    content = (FOLDER / f"{name}.o").read_bytes()
    assert old in content
    return content.replace(old, new)


def e_machine(number: int) -> bytes:
    content = bytearray((FOLDER / "list.o").read_bytes())
    struct.pack_into("<H", content, 18, number)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or not an ELF object"),
        (b"\x7fELF", "damaged or not an ELF object"),
        (b"int main(void) {}", "damaged or not an ELF object: Magic number does not match"),
        (e_machine(62), "an object for EM_X86_64, not for BPF"),
        ((FOLDER / "list.o").read_bytes()[:3000], "damaged|cut short"),
        (changed("list", b"syscall\0", b"kprobes\0"), "section 'kprobes' is not supported yet"),
        (changed("list", b".addr_space.1\0", b".data.spaces.\0"),
         "uses 'seed' in section '.data.spaces.'; global variables outside the arena are not"),
    ],
)  # fmt: skip
def test_unusable_objects(content: bytes, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message) as raised:
        read_object(content, "bad.o")
    assert str(raised.value).startswith("bad.o: ")
    assert "\n" not in str(raised.value)


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


def survives(content: bytes) -> bool:
    """Whether an object loads; anything but a one-line WorkbenchError fails the test."""
    complaint = ""
    try:
        obj = read_object(content, "fuzzed.o")
        for program in obj.programs.values():
            wb.verify(program)
        repr(obj.globals)
    except WorkbenchError as error:
        complaint = str(error)
    assert "\n" not in complaint
    return not complaint


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_damaged_objects_are_refused_or_load(data: st.DataObject, name: str) -> None:
    content = bytearray((FOLDER / f"{name}.o").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    survives(bytes(content))


@given(name=st.sampled_from(NAMES), part=st.floats(0, 1, exclude_max=True))
def test_truncated_objects_are_refused(name: str, part: float) -> None:
    content = (FOLDER / f"{name}.o").read_bytes()
    assert not survives(content[: int(part * len(content))])


def test_flipped_bits(scale) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    originals = [(FOLDER / f"{name}.o").read_bytes() for name in ("atomics", "list")]
    loaded = 0
    count = scale(300, 100_000)
    for number in range(count):
        content = bytearray(originals[number % 2])
        for _ in range(rng.integers(1, 8)):
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        loaded += survives(bytes(content))
    assert 0 < loaded < count
