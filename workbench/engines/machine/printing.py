"""What programs print: bpf_trace_printk and streams, formatted as Linux does and kept.

    printed[USED]  bytes used    printed[LOST]  lines that found no room
    line           clock | slot | stream (0 trace, 1 stdout, 2 stderr) | length | text, padded to 8

A format is what bpf_bprintf_prepare takes, and anything else -EINVAL: %% and, after flags of "0+- "
and a width, d i u x X with at most two l; c; s; and p alone or with K x s S B ks us i4 I4 i6 I6.
Linux hides the number of %p and %pK, and knows names for %ps, %pS and %pB; here they are numbers.
"""

from collections.abc import Iterator
from errno import EINVAL, ENOENT, ENOSPC
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, load8, load64, store8
from workbench.engines.machine.memory import host_of
from workbench.engines.machine.probes import byte_host, user_top
from workbench.engines.machine.state import REGS_AT

if TYPE_CHECKING:
    import pandas as pd

ROOM = 1 << 20  # bytes of a run's lines: bounds its memory; later lines are only counted
USED, LOST = range(2)
HEADER_WORDS, LINE_WORDS = 2, 4
LONGEST = 1024  # MAX_BPRINTF_BUF
STREAMS = ("trace", "stdout", "stderr")
_0, _1, _7, _8 = (np.uint64(n) for n in (0, 1, 7, 8))
ARGUMENTS = 512  # MAX_BPRINTF_BIN_ARGS, the bytes of a format's arguments that Linux copies
WIDEST = (1 << 23) - 1  # FIELD_WIDTH_MAX
_MOST_BYTES = np.uint64(8 * 12)  # of the words of bpf_stream_vprintk: MAX_BPRINTF_VARARGS
_PERCENT, _ZERO, _NINE, _PLUS, _MINUS, _SPACE, _POINT, _COLON = (ord(c) for c in "%09+- .:")
_C, _D, _I, _U, _X, _BIG_X, _S, _P, _L = (ord(c) for c in "cdiuxXspl")
_K, _SMALL_K, _BIG_S, _BIG_B, _BIG_I, _4, _6 = (ord(c) for c in "KkSBI46")
_LEFT, _ZEROS, _SIGN, _BLANK = 1, 2, 4, 8  # the flags - 0 + and space


