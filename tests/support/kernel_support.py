"""What the kernel's tests share: the marks, and a count of what the process holds."""

import os
from pathlib import Path

import pytest

from support.bpf_probe import refusal

REASON = refusal()
KERNEL = [pytest.mark.kernel, pytest.mark.skipif(bool(REASON), reason=REASON or "bpf(2) works")]


def held() -> tuple[int, int]:
    """Open file descriptors, and mappings of kernel objects (arenas, scratch arrays, rings)."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    kernel = [line for line in maps if "anon_inode" in line or "bpf" in line]
    return len(os.listdir("/proc/self/fd")), len(kernel)
