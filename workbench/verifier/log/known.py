"""The values in a verifier log: the text of a register or stack slot, taken apart.

Linux prints only what is not a default: a bound that is left out is as wide as its type, an
offset that is left out is 0. Older kernels spell the names differently (`inv`, `umax_value`) and
say `imm` or `off` for what is now one offset. Source: print_reg_state in kernel/bpf/log.c, from
Linux 4.15 to 7.3.
"""

import re
from functools import lru_cache
from typing import NamedTuple

WORD, LONG = 1 << 32, 1 << 64


class Bounds(NamedTuple):
    """The eight bounds of a number; signed ones as Python integers with their sign."""

    smin: int = -(1 << 63)
    smax: int = (1 << 63) - 1
    umin: int = 0
    umax: int = LONG - 1
    smin32: int = -(1 << 31)
    smax32: int = (1 << 31) - 1
    umin32: int = 0
    umax32: int = WORD - 1


ANY = Bounds()


class LogValue(NamedTuple):
    """What a log says of a register or stack slot.

    `kind` is the kernel's word, in today's spelling: scalar, arena, ctx, fp, map_value, pkt, ...;
    "bytes" for a stack slot that is only known byte by byte (`text` has a letter for each: `m`
    anything, `0` zero, `?` never written). `constant` is a scalar's number as 64 bits with sign.
    `offset` is the constant part of a pointer's offset; `bounds` and `tnum` (value, mask) are of a
    scalar or of the variable part. `attributes` holds what else is in the brackets, by name.
    """

    kind: str
    text: str
    constant: int | None = None
    offset: int = 0
    bounds: Bounds = ANY
    tnum: tuple[int, int] = (0, LONG - 1)
    id: int = 0
    precise: bool = False
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def meaning(self) -> tuple[object, ...]:
        """What two logs must agree on: kind, number, bounds, offset; no ids and no precision."""
        sized = tuple(a for a in self.attributes if a[0] in _SIZES)
        return self.kind, self.constant, self.offset, self.bounds, self.tnum, sized

    @property
    def words(self) -> str:
        """The value in plain words."""
        return _words(self)

    def attribute(self, name: str) -> str:
        """What the brackets say of `name`; "" if nothing."""
        return dict(self.attributes).get(name, "")


_SIZES = ("ks", "vs", "sz", "r", "depth", "state")
_SPELLINGS = {"inv": "scalar", "imm": "scalar", "unknown_value": "scalar", "": "scalar"}
_NUMBER = re.compile(r"^-?(?:0x[0-9a-f]+|\d+)$")
_CONSTANT = re.compile(r"^(?:inv|imm|scalar)?(-?(?:0x[0-9a-f]+|\d+))$")
_POINTER = re.compile(r"^(fp)(?:\[(\d+)\])?(-?(?:0x[0-9a-f]+|\d+))$")
_BRACKETS = re.compile(r"^([A-Za-z_][\w \[\]]*)\((.*)\)$", re.DOTALL)
_ID = re.compile(r"^(\d+)([+-]\d+)?$")
_TNUM = re.compile(r"^\(?(0x[0-9a-f]+|\d+)(?:; (0x[0-9a-f]+))?\)?$")
_BYTES = re.compile(r"^[m0?rdi]{8}$")
_HALF = re.compile(r"^(?:[m0?]{7}|[m0?]{6}|[m0?]{4})(?=.)(.+)$")  # a spill of 1, 2 or 4 bytes


@lru_cache(maxsize=1 << 16)  # bounds the memory for a long log; not measured
def parse_value(text: str) -> LogValue:
    """Take the text after `R1=` or `fp-8=` apart; what is not understood becomes the kind."""
    if _BYTES.match(text):
        return LogValue("bytes", text)
    if found := _HALF.match(text):
        return parse_value(found[1])._replace(text=text)
    bare = text.removeprefix("P").replace("invP", "inv", 1)
    precise = bare != text
    if found := _CONSTANT.match(bare):
        return _constant(text, _number(found[1]), precise)
    if found := _POINTER.match(bare):
        frame = (("frame", found[2]),) if found[2] else ()
        return LogValue("fp", text, offset=_number(found[3]), tnum=(0, 0), attributes=frame)
    if found := _BRACKETS.match(bare):
        return _with_brackets(text, found[1], found[2], precise)
    return LogValue(_SPELLINGS.get(bare, bare), text, precise=precise)


def _constant(text: str, number: int, precise: bool = False) -> LogValue:
    """A scalar of which everything is known."""
    number = _signed(number, 64)
    low = number % WORD
    bounds = Bounds(
        number, number, number % LONG, number % LONG, _signed(low, 32), _signed(low, 32), low, low
    )
    return LogValue("scalar", text, number, 0, bounds, (number % LONG, 0), precise=precise)


