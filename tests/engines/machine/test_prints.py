"""What programs print: the emulated text and result are Linux's, format by format."""

import random
from collections.abc import Callable

import pytest
from support.kernel_support import KERNEL, REASON

import workbench as wb
from workbench.engines.kernel.perf import tracepoint

SEEN = not REASON and tracepoint("bpf_trace/bpf_trace_printk") is not None
WHY_NOT = "perf does not show what is printed"
pytestmark = [*KERNEL, pytest.mark.skipif(not SEEN, reason=REASON or WHY_NOT)]

TEXT = bytes(range(33, 127)) + b"\0"
HERE = object()  # an argument: the address of the text


def program(
    form: bytes, arguments: tuple[object, ...], after: bytes = b"\0", text: bytes = TEXT
) -> wb.Program:
    """Print `form` and `arguments`, with a text on the stack."""
    stack = form + after
    text_at = -len(text) & ~7  # from r10 on
    form_at = text_at + (-len(stack) & ~7)
    lines = []
    for content, at in ((text, text_at), (stack, form_at)):
        for first in range(0, len(content), 8):
            word = int.from_bytes(content[first : first + 8], "little")
            lines.append(f"r1 = {word:#x} ll\n*(u64 *)(r10 {at + first}) = r1")
    lines.append(f"r1 = r10\nr1 += {form_at}\nr2 = {len(stack)}")
    for register, value in enumerate(arguments, 3):
        if value is HERE:
            lines.append(f"r{register} = r10\nr{register} += {text_at}")
        else:
            assert isinstance(value, int)
            lines.append(f"r{register} = {value & (1 << 64) - 1:#x} ll")
    return wb.assemble("\n".join([*lines, "call bpf_trace_printk", "exit"]), name="prints")


def judge(
    form: bytes,
    arguments: tuple[object, ...] = (0, 0, 0),
    after: bytes = b"\0",
    text: bytes = TEXT,
) -> int:
    """Print on both, and return the length or the negative errno that both gave."""
    found = []
    for engine in (wb.Interpreter, wb.Kernel):
        with engine(program(form, arguments, after, text)) as run:
            result = run.run()
            found.append((result.r0 & 0xFFFFFFFF, result.printed))
    assert found[0] == found[1], (form, arguments)
    return found[1][0] - (1 << 32 if found[1][0] >> 31 else 0)


# A format, its arguments, and the length of its text or the negative errno.
ROWS = [
    (b"", (0, 0, 0), 0),
    (b"100%%", (0, 0, 0), 4),
    (b"100%", (0, 0, 0), -22),
    (b"%5%", (0, 0, 0), -22),
    (b"%%%", (0, 0, 0), -22),
    (b"%d %u %x", (-5, 1 << 33, -1), 13),
    (b"%ld %lld %lX", (-5, 1 << 63, -1), 40),
    (b"%i%i%i%i", (1, 2, 3), -22),
    (b"%o", (8, 0, 0), -22),
    (b"%hd", (8, 0, 0), -22),
    (b"%llld", (8, 0, 0), -22),
    (b"%lc", (65, 0, 0), -22),
    (b"%#x", (8, 0, 0), -22),
    (b"%.5d", (8, 0, 0), -22),
    (b"%+d|% d|%-5d|", (5, 6, 7), 12),
    (b"%- 05d|%+ d|%0-8d|", (5, 6, 7), 18),
    (b"%+x|% X|%+u", (65, 66, 7), 7),
    (b"%05d|%5d|%-5d|", (-42, -42, -42), 18),
    (b"%c%c%c", (65, 0, 66), 3),
    (b"%5c|%-3c|%+05c", (65, 66, 67), 15),
    (b"%s|%20s|%-20s|", (0, 0, 0), 43),
    (b"%s!", (HERE, 0, 0), 95),
    (b"%-120s|%120s|", (HERE, HERE, 0), 242),
    (b"%pks %pus.", (HERE, HERE, 0), 96),
    (b"%sa", (HERE, 0, 0), -22),
    (b"%pks1", (HERE, 0, 0), -22),
    (b"%p|%20p|%p_", (0, 0, 0), 55),
    (b"%px|%5px|%-20pxyz|", (0x1234, 0x123456, 1), 45),
    (b"%+20px|% 20px|%020px", (0x1234, 0x1234, 0x123456), 62),
    (b"%ps|%20pS|%-8ps|", (0x1234, 5, 6), 37),
    (b"%pB|%20pB|%pBx", (77, 7, 0), 12),
    (b"%pK!", (0, 0, 0), 17),
    (b"%p4", (0, 0, 0), -22),
    (b"%pI5", (0, 0, 0), -22),
    (b"%pI4|%pi4|%20pI4|", (HERE, HERE, 0), 36),
    (b"%pI6|%pi6|%pI6c|", (HERE, HERE, 0), 113),
    (b"\t\v\f\r\n", (0, 0, 0), 5),
    (b"\x1b[1m", (0, 0, 0), -22),
    (b"\x7f", (0, 0, 0), -22),
    ("né%sö".encode(), (0, 0, 0), -22),
    ("né%s ö".encode(), (0, 0, 0), 6),
    (b"%1022d|x", (5, 0, 0), 1024),
    (b"%2000d|%-2000d|", (5, 6, 0), 4002),
]


