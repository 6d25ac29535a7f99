"""Machine code kept on disk, named by everything that it depends on."""

import hashlib
import re

import llvmlite

from workbench.compiled.cache import Folder

FOLDER = Folder("jit")
_NAMES = re.compile(r"\.?[0-9a-f]{64}(-[0-9a-f]{16}\.part)?")  # and what a killed process left
_MOST = 2000  # files of some kilobytes each: bounds the disk; not measured. The oldest go first


def key(*parts: object) -> str:
    """A name for what is made of these parts by this version of the package and of LLVM."""
    digest = hashlib.sha256(llvmlite.__version__.encode())
    for part in parts:
        piece = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def load(name: str) -> bytes | None:
    """What was stored under a name; None if nothing was, or if it is damaged."""
    return FOLDER.load(name)


def store(name: str, code: bytes) -> None:
    """Keep an object file, in one step that no other process sees half done; or do without."""
    if name.startswith("00"):  # looking through them all takes longer than storing one
        FOLDER.drop_oldest(_NAMES, _MOST)
    FOLDER.store(name, code)
