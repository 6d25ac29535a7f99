"""What instructions do, as facts: by kind, by hand, and against what recorded runs wrote."""

import numpy as np
import pytest

import workbench as wb
from workbench.bpf import effects as module
from workbench.bpf.declarations import Subprogram
from workbench.bpf.effects import Effect, effect, effects
from workbench.bpf.functions import FUNCTIONS
from workbench.bpf.isa import ZERO, Op
from workbench.examples import programs
from workbench.recording.columns import NO_REGISTER

KINDS = {
    "load": "LDX8 LDXS32 ARENA_LDX64 ARENA_LDXS8 LOAD_ACQUIRE16 ARENA_LOAD_ACQUIRE64",
    "store": "STX8 STX64 ARENA_STX32 STORE_RELEASE8 ARENA_STORE_RELEASE64",
    "atomic": "ATOMIC_ADD32 ATOMIC_XOR64 FETCH_OR64 XCHG32 CMPXCHG64 ARENA_CMPXCHG64",
    "cast": "CAST_KERN CAST_USER",
    "jump": "JEQ64 JSGT32 JSET64 JA JA32 MAY_GOTO",
    "call": "CALL_HELPER CALL_KFUNC CALL_LOCAL CALLX",
    "exit": "EXIT",
    "const": "LD_IMM64 LD_MAP_FD LD_MAP_VALUE LD_BTF_ID LD_FUNC LD_MAP_IDX LD_MAP_IDX_VALUE",
    "packet": "LD_ABS8 LD_IND32",
    "invalid": "INVALID",
    "alu": "ADD64 MOV32 SDIV64 ARSH32 NEG64 MOVSX8_64 MOVSX16_32 LE16 BE64 BSWAP32",
}

# op, dst, src, reads, writes
REGISTERS = [
    ("ADD64", 1, 2, (1, 2), (1,)),
    ("ADD64", 1, ZERO, (1,), (1,)),
    ("ADD32", 1, 1, (1,), (1,)),
    ("MOV64", 1, 2, (2,), (1,)),
    ("MOV32", 1, ZERO, (), (1,)),
    ("MOVSX8_64", 1, 2, (2,), (1,)),
    ("NEG64", 1, 0, (1,), (1,)),
    ("BSWAP16", 3, 0, (3,), (3,)),
    ("CAST_USER", 1, 2, (2,), (1,)),
    ("ARENA_LDX64", 1, 2, (2,), (1,)),
    ("LOAD_ACQUIRE32", 1, 2, (2,), (1,)),
    ("STX8", 1, 2, (1, 2), ()),
    ("STX8", 1, ZERO, (1,), ()),
    ("STORE_RELEASE64", 1, 2, (1, 2), ()),
    ("ATOMIC_ADD64", 1, 2, (1, 2), ()),
    ("FETCH_ADD32", 1, 2, (1, 2), (2,)),
    ("CMPXCHG64", 1, 2, (0, 1, 2), (0,)),
    ("JEQ32", 1, ZERO, (1,), ()),
    ("JSGT64", 1, 2, (1, 2), ()),
    ("JA", 0, 0, (), ()),
    ("CALLX", 4, 0, (4,), ()),
    ("CALL_LOCAL", 0, 1, (), ()),
    ("EXIT", 0, 0, (0,), ()),
    ("LD_IMM64", 1, 0, (), (1,)),
    ("LD_ABS16", 0, 0, (6,), (0,)),
    ("LD_IND8", 0, 4, (4, 6), (0,)),
]

SIGNS = {
    "ADD64": "+", "SUB32": "-", "MUL64": "*", "DIV64": "/", "MOD32": "%", "SDIV64": "s/",
    "SMOD64": "s%", "OR64": "|", "AND32": "&", "XOR64": "^", "LSH64": "<<", "RSH64": ">>",
    "ARSH32": "s>>", "JEQ64": "==", "JNE32": "!=", "JGT64": ">", "JGE64": ">=", "JLT64": "<",
    "JLE64": "<=", "JSET32": "&", "JSGT64": "s>", "JSGE64": "s>=", "JSLT64": "s<", "JSLE64": "s<=",
    "MOV64": "", "NEG64": "", "JA": "", "MAY_GOTO": "", "STX64": "", "EXIT": "",
}  # fmt: skip


