"""Where compiled code is kept: in a directory named by a hash of all sources it can depend on.

numba's own cache looks only at the file that defines a function, so a constant changed in
another module would give stale results.

Whoever can write a cache runs code as everyone who reads it. So one that others may write is not
read; one that belongs to root is read and not written.
"""

import functools
import hashlib
import os
import re
import shutil
import warnings
from contextlib import suppress
from pathlib import Path

import numba

from workbench.compiled.trust import distrust, other_writers
from workbench.errors import SaveError
from workbench.files import cache_root, write_whole

_COMPILED_SOURCES = (
    "compiled",
    "bpf/isa.py",
    "bpf/addresses.py",
    "bpf/functions.py",
    "bpf/helper_names.py",
    "bpf/map_types.py",
    "arena",
    "maps",
    "recording/columns.py",
    "engines/machine",
    "engines/interpreter",
    "engines/jit",
    "debugger/shadow.py",
    "examples/studies/native.py",
    "examples/studies/walks.py",
    "models/requests",
    "models/allocators",
    "models/faults",
    "models/conversion/walks.py",
)
_OWN = "bpf-arena-workbench"  # the subfolder in which all lies that is ours to remove
_NAME = re.compile(r"compiled-[0-9a-f]{16}")
_KEPT_CACHES = 6  # bounds the space: a full one has 40 MB; their number is not measured
_DIGEST = hashlib.sha256().digest_size
MARKER = "CACHEDIR.TAG"
"""The file that marks a directory as a cache: https://bford.info/cachedir/."""
_MARK = b"""\
Signature: 8a477f597d28d172789f06886806bc55
# Compiled code of bpf-arena-workbench, which removes this directory when it is old.
"""


def sources() -> list[Path]:
    """The files whose text names the cache: those that compiled code can depend on."""
    root = Path(__file__).parents[1]
    found: list[Path] = []
    for name in _COMPILED_SOURCES:
        path = root / name
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found


def cache_directory() -> Path | None:
    """Where compiled code is kept: below $WORKBENCH_CACHE, else the user's cache directory.

    None for a user without a home who names no directory either.
    """
    root = cache_root()
    if root is None:
        return None
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sources():
        digest.update(path.read_bytes())
    return root / _OWN / f"compiled-{digest.hexdigest()[:16]}"


class Folder:
    """A folder of the cache: bytes under names, each entry sealed by a digest of both.

    An entry that is damaged, or that others may write, is as good as none. Where nothing can be
    kept, nothing is.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @functools.cached_property
    def path(self) -> Path | None:
        """Where it is; None where nothing can be kept, or with a warning if others may write."""
        directory = cache_directory()
        if directory is None:
            return None
        folder = directory / self._name
        with suppress(OSError, SaveError):
            _open(directory)
            _make(folder)
        try:
            why = distrust(folder)
        except OSError:
            return None
        if why:
            warnings.warn(
                f"compiled code is not kept: {why}, who could run code as you; "
                "set WORKBENCH_CACHE to a directory that only you may write",
                RuntimeWarning,
                stacklevel=2,
            )
        return None if why else folder

    def load(self, name: str) -> bytes | None:
        """What was stored under a name; None if nothing was, or if it is damaged."""
        if self.path is None:
            return None
        try:
            with open(self.path / name, "rb") as file:
                if other_writers(os.fstat(file.fileno())):
                    return None
                content = file.read()
        except OSError:
            return None
        digest, kept = content[:_DIGEST], content[_DIGEST:]
        return kept if digest == _seal(name, kept) else None

    def store(self, name: str, content: bytes) -> None:
        """Keep an entry, in one step that no other process sees half done; or do without."""
        with suppress(OSError, SaveError):
            if self.path is not None and _own(self.path):
                sealed = _seal(name, content) + content
                write_whole(self.path / name, sealed, mode=0o644, sync=False)

    def drop_oldest(self, names: re.Pattern[str], most: int) -> None:
        """Remove the older half of the entries of such names when there are more than `most`."""
        with suppress(OSError):
            if self.path is None or not _own(self.path):
                return
            files = [file for file in self.path.iterdir() if names.fullmatch(file.name)]
            files.sort(key=lambda file: file.stat().st_mtime)
            for file in files[: most // 2] if len(files) >= most else ():
                file.unlink(missing_ok=True)


def _seal(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + content).digest()


def _own(path: Path) -> bool:
    """Whether a directory is the user's own; one of root's is only read."""
    return path.stat().st_uid == os.geteuid()


def _open(directory: Path) -> None:
    """Make and mark the directory of this version where there is none; then old ones go."""
    _make(directory)
    if _own(directory) and not any(directory.iterdir()):
        write_whole(directory / MARKER, _MARK, mode=0o644, sync=False)
        _drop_old(directory)


def _make(directory: Path) -> None:
    """Make a directory, and those above it, that nobody else may write, whatever the umask is."""
    for place in (*reversed(directory.parents), directory):
        if not place.is_dir():
            place.mkdir(0o755, exist_ok=True)


def _drop_old(current: Path) -> None:
    """Keep the directories of the few newest source versions."""
    others = [path for path in current.parent.iterdir() if path != current and _ours(path)]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[_KEPT_CACHES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def _ours(path: Path) -> bool:
    """Whether we made this directory: it has our form of name and our marker."""
    marker = path / MARKER
    named = _NAME.fullmatch(path.name) is not None and not path.is_symlink()
    return named and marker.is_file() and marker.read_bytes() == _MARK