@pytest.mark.parametrize(("form", "arguments", "expected"), ROWS)
def test_a_format_gives_what_linux_prints(
    form: bytes, arguments: tuple[object, ...], expected: int
) -> None:
    assert judge(form, arguments) == expected


def test_a_text_without_an_end_is_refused() -> None:
    assert judge(b"abc", after=b"") == -22
    assert judge(b"abc\0def", after=b"") == 3


@pytest.mark.parametrize("length", [300, 254, 255, 170, 169])
@pytest.mark.parametrize("last", ["%s", "%c", "%d", "%ld", "%pI4", "%px"])
def test_arguments_have_as_much_room_as_in_linux(length: int, last: str) -> None:
    text = b"x" * length + b"\0"
    found = judge(f"%s%s{last}".encode(), (HERE, HERE, HERE if last == "%s" else 7), text=text)
    assert found == -28 if length > 254 else found > 0 or length == 254


BEGINNINGS = (b"", b"%", b"%d", b"%s", b"%p", b"%pI", b"%pI4", b"%pk", b"%pks", b"%l", b"%05")


@pytest.mark.deep
def test_any_byte_after_any_beginning(scale: Callable[[int, int], int]) -> None:
    forms = [begin + bytes([byte]) for begin in BEGINNINGS for byte in range(1, 256)]
    for form in random.Random(7).sample(forms, scale(300, len(forms))):
        judge(form)


FLAGS = ["", "", "", "0", "-", "+", " ", "0-", "+0", "- +0"]
WIDTHS = ["", "", "", "1", "3", "12", "40", "300"]
NUMBERS = ["d", "i", "u", "x", "X", "ld", "li", "lu", "lx", "lX", "lld", "llu", "llx", "c", "px"]
TEXTS = ["s", "pks", "pus", "pI4", "pi4", "pI6", "pi6"]
NAMES = ["ps", "pS", "pB"]
WRONG = ["o", "hd", "lc", "p4", "%", "llld", "n", "*d", ".3d"]
BETWEEN = ["", " ", "|", ":", "abc", "%%", "9", "ü", "\n"]
VALUES = [0, 1, -1, 255, 65, 0x7FFFFFFF, 0x80000000, 1 << 32, 1 << 63, 0x123456789ABCDEF]


def random_print(rng: random.Random) -> tuple[bytes, tuple[object, ...]]:
    """A format, mostly right, and its three arguments."""
    form, arguments = rng.choice(BETWEEN), []
    for _ in range(rng.choice((1, 2, 3, 3, 3, 4))):
        kinds = rng.choices((NUMBERS, TEXTS, NAMES, WRONG), (6, 4, 1, 0.3))[0]
        form += "%" + rng.choice(FLAGS) + rng.choice(WIDTHS) + rng.choice(kinds)
        form += rng.choice(BETWEEN)
        if kinds is TEXTS:
            arguments.append(rng.choice((HERE, HERE, HERE, 0, 8)))
        else:
            arguments.append(rng.randrange(4096) if kinds is NAMES else rng.choice(VALUES))
    return form.encode()[:250], (*arguments, 0, 0, 0)[:3]


@pytest.mark.deep
def test_random_formats(scale: Callable[[int, int], int]) -> None:
    rng = random.Random(6)
    lengths = [judge(*random_print(rng)) for _ in range(scale(300, 20_000))]
    assert sum(length > 0 for length in lengths) > len(lengths) / 3
    assert any(length < 0 for length in lengths)


def test_texts_of_user_space_are_read_where_it_has_touched_them() -> None:
    text = b"r1 = 0x7325 ll\n*(u64 *)(r10 - 8) = r1\nr1 = r10\nr1 += -8\nr2 = 3\n".decode()
    prints = text + "r3 = arena + {} ll\nr4 = 0\nr5 = 0\ncall bpf_trace_printk\nexit"
    one = wb.assemble(prints.format(0x10), name="prints")

    def touch(arena: object, maps: object) -> None:
        arena.user.write(arena.user_start + 0x10, b"from user space\0")  # type: ignore[attr-defined]

    engines = ("interpreter", "jit", "kernel")
    found = wb.compare(one, engines, prepare=touch)
    assert found.equal, found
    assert {result.printed for result in found.results.values()} == {("from user space",)}
    found = wb.compare(one, engines)
    assert found.equal, found
    assert {result.printed for result in found.results.values()} == {("",)}


def test_a_run_is_distinguished_from_another_in_every_thread() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with wb.Kernel(program(b"%d", (7, 0, 0))) as engine, ThreadPoolExecutor(1) as other:
        assert engine.run().printed == ("7",)
        assert other.submit(engine.run).result().printed == ("7",)
        assert engine.run().printed == ("7",)
