"""The program as the engines run it, after what the verifier found out (Linux: xlated).

Accesses through arena pointers become their ARENA_ twins, 64-bit arithmetic on arena pointers
becomes 32-bit arithmetic, `cast_kern` and (under NO_USER_CONV) `cast_user` become 32-bit moves.
Source: do_misc_fixups and convert_ctx_accesses in kernel/bpf/verifier.c.
"""

from collections.abc import Iterable

import numpy as np

from workbench.bpf import isa
from workbench.bpf.isa import Op

NO_USER_CONV = 1 << 18
"""BPF_F_NO_USER_CONV of include/uapi/linux/bpf.h."""

_TO_32_BITS = Op.ADD32 - Op.ADD64


def rewrite(
    records: np.ndarray,
    accesses: Iterable[int],
    arithmetic: Iterable[int],
    loops: Iterable[int],
    flags: int,
) -> np.ndarray:
    """Return rewritten INSTRUCTION records, read-only.

    `accesses` are the slots of memory accesses that only ever use arena pointers, `arithmetic`
    those of 64-bit operations that ever see one, `loops` the calls of bpf_loop that Linux writes
    out in place; `flags` are the arena's.
    """
    xlated = records.copy()
    xlated["op"][list(accesses)] += isa.ARENA_SHIFT
    xlated["op"][list(arithmetic)] += _TO_32_BITS
    xlated["off"][list(loops)] = isa.INLINED
    casts = xlated["op"] == Op.CAST_KERN
    if flags & NO_USER_CONV:
        casts |= xlated["op"] == Op.CAST_USER
    xlated["op"][casts] = Op.MOV32
    xlated.setflags(write=False)
    return xlated
