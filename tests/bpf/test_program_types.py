"""The table of program types: complete, like the kernel's, and the only place that names them."""

import ast
import struct
from pathlib import Path

import pytest
from support.bpf_probe import refusal

import workbench as wb
from workbench.bpf.contexts import Context, Field
from workbench.bpf.functions import FUNCTIONS, HELPERS
from workbench.bpf.program_types import PROGRAM_TYPES, ProgramType, of_section
from workbench.errors import WorkbenchError
from workbench.objects.btf import Kind
from workbench.objects.core import vmlinux

PACKAGE = Path(wb.__file__).parent
ROWS = list(PROGRAM_TYPES.values())
LOADED = [row for row in ROWS if not row.raw]
ENUMERATORS = {"tc": "sched_cls", "raw_tp": "raw_tracepoint"}
LOADS = {"scalar", "packet", "packet_end", "packet_meta"}
BEGINS = {"", "length", "packet_kind", "protocol", "loopback"}


def test_names_numbers_and_sections_are_unique() -> None:
    sections = [name for row in ROWS for name in row.sections]
    assert len(set(sections)) == len(sections)
    assert len({row.number for row in ROWS}) == len(ROWS) == len(PROGRAM_TYPES)


@pytest.mark.parametrize("row", LOADED, ids=lambda row: row.name)
def test_rows_are_complete(row: ProgramType) -> None:
    assert row.context is not None
    assert row.number
    assert row.sections
    assert "base" in row.functions
    assert row.input in ("context", "packet", "frame")
    assert row.packet in ("", "r", "rw")
    assert row.takes_packet or not (row.packet or row.hidden)
    assert set(row.section_prefixes) <= set(row.sections)
    ends = [field.offset + field.size for field in row.context.fields]
    assert max(ends, default=0) <= row.context.size
    assert all(f.loads in LOADS and f.begins in BEGINS for f in row.context.fields)
    assert bool(row.packet) == any(field.loads != "scalar" for field in row.context.fields)


@pytest.mark.parametrize("row", LOADED, ids=lambda row: row.name)
def test_only_named_fields_are_writable(row: ProgramType) -> None:
    assert row.context is not None
    assert set(row.context.writable) <= {field.name for field in row.context.fields} | {""}


def test_raw_is_plain_memory() -> None:
    assert [row.name for row in ROWS if row.raw] == ["raw"]
    assert PROGRAM_TYPES["raw"].context is None


def test_every_group_has_functions_and_types() -> None:
    groups = {group for row in ROWS for group in row.functions}
    assert {function.group for function in FUNCTIONS} == groups


def test_groups_say_who_may_call() -> None:
    assert HELPERS[1].types == ("syscall", "socket_filter", "tc", "xdp", "raw_tp")
    assert HELPERS[9].types == ("tc",)
    assert HELPERS[26].types == ("socket_filter", "tc")
    assert HELPERS[28].types == ("tc", "xdp")


def test_numbers_are_those_of_the_kernel() -> None:
    types = vmlinux()
    if types is None:
        pytest.skip("this kernel has no BTF")
    members = types[types.called("bpf_prog_type", Kind.ENUM)[0]].members
    numbers = {member.name: member.value for member in members}
    for row in LOADED:
        name = ENUMERATORS.get(row.name, row.name).upper()
        assert numbers[f"BPF_PROG_TYPE_{name}"] == row.number


def test_an_unknown_section_is_refused_by_name() -> None:
    with pytest.raises(WorkbenchError, match="'kprobe/do_exit' is not supported; there is sys"):
        of_section("kprobe/do_exit")


@pytest.mark.parametrize("row", LOADED, ids=lambda row: row.name)
def test_a_trivial_program_runs(row: ProgramType) -> None:
    program = wb.assemble("r0 = 0\nexit", type=row.name)
    assert wb.verify(program).ok
    with wb.Interpreter(program) as engine:
        assert engine.run(bytes(64)).r0 == 0


