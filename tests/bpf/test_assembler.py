"""Assembly text: what it means, LLVM's agreement, and what is said about mistakes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.llvm_bpf import byte_swaps, compile_ir, everything, far_jump, with_labels_resolved
from support.bpf_words import pack
from support.cpu_time import growth

from workbench.bpf import isa
from workbench.bpf.assembler import LINE_LIMIT, assemble, assemble_all
from workbench.bpf.disassembler import disassemble, listing
from workbench.bpf.isa import Op
from workbench.bpf.program import Program, Reference
from workbench.errors import AssemblyError, WorkbenchError

# Agreement with LLVM's BPF back end

# LLVM's spelling -> ours (the kernel log's), where the two differ.
SPELLINGS = [
    (r"^w(\d+) = (\*\(u\d+ \*\)\(.*)", r"r\1 = \2"),  # loads: LLVM names the half it knows is used
    (r"^(\*\(u\d+ \*\)\(.*\)) = w(\d+)$", r"\1 = r\2"),
    (r"^r(\d+) = w(\d+)$", r"w\1 = w\2"),  # a move that clears the upper half
    (r"^(r\d+) = addr_space_cast\((r\d+), 0, 1\)", r"\1 = cast_kern(\2)"),
    (r"^(r\d+) = addr_space_cast\((r\d+), 1, 0\)", r"\1 = cast_user(\2)"),
    (r"^ld_pseudo (r\d+), 1, (\d+)", r"\1 = map[fd:\2]"),
    (r"^ld_pseudo (r\d+), 3, (\d+)", r"\1 = btf_id \2 ll"),
    (r"skb\[(r\d+)\]", r"skb[\1 + 0]"),
    (r"^call 5$", "call bpf_ktime_get_ns"),
]

# What no LLVM IR leads to, at least in LLVM 20 to 22: there is no pattern for it, a linker or
# loader makes it of something else, or it is for machines of the other byte order.
NOT_FROM_LLVM = {"LE16", "LE32", "LE64", "JSET64", "JSET32", "MAY_GOTO", "CALL_KFUNC", "LD_FUNC"}
NOT_FROM_LLVM |= {"LD_MAP_VALUE", "LD_MAP_IDX", "LD_MAP_IDX_VALUE"}


def our_spelling(line: str) -> str:
    for pattern, ours in SPELLINGS:
        line = re.sub(pattern, ours, line)
    if number := re.fullmatch(r"(r\d+) = (-?\d+) ll", line):
        return f"{number[1]} = {int(number[2]) & (1 << 64) - 1:#x} ll"
    return line


@pytest.mark.parametrize(
    ("ir", "cpu"),
    [(everything(), "v4"), (byte_swaps(), "v4"), (byte_swaps(), "v3"), (far_jump(), "v4")],
    ids=["everything", "bswap", "be", "gotol"],
)
def test_llvm_agrees(ir: str, cpu: str) -> None:
    text, bytecode = compile_ir(ir, cpu)
    assert assemble("\n".join(text), "raw").bytecode == bytecode
    ours = [line for line in listing(Program("p", "raw", bytecode)) if line]
    assert ours == [our_spelling(line) for line in with_labels_resolved(text)]


def test_llvm_emits_all_but_a_known_few() -> None:
    modules = [(ir, "v4") for ir in (everything(), byte_swaps(), far_jump())]
    codes = [compile_ir(*module).bytecode for module in (*modules, (byte_swaps(), "v3"))]
    emitted = {Op(int(op)).name for code in codes for op in set(isa.decode(code)["op"])}
    missing = {row.op.name for row in isa.TABLE} - emitted
    assert missing <= NOT_FROM_LLVM


# What text means

MEANING = [
    ("r1 = 0xffffffffffffffff ll", "18010000ffffffff 00000000ffffffff"),
    ("w1 = 0xffffffff", "b4010000ffffffff"),
    ("r1 = -1", "b7010000ffffffff"),
    ("r1 -= -8", "17010000f8ffffff"),
    ("r1 = *(u64 *)(r2 - 8)", "7921f8ff00000000"),
    ("w1 = *(u32 *)(r2 + 0x10)", "6121100000000000"),
    ("*(u8 *)(r10 - 1) = -1", "720affffffffffff"),
    ("*(u16 *)(r1 + 2) = w3", "6b31020000000000"),
    ("lock *(u64 *)(r1 + 0) += r2", "db21000000000000"),
    ("r2 = atomic64_fetch_add((u64 *)(r1 + 0), r2)", "db21000001000000"),
    ("r0 = atomic_cmpxchg((u32 *)(r1 + 4), r0, r2)", "c3210400f1000000"),
    ("w0 = cmpxchg32_32(r1 + 4, w0, w2)", "c3210400f1000000"),
    ("goto -1", "0500ffff00000000"),
    ("goto pc+3", "0500030000000000"),
    ("gotol +70000", "0600000070110100"),
    ("may_goto +1", "e500010000000000"),
    ("if r1 & 8 goto +1", "4501010008000000"),
    ("if w1 s<= w2 goto -2", "de21feff00000000"),
    ("call 113", "8500000071000000"),
    ("call bpf_get_prandom_u32", "8500000007000000"),
    ("call pc+2", "8510000002000000"),
    ("callx r3", "8d03000000000000"),
    ("r1 = map[fd:5]", "1811000005000000 0000000000000000"),
    ("r1 = map[idx:5][0] + 8", "1861000005000000 0000000008000000"),
    ("r0 = *(u16 *)skb[r6 + 4]", "4860000004000000"),
    ("r0 = *(u16 *)skb[14]", "280000000e000000"),
    ("12: (b7) r0 = 5", "b700000005000000"),  # pasted from the verifier's log
    ("   3:\tb7 00 00 00 05 00 00 00\tr0 = 5", "b700000005000000"),  # from llvm-objdump
    ("  r0   =5;comment", "b700000005000000"),
    ("r0 = 5 // comment", "b700000005000000"),
    ("r0 = 5 # comment", "b700000005000000"),
]


@pytest.mark.parametrize(("text", "wire"), MEANING)
def test_meaning(text: str, wire: str) -> None:
    assert assemble(text).bytecode.hex() == wire.replace(" ", "")


def test_labels_and_constants() -> None:
    program = assemble("""
        .equ NEXT, 8
        .equ FAR, NEXT
        a: .L1: r1 = *(u64 *)(r1 + NEXT)   ; two labels
        r1 -= NEXT
        *(u64 *)(r1 - FAR) = -NEXT
        if r1 != NEXT goto a
        goto .L1
        goto end
        end:
        exit
    """)
    assert program.bytecode[:8] == pack(0x79, 1, 1, 8)
    assert program.bytecode[16:24] == pack(0x7A, 1, 0, -8, -8)
    assert [int(record["off"]) for record in program.instructions[3:6]] == [-4, -5, 0]


def test_names_become_references() -> None:
    program = assemble("""
        r1 = arena ll
        r2 = arena + 16 ll
        r3 = counters - 8 ll
        call bpf_arena_alloc_pages
        call bpf_of_another_kernel
        exit
    """)
    assert program.references == (
        Reference(0, "arena", "arena"),
        Reference(2, "arena", "arena"),
        Reference(4, "map", "counters"),
        Reference(6, "kfunc", "bpf_arena_alloc_pages"),
        Reference(7, "kfunc", "bpf_of_another_kernel"),
    )
    assert program.uses_arena
    assert program.bytecode[24:32] == pack(0, imm=16)
    assert program.bytecode[48:56] == pack(0x85, 0, 2, 0, -1)
    again = assemble(disassemble(program))
    assert (again.bytecode, again.references) == (program.bytecode, program.references)


def test_source_lines() -> None:
    program = assemble("; a comment\nr0 = 1 ll\nout: exit ; done")
    assert [(line.pc, line.line, line.text) for line in program.lines] == [
        (0, 2, "r0 = 1 ll"),
        (2, 3, "out: exit ; done"),
    ]
    assert program.line_of(1) == program.lines[0]


def test_a_file_of_programs() -> None:
    programs = assemble_all(
        ".equ K, 7\nr0 = K\nexit\n.program second raw\n.license MIT\nr0 = K\nexit\n", "xdp", "first"
    )
    described = [(p.name, p.type, p.license) for p in programs.values()]
    assert described == [("first", "xdp", "GPL"), ("second", "raw", "MIT")]


def test_functions_are_joined_to_the_programs_that_call_them() -> None:
    programs = assemble_all("""
        .program one
            call twice
            call twice
            exit
        .program two
            call double
            exit
        .function twice            ; calls another function
            call double
        again:                     ; its labels are its own
            if r1 == 0 goto again
            r1 = arena ll
            exit
        .function double
        again:
            r1 += r1
            if r1 == 0 goto again
            exit
        .program none
            exit
    """)
    assert listing(programs["one"]) == [
        "call +2",
        "call +1",
        "exit",
        "call +4",
        "if r1 == 0 goto -1",
        "r1 = arena ll",
        "",
        "exit",
        "r1 += r1",
        "if r1 == 0 goto -2",
        "exit",
    ]
    assert programs["one"].references == (Reference(5, "arena", "arena"),)
    assert programs["one"].line_of(8).text == "r1 += r1"
    assert listing(programs["two"]) == ["call +1", "exit", *listing(programs["one"])[8:]]
    assert listing(programs["none"]) == ["exit"]


def test_a_function_pointer() -> None:
    program = assemble("r1 = callback ll\nexit\ncallback: exit")
    assert listing(program) == ["r1 = func +2 ll", "", "exit", "exit"]
    assert not program.references


# What is said about mistakes

MISTAKES = [
    ("", 1, "no instructions; a program needs at least 'exit'"),
    ("; nothing\n\n", 1, "no instructions; a program needs at least 'exit'"),
    ("exit\nr1 =+ 2", 2, "unknown instruction 'r1 =+ 2'; did you mean 'r1 += 2'?"),
    ("r1 + = 2", 1, "unknown instruction 'r1 + = 2'; did you mean 'r1 += 2'?"),
    ("w5 = r3 ", 1, "unknown instruction 'w5 = r3'; did you mean 'w5 = w3'?"),
    (
        "if r1 = 2 goto +1",
        1,
        "unknown instruction 'if r1 = 2 goto +1'; did you mean 'if r1 == 2 goto +1'?",
    ),
    ("\n\nfoo r1", 3, "unknown instruction 'foo r1'"),
    ("exit 5", 1, "unknown instruction 'exit 5'; did you mean 'exit'?"),
    ("r1 = *(u64 *)(r11 + 8)", 1, "register r11 does not exist; use r0 to r10"),
    ("r1 += w99", 1, "register w99 does not exist; use r0 to r10"),
    ("r1 = -r2", 1, "both registers must be the same: r1 and r2"),
    ("goto nowhere", 1, "unknown label 'nowhere'"),
    ("loop: exit\ngoto lop", 2, "unknown label 'lop'; did you mean 'loop'?"),
    ("a:\na:\nexit", 2, "label 'a' is defined twice"),
    ("call bpf.arena", 1, "unknown label 'bpf.arena'"),
    (".equ SIZE, 8\nr1 = SIZ", 2, "unknown name 'SIZ'; did you mean 'SIZE'?"),
    ("r1 = SIZE", 1, "unknown name 'SIZE'; define it with .equ"),
    (".equ A, B\nexit", 1, "unknown name 'B'; define it with .equ"),
    (
        "r1 = 0x100000000",
        1,
        "0x100000000 does not fit a 32-bit immediate; load it with 'rN = 0x100000000 ll'",
    ),
    ("w1 = 0x100000000", 1, "0x100000000 does not fit a 32-bit immediate"),
    ("*(u64 *)(r1 + 0) = 0x80000000", 1, "0x80000000 does not fit a 32-bit immediate"),
    ("r1 = 0x10000000000000000 ll", 1, "0x10000000000000000 does not fit 64 bits"),
    ("r1 = map[fd:0x100000000]", 1, "0x100000000 does not fit a 32-bit immediate"),
    ("*(u64 *)(r1 + 32768) = 1", 1, "offset 32768 does not fit 16 bits"),
    ("r1 = arena + 0x80000000 ll", 1, "offset 2147483648 does not fit 32 bits"),
    ("r10 = arena ll", 1, "r10 is the frame pointer and cannot be written"),
    ("goto +32768", 1, "'+32768' is 32768 slots away, out of 16-bit range; use gotol"),
    ("gotol +0x80000000", 1, "'+0x80000000' is 2147483648 slots away, out of 32-bit range"),
    (".program a b", 1, "unknown program type 'b'; choose from syscall, raw, socket_filter, tc, "
     "xdp, raw_tp"),
    (".program a\nexit\n.program a\nexit", 3, "program 'a' is defined twice"),
    (".function f\nexit\n.function f\nexit", 3, "function 'f' is defined twice"),
    (".function f\nexit", 1, "no instructions; a program needs at least 'exit'"),
    (".section foo", 1, "cannot read '.section foo'; directives are .equ NAME, VALUE  "
     ".program NAME [TYPE]  .function NAME  .license NAME  .map NAME TYPE ..."),
    (".program a\nexit\n.program b\nexit", 0, "the text holds 2 programs; use assemble_all"),
    ("exit\n" + "r" * (LINE_LIMIT + 1), 2, "a line has at most 1000 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES)
def test_mistakes(text: str, line: int, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(text)
    assert str(caught.value) == f"line {line}: {message}"
    assert caught.value.line == line


# Nothing but WorkbenchError, and not after long

WORDS = """
r0 r1 r10 r11 w0 w2 = += -= s/= s>>= <<= == != s< & ( ) * *( *(u64 (u32 *)( , + - -5 8 0x10 ll lock
99999999999 goto gotol may_goto if call callx exit load_acquire( store_release( atomic_fetch_add( :
xchg_64( cmpxchg32_32( arena cast_kern( cast_user( map[fd: skb[ ] func label: label NAME .equ raw ;
.program .function .license syscall // # be16 bswap64 (s8) bpf_ktime_get_ns ld_pseudo btf_id 5: [0]
(b7) kfunc
"""
ODD = ("\t", "\0", "\u0663", "\xb2")
SOUP = st.lists(st.sampled_from([*WORDS.split(), *ODD]), max_size=9).map(" ".join)


def check_text(text: str) -> None:
    try:
        for program in assemble_all(text).values():
            assert assemble(disassemble(program)).bytecode == program.bytecode
    except WorkbenchError:
        pass


@given(st.lists(SOUP, max_size=4).map("\n".join))
def test_soup_of_words(text: str) -> None:
    check_text(text)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    check_text(text)


@given(st.sampled_from(isa.TABLE), st.data())
def test_damaged_lines(row: isa.Row, data: st.DataObject) -> None:
    line = re.sub(r"\{\w+\}", "1", row.syntax).replace("r1 1", "r1 + 1")
    at = data.draw(st.integers(0, len(line)))
    cut = data.draw(st.integers(0, 3))
    check_text(line[:at] + data.draw(st.text(max_size=3)) + line[at + cut :])


@pytest.mark.parametrize("unit", [" ", "1", "a", "-", "r1 ", "a:", "a: ", "(", "+ 1", "/", "0x1"])
def test_long_lines_do_not_take_long(unit: str) -> None:
    """16 and 4 times as long: a way that is quadratic in the first takes 256 times as long."""
    assert growth(lambda size: check_text(unit * size), 20_000, 16) < 64
    assert growth(lambda size: check_text(f"r1 = {unit * (size // len(unit))}!"), 237, 4) < 64


def test_long_programs_do_not_take_long() -> None:
    """A quadratic way takes 64 times as long for 8 times as many lines."""

    def check(lines: int) -> None:
        check_text("a: r1 += 1\n" + "if r1 == 5 goto a\n" * lines + "exit\n")

    assert growth(check, 1_000, 8) < 24


def test_functions_that_call_each_other() -> None:
    check_text("call a\nexit\n.function a\ncall b\nexit\n.function b\ncall a\ncall b\nexit\n")
