"""What programs print: bpf_trace_printk and streams, formatted as Linux does and kept.

    printed[0]  bytes used    printed[1]  lines that found no room
    line        clock | slot | stream (0 trace, 1 stdout, 2 stderr) | length | text, padded to 8

Understood are %d %i %u %x %X %o with l, ll, h, hh, a width and the flags 0 and -; %c, %s, %p
(the plain number: Linux hides it) and %%. Anything else is -EINVAL, as bpf_bprintf_prepare says.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.compiled import load8, load64, njit, store8
from workbench.engines.machine import REGS_AT
from workbench.engines.memory import host_of, owned
from workbench.engines.probes import user_host
from workbench.maps.layout import EINVAL, ENOENT

if TYPE_CHECKING:
    import pandas as pd

ROOM = 1 << 20
HEADER_WORDS, LINE_WORDS = 2, 4
LONGEST = 1024  # MAX_BPRINTF_BUF
STREAMS = ("trace", "stdout", "stderr")
_0, _1, _7, _8 = (np.uint64(n) for n in (0, 1, 7, 8))
_PERCENT, _ZERO, _NINE, _MINUS, _SPACE = (ord(c) for c in "%09- ")
_C, _D, _I, _U, _X, _BIG_X, _O, _S, _P, _L, _H = (ord(c) for c in "cdiuxXosplh")


def print_room() -> np.ndarray:
    """Room for a megabyte of printed lines, committed as it fills."""
    from workbench.memory import lazy_zeros

    return lazy_zeros(ROOM // 8 + HEADER_WORDS + LINE_WORDS, np.uint64)


class Line(NamedTuple):
    """What one call printed: at this step of the arena's clock, from this slot."""

    step: int
    pc: int
    stream: str
    text: str