def of(op: str, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0, name: str = "") -> Effect:
    return effect(10, (Op[op], dst, src, 0, off, imm), name)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    assert {op: of(op).kind for op in KINDS[kind].split()} == dict.fromkeys(
        KINDS[kind].split(), kind
    )


@pytest.mark.parametrize(("op", "dst", "src", "reads", "writes"), REGISTERS)
def test_registers(
    op: str, dst: int, src: int, reads: tuple[int, ...], writes: tuple[int, ...]
) -> None:
    found = of(op, dst, src)
    assert (found.reads, found.writes) == (reads, writes)


@pytest.mark.parametrize("op", SIGNS)
def test_signs_with_a_register_and_with_a_number(op: str) -> None:
    assert {of(op, 1, 2).sign, of(op, 1, ZERO).sign} == {SIGNS[op]}


def test_bits() -> None:
    halves = {op for op in Op if of(op.name).bits == 32}
    assert {Op.ADD32, Op.MOV32, Op.NEG32, Op.MOVSX8_32, Op.JSLE32} <= halves
    assert not halves & {Op.ADD64, Op.MOVSX32_64, Op.JEQ64, Op.LE32, Op.LDX32, Op.STX32, Op.JA32}


def test_targets_count_from_the_next_slot() -> None:
    assert of("JA", off=-7).target == of("JEQ64", off=-7).target == 4
    assert of("CALL_LOCAL", off=2).target == 13
    assert of("EXIT").target == of("LD_FUNC", off=5).target == of("ADD64", off=1).target == -1
    assert [op for op in ("CALL_LOCAL", "CALLX", "CALL_HELPER") if of(op).enters] == [
        "CALL_LOCAL",
        "CALLX",
    ]


@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: row.name)
def test_calls_read_the_arguments_that_the_table_names(row) -> None:  # type: ignore[no-untyped-def]
    helper = row.kind == "helper"
    found = of("CALL_HELPER", imm=row.number) if helper else of("CALL_KFUNC", imm=-1, name=row.name)
    looked_at = [at for at, kind in enumerate(row.arguments, 1) if kind != "ignored"]
    if row.name == "bpf_trace_printk":  # as many as its format names
        looked_at = [1, 2, 3, 4, 5]
    assert (list(found.reads), found.writes) == (looked_at, (0,))


def test_calls_of_the_unknown_read_all_five() -> None:
    assert (
        of("CALL_HELPER", imm=99_999).reads == of("CALL_KFUNC", name="x").reads == (1, 2, 3, 4, 5)
    )


def test_ignored_arguments_are_not_read() -> None:
    assert of("CALL_KFUNC", name="bpf_arena_alloc_pages").reads == (1, 3, 4, 5)
    assert of("CALL_HELPER", imm=7).reads == ()


def test_local_calls_read_what_their_type_says() -> None:
    record = (Op.CALL_LOCAL, 0, 0, 0, 2, 0)
    known = {13: Subprogram(13, "f", arguments=("scalar", "arena"))}
    assert effect(10, record, "", known).reads == (1, 2)
    assert effect(10, record, "", {13: Subprogram(13, "f")}).reads == ()


@pytest.mark.parametrize("name", [example.name for example in programs.EXAMPLES])
def test_what_a_run_wrote_is_what_its_instructions_write(name: str) -> None:
    program = next(iter(programs.load(name).values()))
    with wb.Arena(pages=programs.example(name).pages) as arena:
        trace = wb.record(program, arena, verify=False, capacity=20_000)
    found = effects(program)
    steps = trace.recorded_steps()
    pairs = {(int(pc), int(reg)) for pc, reg in zip(steps["pc"], steps["reg"], strict=True)}
    assert len(pairs) >= 2
    for pc, reg in pairs:
        assert reg == NO_REGISTER or reg in found[pc].writes, found[pc]
    follows = steps["pc"][1:][np.array([found[pc].kind == "jump" for pc in steps["pc"][:-1]])]
    leads = {found[pc].target for pc in steps["pc"]} | {int(pc) + 1 for pc in steps["pc"]}
    assert {*follows.tolist()} <= leads


def test_every_operation_has_facts() -> None:
    assert {of(op.name).kind for op in Op} == {kind for _, kind in module.KINDS} | {"alu"}
