"""The table of program types: complete, like the kernel's, and the only place that names them."""

import ast
from pathlib import Path

import pytest

import workbench as wb
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
