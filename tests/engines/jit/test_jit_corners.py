"""The jit against the interpreter, by hand: awkward values, places in memory, ways of control."""

from itertools import product

import pytest
from support.both_engines import BASE, run_both

from workbench.bpf.isa import Op
from workbench.engines.jit.function import EMITTERS


def test_every_operation_can_be_written() -> None:
    missing = [op.name for op in Op if op not in EMITTERS]
    assert not missing, f"the jit lacks {', '.join(missing)}"


MASK = (1 << 64) - 1
VALUES = (
    0,
    1,
    2,
    7,
    31,
    32,
    63,
    64,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 63,
    MASK,
    0x8000000000000001,
    0x123456789ABCDEF0,
    MASK - 0xFFFF,
)
BINARY = ("+=", "-=", "*=", "/=", "%=", "s/=", "s%=", "|=", "&=", "^=", "<<=", ">>=", "s>>=")
COMPARISONS = ("==", "!=", ">", ">=", "<", "<=", "&", "s>", "s>=", "s<", "s<=")


@pytest.mark.parametrize(("sign", "register"), list(product(BINARY, "rw")))
def test_arithmetic(sign: str, register: str) -> None:
    """All pairs of awkward values, results collected: division by 0, INT_MIN / -1, wild shifts."""
    lines = ["r0 = 0"]
    for a, b in product(VALUES, VALUES):
        lines += [
            f"r1 = {a} ll",
            f"r2 = {b} ll",
            f"{register}1 {sign} {register}2",
            "r0 *= 31",
            "r0 ^= r1",
        ]
    for a, imm in product(VALUES, (0, 1, -1, 3, 31, -(1 << 31))):
        if ("<<" not in sign and ">>" not in sign) or 0 <= imm < 32:
            lines += [f"r1 = {a} ll", f"{register}1 {sign} {imm}", "r0 *= 31", "r0 ^= r1"]
    assert run_both("\n".join([*lines, "exit"])) != 0


@pytest.mark.parametrize(("sign", "register"), list(product(COMPARISONS, "rw")))
def test_comparisons(sign: str, register: str) -> None:
    lines = ["r0 = 0"]
    for n, (a, b) in enumerate(product(VALUES, VALUES)):
        lines += [
            f"r1 = {a} ll",
            f"r2 = {b} ll",
            "r0 *= 3",
            f"if {register}1 {sign} {register}2 goto x{n}",
            "r0 += 1",
            f"x{n}:",
            f"if {register}1 {sign} -1 goto y{n}",
            "r0 += 1",
            f"y{n}:",
        ]
    run_both("\n".join([*lines, "exit"]))


UNARY = (
    "r1 = -r1",
    "w1 = -w1",
    "r1 = (s8)r1",
    "r1 = (s16)r1",
    "r1 = (s32)r1",
    "w1 = (s8)w1",
    "w1 = (s16)w1",
    "w1 = w1",
    "r1 = r1",
    "w1 = -5",
    "r1 = -5",
    *(f"r1 = {way}{size} r1" for way in ("le", "be", "bswap") for size in (16, 32, 64)),
    "r1 = cast_kern(r1)",
    "r1 = cast_user(r1)",
)


@pytest.mark.parametrize("line", UNARY)
def test_moves(line: str) -> None:
    lines = ["r9 = arena ll", "r0 = 0"]
    for value in VALUES:
        lines += [f"r1 = {value} ll", line, "r0 *= 31", "r0 ^= r1"]
    run_both("\n".join([*lines, "exit"]))