def print_room() -> np.ndarray:
    """Room for a megabyte of printed lines, committed as it fills."""
    from workbench.compiled.lazy import lazy_zeros

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
    while 8 * (at - HEADER_WORDS) < int(printed[USED]):
        step, pc, stream, length = (int(word) for word in printed[at : at + LINE_WORDS])
        begin = 8 * (at + LINE_WORDS)
        content = raw[begin : begin + length].tobytes()
        if stream == 0:  # a tracepoint's text ends at its first zero byte
            content, _, _ = content.partition(b"\0")
        yield Line(step, pc, STREAMS[stream], content.decode(errors="replace"))
        at += LINE_WORDS + -(-length // 8)


def printed_frame(printed: np.ndarray) -> "pd.DataFrame":
    """What was printed, a row for each call: step (of the arena's clock), pc, stream, text."""
    import pandas as pd

    return pd.DataFrame(printed_lines(printed), columns=Line._fields)


@njit
def _is_alnum(byte):
    """isalnum of the kernel, which knows Latin-1."""
    if byte < 192:
        letter = 65 <= byte <= 90 or 97 <= byte <= 122
        return letter or _ZERO <= byte <= _NINE
    return byte != 215 and byte != 247


@njit
def _is_text(byte):
    """What a format may contain: all but control characters."""
    return 9 <= byte <= 13 or 32 <= byte < 127 or byte >= 128


@njit
def _ends_word(byte):
    """The end of the format, space or punctuation."""
    return byte == 0 or (_is_text(byte) and not _is_alnum(byte) and not 128 <= byte < 160)


@njit
def _put(to, at, byte):
    """Append one byte; text beyond the longest line is counted and cut."""
    if at < LONGEST - 1:
        store8(to + np.uint64(at), np.uint8(byte))
    return at + 1


@njit
def _pad(to, at, count, byte):
    for place in range(min(count, LONGEST)):
        _put(to, at + place, byte)
    return at + max(count, 0)


@njit
def _put_number(to, at, value, base, upper, sign, flags, width):
    """Append a number with its sign (0: none), padded to a width."""
    digits, rest = 1, value
    while rest >= base:
        rest //= base
        digits += 1
    padding = width - digits - (1 if sign else 0)
    if not flags & (_LEFT | _ZEROS):
        at = _pad(to, at, padding, _SPACE)
    if sign:
        at = _put(to, at, sign)
    if flags & (_LEFT | _ZEROS) == _ZEROS:
        at = _pad(to, at, padding, _ZERO)
    letters = 55 if upper else 87
    for place in range(digits):
        rest = value
        for _ in range(digits - 1 - place):
            rest //= base
        digit = np.int64(rest % base)
        at = _put(to, at, digit + (_ZERO if digit < 10 else letters))
    return _pad(to, at, padding, _SPACE) if flags & _LEFT else at


@njit
def _put_integer(to, at, value, conversion, wide, flags, width):
    """%d %i %u %x %X of an int or, if wide, a long."""
    signed, sign = conversion in (_D, _I), 0
    if not wide:
        value &= LOW_32
        if signed:
            value = np.uint64(np.int64(np.int32(np.uint32(value))))
    if signed:
        if np.int64(value) < 0:
            value, sign = _0 - value, _MINUS
        elif flags & (_SIGN | _BLANK):
            sign = _PLUS if flags & _SIGN else _SPACE
    base = np.uint64(16) if conversion in (_X, _BIG_X) else np.uint64(10)
    return _put_number(to, at, value, base, conversion == _BIG_X, sign, flags, width)


@njit
def _put_symbol(to, at, address, flags, width):
    """%ps and its like, of an address without a name: 0x and the number, padded as text."""
    digits, rest = 3, address
    while rest >= np.uint64(16):
        rest >>= np.uint64(4)
        digits += 1
    if not flags & _LEFT:
        at = _pad(to, at, width - digits, _SPACE)
    at = _put(to, _put(to, at, _ZERO), _X)
    at = _put_number(to, at, address, np.uint64(16), False, 0, 0, 0)
    return _pad(to, at, width - digits, _SPACE) if flags & _LEFT else at


@njit
def _text_length(machine, arena, address, user, room):
    """Bytes of a text without its end, at most room - 1; 0 where it cannot be read."""
    for length in range(room - 1):
        host = byte_host(machine, arena, address + np.uint64(length), user, False)
        if host == _0:
            return 0
        if load8(host) == 0:
            return length
    return room - 1


@njit
def _put_text(machine, arena, to, at, address, user, length, flags, width):
    """%s, of so many bytes."""
    if not flags & _LEFT:
        at = _pad(to, at, width - length, _SPACE)
    for byte in range(length):
        at = _put(to, at, load8(byte_host(machine, arena, address + np.uint64(byte), user, False)))
    return _pad(to, at, width - length, _SPACE) if flags & _LEFT else at


@njit
def _put_internet(machine, arena, to, at, address, version, plain):
    """%pI4, %pI6 and, plain, %pi4 (all digits) and %pi6 (no colons); zeros if it is unreadable."""
    size, readable = 4 if version == _4 else 16, True
    for byte in range(size):
        host = byte_host(machine, arena, address + np.uint64(byte), False, False)
        readable &= host != _0
    for byte in range(size):
        host, value = byte_host(machine, arena, address + np.uint64(byte), False, False), _0
        if readable:
            value = np.uint64(load8(host))
        if version == _4:
            at = _put(to, at, _POINT) if byte else at
            at = _put_number(to, at, value, np.uint64(10), False, 0, _ZEROS, 3 if plain else 0)
        else:
            at = _put(to, at, _COLON) if byte and byte % 2 == 0 and not plain else at
            at = _put_number(to, at, value, np.uint64(16), False, 0, _ZEROS, 2)
    return at


@njit
def _byte(text, at):
    return np.int64(load8(text + np.uint64(at)))


@njit
def _flags(format, at):
    """What stands between % and the conversion: (where that begins, flags, width)."""
    flags, width, byte = 0, 0, _byte(format, at)
    while byte in (_ZERO, _PLUS, _MINUS, _SPACE):
        if byte == _ZERO:
            flags |= _ZEROS
        elif byte == _MINUS:
            flags |= _LEFT
        else:
            flags |= _SIGN if byte == _PLUS else _BLANK
        at += 1
        byte = _byte(format, at)
    while _ZERO <= byte <= _NINE:
        width = min(10 * width + byte - _ZERO, WIDEST)
        at += 1
        byte = _byte(format, at)
    return at, flags, width


@njit
def _taken(used, size):
    """Bytes of arguments that Linux has copied after one more of 4 or 8 bytes, or -ENOSPC."""
    used = (used + 3) & ~3
    return used + size if used + size <= ARGUMENTS else -ENOSPC


@njit
def _convert_text(machine, arena, to, at, value, user, used, flags, width):
    """One text: (length so far, bytes of arguments or a negative errno)."""
    if used >= ARGUMENTS:
        return at, -ENOSPC
    length = _text_length(machine, arena, value, user, ARGUMENTS - used)
    at = _put_text(machine, arena, to, at, value, user, length, flags, width)
    return at, used + length + 1


@njit
def _convert_pointer(machine, arena, to, at, format, position, value, used, flags, width):
    """%p and what may follow it: (length, place after it, bytes of arguments or an errno)."""
    kind = _byte(format, position)
    version = 0 if kind == 0 else _byte(format, position + 1)
    if _ends_word(kind) or kind in (_K, _X, _S, _BIG_S):
        used = _taken(used, 8)
        if kind in (_S, _BIG_S):
            at = _put_symbol(to, at, value, flags, width)
        else:
            flags, width = (flags, width) if width else (flags | _ZEROS, 16)
            at = _put_number(to, at, value, np.uint64(16), False, 0, flags, width)
        position += 0 if _ends_word(kind) else 1
    elif kind == _BIG_B:
        begin = at
        at = _put_symbol(to, at, value, 0, 0)
        position, used = position + 1, min(used + at - begin + 1, ARGUMENTS)
    elif kind in (_SMALL_K, _U) and version == _S:
        if not _ends_word(_byte(format, position + 2)):
            return at, position, -EINVAL
        at, used = _convert_text(machine, arena, to, at, value, kind == _U, used, 0, 0)
        position += 2
    elif kind in (_I, _BIG_I) and version in (_4, _6):
        if ARGUMENTS - used < (4 if version == _4 else 16):
            return at, position, -ENOSPC
        begin = at
        at = _put_internet(machine, arena, to, at, value, version, kind == _I)
        position, used = position + 2, min(used + at - begin + 1, ARGUMENTS)
    else:
        return at, position, -EINVAL
    while _is_alnum(_byte(format, position)):  # Linux skips them
        position += 1
    return at, position, used


@njit
def _convert(machine, arena, to, at, format, position, value, used):
    """One conversion; arguments and results as of `_convert_pointer`."""
    position, flags, width = _flags(format, position)
    byte, wide = _byte(format, position), False
    if byte == _P:
        return _convert_pointer(
            machine, arena, to, at, format, position + 1, value, used, flags, width
        )  # fmt: skip
    if byte == _S:
        if not _ends_word(_byte(format, position + 1)):
            return at, position, -EINVAL
        user = value < user_top(machine)
        at, used = _convert_text(machine, arena, to, at, value, user, used, flags, width)
        return at, position + 1, used
    if byte == _C:
        if used >= ARGUMENTS:
            return at, position, -ENOSPC
        at = at if flags & _LEFT else _pad(to, at, width - 1, _SPACE)
        at = _put(to, at, np.int64(value & np.uint64(0xFF)))
        at = _pad(to, at, width - 1, _SPACE) if flags & _LEFT else at
        return at, position + 1, used + 1
    for _ in range(2):
        if byte == _L:
            position, wide = position + 1, True
            byte = _byte(format, position)
    if byte not in (_D, _I, _U, _X, _BIG_X):
        return at, position, -EINVAL
    at = _put_integer(to, at, value, byte, wide, flags, width)
    return at, position + 1, _taken(used, 8 if wide else 4)


@njit
def _format(machine, arena, to, format, size, args, count):
    """Write the formatted text; its length, cut or not, or a negative errno.

    `args` is the host address of `count` words.
    """
    end = 0
    while end < size and _byte(format, end) != 0:
        end += 1
    if end == size:
        return -EINVAL
    at, given, used, position = 0, 0, 0, 0
    while position < end:
        byte = _byte(format, position)
        position += 1
        if not _is_text(byte):
            return -EINVAL
        if byte != _PERCENT:
            at = _put(to, at, byte)
        elif _byte(format, position) == _PERCENT:
            at, position = _put(to, at, byte), position + 1
        elif given == count:
            return -EINVAL
        else:
            value = load64(args + np.uint64(8 * given))
            given += 1
            at, position, used = _convert(
                machine, arena, to, at, format, position, value, used
            )  # fmt: skip
            if used < 0:
                return used
    return at


@njit
def _keep(machine, arena, stream, format, size, args, count, pc, clock):
    """Format into the next free line and keep it if there is room; its length, or -EINVAL."""
    printed = machine.printed
    used = np.int64(printed[USED])
    line = HEADER_WORDS + used // 8
    if used + 8 * LINE_WORDS + LONGEST > ROOM:
        printed[LOST] += _1
        return np.int64(0)
    to = np.uint64(printed.ctypes.data) + np.uint64(8 * (line + LINE_WORDS))
    length = np.int64(_format(machine, arena, to, format, size, args, count))
    if length >= 0:
        printed[line], printed[line + 1] = clock, np.uint64(pc)
        kept = min(length, LONGEST - 1)
        printed[line + 2], printed[line + 3] = np.uint64(stream), np.uint64(kept)
        printed[USED] = np.uint64(used + 8 * LINE_WORDS + (kept + 7) // 8 * 8)
    return length


@njit
def print_text(machine, arena, format, size, first, pc, clock):
    """bpf_trace_printk: its arguments are the registers from `first` on; the text's length."""
    host = host_of(machine, format, size, False)
    if host == _0:
        return _0
    size = np.int64(size)
    args = np.uint64(machine.control[REGS_AT] + 8 * first)
    return np.uint64(_keep(machine, arena, 0, host, size, args, 3, pc, clock))


@njit
def print_array(machine, arena, stream, format, args, size, pc, clock):
    """bpf_stream_vprintk: arguments are words in memory; 0 or a negative errno."""
    size &= LOW_32
    if stream != _1 and stream != np.uint64(2):
        return np.uint64(-ENOENT)
    if size & _7 or size > _MOST_BYTES:
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
