"""Where compiled code is kept: in a directory named by a hash of all sources it can depend on.

numba's own cache looks only at the file that defines a function, so a constant changed in
another module would give stale results.
"""

import hashlib
import os
import shutil
from pathlib import Path

import numba

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
_KEPT_CACHES = 6  # bounds the space: a full one has 40 MB; their number is not measured


def sources() -> list[Path]:
    """The files whose text names the cache: those that compiled code can depend on."""
    root = Path(__file__).parents[1]
    found: list[Path] = []
    for name in _COMPILED_SOURCES:
        path = root / name
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return found


def cache_directory() -> Path:
    """Where compiled code is kept: below $WORKBENCH_CACHE, else the user's cache directory."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bpf-arena-workbench"
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sources():
        digest.update(path.read_bytes())
    return Path(os.environ.get("WORKBENCH_CACHE", default)) / digest.hexdigest()[:16]


def drop_old_caches(current: Path) -> None:
    """Delete the caches beside `current` but those of the few newest source versions."""
    others = [path for path in current.parent.glob("????????????????") if path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[_KEPT_CACHES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