PLACES = {  # name: how r7 comes to point there
    "arena": f"r7 = {BASE + 64} ll\nr7 = cast_kern(r7)",
    "absent": f"r7 = {BASE + 5 * 4096} ll\nr7 = cast_kern(r7)",
    "straddling": f"r7 = {BASE + 2 * 4096 - 64 - 3} ll\nr7 = cast_kern(r7)",
    "stack": "r7 = r10\nr7 += -128",
    "context": "r7 = r6",
}
ATOMICS = tuple(
    text.format(u=f"u{bits}", r=r)
    for bits, r in ((64, "r"), (32, "w"))
    for text in (
        "lock *({u} *)(r7 + OFF) += {r}1",
        "lock *({u} *)(r7 + OFF) |= {r}1",
        "lock *({u} *)(r7 + OFF) &= {r}1",
        "lock *({u} *)(r7 + OFF) ^= {r}1",
        "{r}1 = atomic_fetch_add(({u} *)(r7 + OFF), {r}1)",
        "{r}1 = atomic_fetch_or(({u} *)(r7 + OFF), {r}1)",
        "{r}1 = atomic_fetch_and(({u} *)(r7 + OFF), {r}1)",
        "{r}1 = atomic_fetch_xor(({u} *)(r7 + OFF), {r}1)",
    )
)
EXCHANGES = (
    "r1 = xchg_64(r7 + OFF, r1)",
    "w1 = xchg32_32(r7 + OFF, w1)",
    "r0 = cmpxchg_64(r7 + OFF, r0, r1)",
    "w0 = cmpxchg32_32(r7 + OFF, w0, w1)",
)
PLAIN = tuple(
    text.format(bits=bits, r="r" if bits == 64 else "w")
    for bits in (8, 16, 32, 64)
    for text in (
        "r1 = *(u{bits} *)(r7 + OFF)",
        "*(u{bits} *)(r7 + OFF) = r1",
        "*(u{bits} *)(r7 + OFF) = -2",
        "{r}1 = load_acquire((u{bits} *)(r7 + OFF))",
        "store_release((u{bits} *)(r7 + OFF), {r}1)",
    )
) + tuple(f"r1 = *(s{bits} *)(r7 + OFF)" for bits in (8, 16, 32))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("line", [*PLAIN, *ATOMICS, *EXCHANGES])
def test_memory(line: str, place: str) -> None:
    """Aligned, unaligned, and around the edge of a page; twice, so that cmpxchg can succeed."""
    head = ["r6 = r1", "r9 = arena ll", PLACES[place], "r0 = 0x1122334455667788 ll"]
    offsets = (0, 8, 3, 56, 61, 64) if place != "context" else (0, 8, 3, 48, 53)
    lines = []
    for off in offsets:
        again = line.replace("OFF", str(off))
        lines += ["r1 = -3", again, "r8 ^= r1", "r8 *= 31", "r8 ^= r0"]
        lines += [again, "r8 ^= r1", "r8 *= 31", "r8 ^= r0"]
    rest = [f"r1 = *(u64 *)(r7 + {off})\nr8 *= 31\nr8 ^= r1" for off in (0, 8, 40)]
    run_both("\n".join([*head, *lines, *rest, "r0 = r8", "exit"]), bytes(range(64)))
    if (
        place in ("arena", "absent")
        and "fetch_and" not in line
        and "fetch_or" not in line
        and "fetch_xor" not in line
    ):
        verified = "\n".join(
            [
                *head[:4],
                "r8 = 0",
                "r1 = 5",
                line.replace("OFF", "8"),
                line.replace("OFF", "11"),
                "r0 += r1",
                "exit",
            ]
        )
        run_both(verified, bytes(64), verify=True)


CONTROL = {
    "endless": "x: goto x",
    "may_goto": "r0 = 0\nx: may_goto out\nr0 += 1\nif r0 != 5000 goto x\nout: exit",
    "stray jump": "goto +70\nexit",
    "deep": "call x\nexit\nx: call x\nexit",
    "division in a call": "r1 = 9\nr6 = 4\ncall x\nr0 += r6\nexit\nx: r6 = 0\nr0 = r1\n"
    "r0 /= r6\nr0 += 7\nexit",
    "wild read": "r1 = 77\nr0 = *(u64 *)(r1 + 0)\nexit",
    "read-only nowhere": "r1 = r10\n*(u64 *)(r1 + 0) = 1\nexit",
    "wild callx": "r1 = 5\ncallx r1\nexit",
    "callx": "r1 = func x ll\nr2 = 3\ncallx r1\nr0 += 1\nexit\nx: r0 = r2\nexit",
    "recursion": "r1 = 5\ncall f\nexit\nf: if r1 == 0 goto end\nr6 = r1\nr1 -= 1\ncall f\n"
    "r0 += r6\nexit\nend: r0 = 0\nexit",
    "random": "call 7\nr6 = r0\ncall 7\nr0 ^= r6\nexit",
    "clock": "r0 = 0\nr0 += 1\ncall 5\nexit",
}


@pytest.mark.parametrize("name", CONTROL)
def test_control(name: str) -> None:
    run_both(CONTROL[name])


def test_packet_loads() -> None:
    for size, off in product((8, 16, 32), (0, 1, 14, 15, 16)):
        run_both(
            f"r0 = 9\nr6 = r1\nr0 = *(u{size} *)skb[{off}]\nr0 += 1\nexit",
            bytes(range(200, 216)),
            "raw",
        )
