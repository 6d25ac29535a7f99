"""Machine code of this computer as text."""

import platform
from typing import TYPE_CHECKING

from workbench.errors import Unsupported

if TYPE_CHECKING:
    import capstone


def disassembler() -> "capstone.Cs":
    """A disassembler for this machine's processor.

    Raises Unsupported without capstone, and for processors other than x86-64 and arm64.
    """
    try:
        import capstone
    except ImportError:
        raise Unsupported(
            "machine code is disassembled with capstone; pip install capstone"
        ) from None
    modes = {
        "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
        "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    }
    if platform.machine() not in modes:
        raise Unsupported(f"machine code of {platform.machine()} is not disassembled here")
    return capstone.Cs(*modes[platform.machine()])