def printed_lines(printed: np.ndarray) -> Iterator[Line]:
    """What was printed, oldest first."""
    at, raw = HEADER_WORDS, printed.view(np.uint8)
    while 8 * (at - HEADER_WORDS) < int(printed[0]):
        time, pc, stream, length = (int(word) for word in printed[at : at + LINE_WORDS])
        begin = 8 * (at + LINE_WORDS)
        text = raw[begin : begin + length].tobytes().decode(errors="replace")
        yield Line(time, pc, STREAMS[stream], text)
        at += LINE_WORDS + -(-length // 8)


def printed_frame(printed: np.ndarray) -> "pd.DataFrame":
    """What was printed, a row for each call: step (of the arena's clock), pc, stream, text."""
    import pandas as pd

    return pd.DataFrame(printed_lines(printed), columns=Line._fields)


@njit
def _put(to, at, byte):
    """Append one byte; text beyond the longest line is cut."""
    if at < LONGEST - 1:
        store8(to + np.uint64(at), np.uint8(byte))
        return at + 1
    return at


@njit
def _put_number(to, at, value, base, upper, negative, width, fill, left):
    """Append a number with its sign, padded to a width."""
    digits, rest = 1, value
    while rest >= base:
        rest //= base
        digits += 1
    padding = width - digits - (1 if negative else 0)
    if not left and fill == _SPACE:
        for _ in range(padding):
            at = _put(to, at, _SPACE)
    if negative:
        at = _put(to, at, _MINUS)
    if not left and fill == _ZERO:
        for _ in range(padding):
            at = _put(to, at, _ZERO)
    for place in range(digits):
        rest = value
        for _ in range(digits - 1 - place):
            rest //= base
        digit = np.int64(rest % base)
        letters = 55 if upper else 87
        at = _put(to, at, digit + (48 if digit < 10 else letters))
    if left:
        for _ in range(padding):
            at = _put(to, at, _SPACE)
    return at


@njit
def _put_string(machine, arena, to, at, address, width):
    """Append the text at an address of the kernel or of the arena's user view."""
    begin = at
    while True:
        host = owned(machine.regions, address, 1, False)
        if host == _0:
            host = user_host(arena, address, False)
        if host == _0 or load8(host) == 0:
            break
        at = _put(to, at, load8(host))
        address += _1
    for _ in range(width - (at - begin)):
        at = _put(to, at, _SPACE)
    return at


@njit
def _number(value, conversion, longs):
    """A conversion's argument at its size: magnitude, and whether it is negative."""
    signed = conversion in (_D, _I)
    if longs == 0:
        value = (
            np.uint64(np.int64(np.int32(np.uint32(value))))
            if signed
            else value & np.uint64(0xFFFFFFFF)
        )
    elif longs == -1:
        value = (
            np.uint64(np.int64(np.int16(np.uint16(value)))) if signed else value & np.uint64(0xFFFF)
        )
    elif longs <= -2:
        value = np.uint64(np.int64(np.int8(np.uint8(value)))) if signed else value & np.uint64(0xFF)
    negative = signed and np.int64(value) < 0
    return _0 - value if negative else value, negative


@njit
def _format(machine, arena, to, format, size, args, count):
    """Write the formatted text; its length, or -EINVAL. `args` is the host address of words."""
    at, used, position = 0, 0, 0
    while position < size:
        byte = np.int64(load8(format + np.uint64(position)))
        position += 1
        if byte == 0:
            break
        if byte != _PERCENT:
            at = _put(to, at, byte)
            continue
        fill, left, width, longs = _SPACE, False, 0, 0
        byte = np.int64(load8(format + np.uint64(position)))
        while byte in (_ZERO, _MINUS):
            fill, left = (_ZERO if byte == _ZERO else fill), left or byte == _MINUS
            position += 1
            byte = np.int64(load8(format + np.uint64(position)))
        while _ZERO <= byte <= _NINE:
            width = 10 * width + byte - _ZERO
            position += 1
            byte = np.int64(load8(format + np.uint64(position)))
        while byte in (_L, _H):
            longs += 1 if byte == _L else -1
            position += 1
            byte = np.int64(load8(format + np.uint64(position)))
        position += 1
        if byte == _PERCENT:
            at = _put(to, at, _PERCENT)
            continue
        if used >= count:
            return -EINVAL
        value = load64(args + np.uint64(8 * used))
        used += 1
        if byte == _C:
            at = _put(to, at, np.int64(value & np.uint64(0xFF)))
        elif byte == _S:
            at = _put_string(machine, arena, to, at, value, width)
        elif byte == _P:
            at = _put_number(to, at, value, np.uint64(16), False, False, 16, _ZERO, False)
        elif byte in (_D, _I, _U):
            number, negative = _number(value, byte, longs)
            at = _put_number(to, at, number, np.uint64(10), False, negative, width, fill, left)
        elif byte in (_X, _BIG_X):
            number, negative = _number(value, byte, longs)
            big = byte == _BIG_X
            at = _put_number(to, at, number, np.uint64(16), big, False, width, fill, left)
        elif byte == _O:
            number, negative = _number(value, byte, longs)
            at = _put_number(to, at, number, np.uint64(8), False, False, width, fill, left)
        else:
            return -EINVAL
    return at


@njit
def _keep(machine, arena, stream, format, size, args, count, pc, clock):
    """Format into the next free line and keep it if there is room; its length, or -EINVAL."""
    printed = machine.printed
    used = np.int64(printed[0])
    line = HEADER_WORDS + used // 8
    if used + 8 * LINE_WORDS + LONGEST > ROOM:
        printed[1] += _1
        return np.int64(0)
    to = np.uint64(printed.ctypes.data) + np.uint64(8 * (line + LINE_WORDS))
    length = np.int64(_format(machine, arena, to, format, size, args, count))
    if length >= 0:
        printed[line], printed[line + 1] = clock, np.uint64(pc)
        printed[line + 2], printed[line + 3] = np.uint64(stream), np.uint64(length)
        printed[0] = np.uint64(used + 8 * LINE_WORDS + (length + 7) // 8 * 8)
    return length


@njit
def print_text(machine, arena, format, size, first, pc, clock):
    """bpf_trace_printk: its arguments are the registers from `first` on; the text's length."""
    host = host_of(machine, format, size, False)
    if host == _0:
        return _0
    size = np.int64(size)
    if load8(host + np.uint64(size - 1)) != 0:
        return np.uint64(-EINVAL)
    args = np.uint64(machine.control[REGS_AT] + 8 * first)
    return np.uint64(_keep(machine, arena, 0, host, size, args, 3, pc, clock))


@njit
def print_array(machine, arena, stream, format, args, size, pc, clock):
    """bpf_stream_vprintk: arguments are words in memory; 0 or a negative errno."""
    size &= np.uint64(0xFFFFFFFF)
    if stream != _1 and stream != np.uint64(2):
        return np.uint64(-ENOENT)
    if size & _7 or size > np.uint64(96):
        return np.uint64(-EINVAL)
    host = np.uint64(0) if size == _0 else host_of(machine, args, size, False)
    text = host_of(machine, format, 1, False)
    if text == _0 or (host == _0 and size != _0):
        return _0
    length = _keep(
        machine, arena, np.int64(stream), text, LONGEST, host, np.int64(size >> np.uint64(3)),
        pc, clock,
    )  # fmt: skip
    return np.uint64(length if length < 0 else 0)
