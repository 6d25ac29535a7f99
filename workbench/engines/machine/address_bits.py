"""How many bits of an address a CPU looks at: stray ones are refused differently for it."""

import re
from functools import cache
from typing import NamedTuple


class AddressBits(NamedTuple):
    """Bits of a virtual address, the ones above repeating the last, and bits of user addresses.

    The kernel's x86_virt_bits, and the exponent of the end of user space: 47, or 56 where page
    tables have five levels. A CPU may know five levels where its kernel uses four.
    """

    virtual: int = 48
    user: int = 47

    @property
    def word(self) -> int:
        """Virtual bits in the low byte, user bits above: as compiled code reads them."""
        return self.user << 8 | self.virtual


def parsed(cpuinfo: str) -> AddressBits:
    """The bits that a text of /proc/cpuinfo names; the defaults for what it leaves out."""
    virtual = re.search(r"^address sizes\s*:.*?(\d+) bits virtual", cpuinfo, re.MULTILINE)
    five_levels = re.search(r"^flags\s*:.*\bla57\b", cpuinfo, re.MULTILINE)
    return AddressBits(int(virtual[1]) if virtual else 48, 56 if five_levels else 47)


@cache
def address_bits() -> AddressBits:
    """The address bits of this machine, read once; the defaults where there is no /proc/cpuinfo."""
    try:
        with open("/proc/cpuinfo") as file:
            return parsed(file.read(1 << 14))  # the first CPU's, which speaks for all
    except OSError:
        return AddressBits()