def _with_brackets(text: str, kind: str, inside: str, precise: bool) -> LogValue:
    fields: dict[str, str] = _fields(inside)
    kind = _SPELLINGS.get(kind, kind)
    tnum = _tnum(fields.pop("var_off", ""))
    bounds = {}
    for name in list(fields):
        known = _bound_name(name)
        if known in Bounds._fields:
            bounds[known] = _bound(known, fields.pop(name))
    number = _ID.match(fields.pop("id", "0"))
    offset = 0 if kind == "scalar" else sum(_offset(fields.pop(n, "0")) for n in ("off", "imm"))
    if kind != "scalar" and not bounds and tnum[1] == LONG - 1:
        tnum = (0, 0)
    if kind == "scalar" and "imm" in fields:  # an older spelling of a constant
        return _constant(text, _offset(fields["imm"], 16), precise)
    return LogValue(
        kind,
        text,
        None,
        offset,
        Bounds(**bounds),
        tnum,
        int(number[1]) if number else 0,
        precise,
        tuple(fields.items()),
    )


def _fields(inside: str) -> dict[str, str]:
    """Split `smin=smin32=0,umax=9,var_off=(0x0; 0xf)` at commas; a chain shares its value."""
    found: dict[str, str] = {}
    for part in re.split(r",\s*(?![^()]*\))", inside):
        *names, value = part.split("=")
        for name in names or ([value] if value else []):
            found[name.strip()] = value if names else ""
    return found


def _bound_name(name: str) -> str:
    """Today's name of a bound: umax_value -> umax, s32_min_value -> smin32."""
    old = re.match(r"^([su])(32_)?(min|max)_value$", name)
    return f"{old[1]}{old[3]}{'32' if old[2] else ''}" if old else name


def _bound(name: str, text: str) -> int:
    number = _offset(text)
    if name.startswith("u"):
        return number % (WORD if name.endswith("32") else LONG)
    return _signed(number, 32 if name.endswith("32") else 64)


def _tnum(text: str) -> tuple[int, int]:
    found = _TNUM.match(text)
    if not found:
        return 0, LONG - 1
    return _number(found[1]) % LONG, _number(found[2] or "0") % LONG


def _number(text: str) -> int:
    return int(text, 0) if not text.lstrip("-").startswith("0") or "x" in text else int(text)


def _offset(text: str, base: int = 0) -> int:
    """A number that may be damaged: 0 then."""
    try:
        return int(text, base) if base else _number(text)
    except ValueError:
        return 0


def _signed(number: int, bits: int) -> int:
    sign = 1 << (bits - 1)
    return (number & (2 * sign - 1) ^ sign) - sign


_POINTERS = {
    "arena": "a pointer into the arena",
    "ctx": "the context pointer",
    "fp": "a pointer to the stack",
    "map_ptr": "a map",
    "map_value": "a pointer to a value of a map",
    "map_key": "a pointer to a key of a map",
    "pkt": "a pointer into the packet",
    "pkt_meta": "a pointer to the packet's metadata",
    "pkt_end": "the end of the packet",
    "mem": "a pointer to memory",
    "rdonly_mem": "a pointer to memory that may only be read",
    "ringbuf_mem": "a record of the ring buffer",
    "func": "the address of a function",
    "bytes": "bytes of the stack",
    "dynptr_ptr": "a dynamic pointer",
}


def _words(value: LogValue) -> str:
    if value.kind == "scalar":
        return _scalar_words(value)
    kind = value.kind.removesuffix("_or_null")
    words = _POINTERS.get(kind, f"a value of kind {kind}")
    if kind == "fp" and value.offset:
        words += f", {abs(value.offset)} bytes {'below' if value.offset < 0 else 'above'} its top"
    elif value.offset:
        words += f", {value.offset} bytes in"
    if value.bounds != ANY:
        words += f", plus a number {_range(value.bounds)}"
    if size := value.attribute("vs") if "map_value" in value.kind else value.attribute("sz"):
        words += f", {size} bytes long"
    if kind == "pkt":
        words += f", of which {value.attribute('r') or 0} bytes are checked to be there"
    return words + (", or NULL" if kind != value.kind else "")


def _scalar_words(value: LogValue) -> str:
    if value.constant is not None:
        return f"the number {_shown(value.constant)}"
    if value.bounds == ANY and value.tnum == (0, LONG - 1):
        return "a number that can be anything"
    return f"a number {_range(value.bounds)}"


def _range(bounds: Bounds) -> str:
    """The narrower of the signed and the unsigned range."""
    signed = bounds.smax - bounds.smin
    low, high = (
        (bounds.smin, bounds.smax)
        if signed < bounds.umax - bounds.umin
        else (bounds.umin, bounds.umax)
    )
    if (low, high) == (0, LONG - 1):
        return "of which only the low 32 bits are known to be limited"
    if (low, high) == (1, LONG - 1):
        return "other than 0"
    return f"from {_shown(low)} to {_shown(high)}"


def _shown(number: int) -> str:
    """A number in decimal up to 2^20, where people still read it, else in hexadecimal."""
    return str(number) if abs(number) < 1 << 20 else hex(number)
