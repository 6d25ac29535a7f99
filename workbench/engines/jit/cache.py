"""Machine code kept on disk, named by everything that it depends on.

Each file is a SHA-256 digest of what follows, then an object file; one that does not fit its
digest is as good as none.
"""

import functools
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import llvmlite

from workbench.compiled.cache import cache_directory

_DIGEST = hashlib.sha256().digest_size
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
    try:
        content = (_directory() / name).read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if _seal(name, code) == digest else None


def store(name: str, code: bytes) -> None:
    """Keep an object file, in one step that no other process sees half done; or do without."""
    with suppress(OSError):
        directory = _directory()
        directory.mkdir(parents=True, exist_ok=True)
        if name.startswith("00"):  # looking through them all takes longer than storing one
            _drop_oldest(directory)
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
            file.write(_seal(name, code) + code)
        os.replace(file.name, directory / name)


@functools.cache
def _directory() -> Path:
    """Below the directory that is named by the package's sources."""
    return cache_directory() / "jit"


def _seal(name: str, code: bytes) -> bytes:
    return hashlib.sha256(name.encode() + code).digest()


def _drop_oldest(directory: Path) -> None:
    files = list(directory.iterdir())
    if len(files) >= _MOST:
        files.sort(key=lambda file: file.stat().st_mtime)
        for file in files[: _MOST // 2]:
            file.unlink(missing_ok=True)
