"""Linux's hash of a map key, so that buckets, and with them the order of keys, are the kernel's.

Source: jhash() in include/linux/jhash.h, after Bob Jenkins; jhash2() of whole words is the same
function on a little-endian machine. Linux starts from a random seed unless the map is made with
BPF_F_ZERO_SEED; the emulated maps always start from 0.
"""

import numpy as np

from workbench.compiled.njit import njit
from workbench.compiled.raw import load8, load32

_START = np.uint32(0xDEADBEEF)


@njit(inline=True)
def _rotated(word, count):
    return np.uint32(np.uint32(word << np.uint32(count)) | (word >> np.uint32(32 - count)))


@njit(inline=True)
def _mixed(a, b, c):
    a = np.uint32(a - c) ^ _rotated(c, 4)
    c = np.uint32(c + b)
    b = np.uint32(b - a) ^ _rotated(a, 6)
    a = np.uint32(a + c)
    c = np.uint32(c - b) ^ _rotated(b, 8)
    b = np.uint32(b + a)
    a = np.uint32(a - c) ^ _rotated(c, 16)
    c = np.uint32(c + b)
    b = np.uint32(b - a) ^ _rotated(a, 19)
    a = np.uint32(a + c)
    c = np.uint32(c - b) ^ _rotated(b, 4)
    b = np.uint32(b + a)
    return a, b, c


@njit(inline=True)
def _final(a, b, c):
    c = np.uint32((c ^ b) - _rotated(b, 14))
    a = np.uint32((a ^ c) - _rotated(c, 11))
    b = np.uint32((b ^ a) - _rotated(a, 25))
    c = np.uint32((c ^ b) - _rotated(b, 16))
    a = np.uint32((a ^ c) - _rotated(c, 4))
    b = np.uint32((b ^ a) - _rotated(a, 14))
    return np.uint32((c ^ b) - _rotated(b, 24))


@njit
def _word(address, size):
    """Up to four bytes as a number, zero-extended."""
    word = np.uint32(0)
    for byte in range(size):
        word |= np.uint32(load8(address + np.uint64(byte))) << np.uint32(8 * byte)
    return word


@njit
def jhash(address, size, seed):
    """The hash of `size` bytes at a host address: uint32."""
    left = np.int64(size)
    a = np.uint32(_START + np.uint32(left) + np.uint32(seed))
    b, c = a, a
    while left > 12:
        a = np.uint32(a + load32(address))
        b = np.uint32(b + load32(address + np.uint64(4)))
        c = np.uint32(c + load32(address + np.uint64(8)))
        a, b, c = _mixed(a, b, c)
        address += np.uint64(12)
        left -= 12
    if left == 0:
        return c
    a = np.uint32(a + _word(address, min(left, 4)))
    if left > 4:
        b = np.uint32(b + _word(address + np.uint64(4), min(left - 4, 4)))
    if left > 8:
        c = np.uint32(c + _word(address + np.uint64(8), left - 8))
    return _final(a, b, c)