SK_LOOKUP = ProgramType(
    "sk_lookup",
    number=30,
    attach=36,
    sections=("sk_lookup",),
    context=Context("bpf_sk_lookup", 72, (Field("family", 8, 4), Field("protocol", 12, 4))),
    functions=("base",),
    returns=(0, 1),
)
CGROUP_SKB = ProgramType(
    "cgroup_skb",
    number=8,
    sections=("cgroup_skb", "cgroup/skb"),
    context=Context("__sk_buff", 192, (
        Field("len", 0, 4, begins="length"),
        Field("mark", 8, 4),
        Field("data", 76, 4, "packet", False),
        Field("data_end", 80, 4, "packet_end", False),
    ), ("mark",)),
    input="packet",
    packet="r",
    hidden=14,
    functions=("base", "skb"),
    returns=(0, 1),
)  # fmt: skip
PACKET = bytes(12) + b"\x08\x00" + bytes(range(64))
AF_INET = struct.pack("<QII", 0, 2, 6).ljust(72, b"\0")
BYTE = """
r2 = *(u32 *)(r1 + 76)
r3 = *(u32 *)(r1 + 80)
r4 = r2
r4 += 4
r0 = 0
if r4 > r3 goto out
{}
out: exit
"""
OUTSIDE = "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]"
NEW = [
    (SK_LOOKUP, "r0 = *(u32 *)(r1 + 8)\nr0 >>= 1\nr0 &= 1\nexit", "", 1),
    (SK_LOOKUP, "r0 = 2\nexit", OUTSIDE, 0),
    (SK_LOOKUP, "r0 = r1\nexit", "At program exit the register R0 is not a known value (ctx)", 0),
    (SK_LOOKUP, "*(u32 *)(r1 + 8) = 1\nr0 = 0\nexit", "invalid bpf_context access off=8 size=4", 0),
    (SK_LOOKUP, "r2 = 0\nr3 = 0\nr4 = 0\ncall bpf_skb_load_bytes\nr0 = 0\nexit",
     "program of this type cannot use helper bpf_skb_load_bytes#26", 0),
    (CGROUP_SKB, BYTE.format("r0 = *(u8 *)(r2 + 1)\nr0 &= 1"), "", 1),
    (CGROUP_SKB, BYTE.format("*(u8 *)(r2 + 1) = 7"), "cannot write into packet", 0),
    (CGROUP_SKB, "*(u32 *)(r1 + 8) = 5\nr0 = *(u32 *)(r1 + 0)\nr0 >>= 5\nexit",
     "At program exit the register R0 has smin=0 smax=134217727 should have been in [0, 1]", 0),
]  # fmt: skip


@pytest.fixture
def new_types(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in (SK_LOOKUP, CGROUP_SKB):
        monkeypatch.setitem(PROGRAM_TYPES, row.name, row)


@pytest.mark.usefixtures("new_types")
@pytest.mark.parametrize(("row", "text", "reason", "r0"), NEW)
def test_a_new_type_is_one_row(row: ProgramType, text: str, reason: str, r0: int) -> None:
    program = wb.assemble(text, type=row.name)
    assert wb.verify(program).reason == reason
    if not reason:
        with wb.Interpreter(program) as engine:
            assert engine.run(PACKET if row.takes_packet else AF_INET).r0 == r0


@pytest.mark.kernel
@pytest.mark.usefixtures("new_types")
@pytest.mark.parametrize(("row", "text", "reason", "r0"), NEW)
def test_linux_agrees_on_the_new_row(row: ProgramType, text: str, reason: str, r0: int) -> None:
    if why := refusal():
        pytest.skip(why)
    from workbench.engines.kernel import verdict

    program = wb.assemble(text, type=row.name)
    assert verdict(program).reason == reason
    if not reason:
        with wb.Kernel(program) as engine:
            assert engine.run(PACKET if row.takes_packet else AF_INET).r0 == r0


@pytest.mark.usefixtures("new_types")
def test_sections_of_several_words() -> None:
    assert of_section("cgroup/skb") is of_section("cgroup_skb/ingress") is CGROUP_SKB
    with pytest.raises(WorkbenchError, match="'cgroup/dev' is not supported"):
        of_section("cgroup/dev")


def comparisons(path: Path) -> list[int]:
    """Lines that compare something with the name of a program type, or tabulate by such names."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = node.elts
        else:
            continue
        values = [part.value for part in parts if isinstance(part, ast.Constant)]
        if any(isinstance(value, str) and value in PROGRAM_TYPES for value in values):
            found.append(node.lineno)
    return found


def test_no_other_module_tells_types_apart_by_name() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name != "bpf/program_types.py" and (lines := comparisons(path)):
            found[name] = lines
    assert not found


def test_comparisons_are_found(tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text('a == "xdp"\nb in ("tc", c)\n{"raw": 1}\nf("syscall")\n"raw" + d\n')
    assert sorted(set(comparisons(path))) == [1, 2, 3]
