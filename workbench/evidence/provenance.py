"""Where a result comes from: machine, versions, commit and moment, kept in the result's own file.

A tidy DataFrame is saved as Parquet with its provenance inside (`frame.attrs["provenance"]`), so
that neither can be lost without the other. Host, user and directory names are never part of it.
"""

import hashlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench import moved
from workbench.errors import WorkbenchError
from workbench.evidence.places import CHECKOUT
from workbench.files import replacing

if TYPE_CHECKING:
    import pandas as pd

KEY = "provenance"
SCHEMA = 1
"""Version of the form that results are kept in; a file without one has this."""
PACKAGES = ("bpf-arena-workbench", "numpy", "pandas", "numba", "llvmlite", "scipy", "matplotlib")
TEXT_ROWS = 100_000  # of eight columns: text takes 3.5 s to hash, bytes of twice as many 0.04 s


def provenance() -> dict[str, object]:
    """Describe this machine, these versions and this moment as JSON values.

    `commit` and `dirty` (are tracked files changed?) are None outside a git checkout; a package
    that is not installed has version None.
    """
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "HEAD") or None,
        "dirty": _dirty(),
    }


def describe(about: dict[str, object]) -> str:
    """Say in a few words where a result comes from: kernel, processor and day."""
    return f"{about['kernel']}, {about['cpu']}, {str(about['date'])[:10]}"


def note(frame: "pd.DataFrame") -> str:
    """Provenance in one line, to stand below a table or figure; "" for a frame that has none."""
    about = frame.attrs.get(KEY)
    if not about:
        return ""
    commit = f"commit {str(about['commit'])[:12]}{', changed' if about['dirty'] else ''}"
    parameters = frame.attrs.get("parameters", {})
    settings = [f"{name} {value}" for name, value in parameters.items() if not _nested(value)]
    settings += [f"seed {frame.attrs['seed']}"] if "seed" in frame.attrs else []
    return "; ".join([
        describe(about), commit, *([", ".join(settings)] if settings else []),
        f"data sha256 {content_hash(frame)[:12]}",
    ])  # fmt: skip


def _nested(value: object) -> bool:
    return isinstance(value, dict | list)


def save(frame: "pd.DataFrame", path: str | Path) -> Path:
    """Write a frame with its provenance as Parquet; readers see the old file or the new one.

    A frame that has no provenance yet gets that of this moment; other `attrs` must be JSON values.
    The file also holds the version of its form, and a hash of its content, which `load` checks.
    Raises SaveError where it cannot be written.
    """
    path = Path(path)
    kept = frame.copy(deep=False)
    about = {"schema": SCHEMA, "sha256": content_hash(frame)}
    kept.attrs = {KEY: provenance(), **frame.attrs, **about}
    with replacing(path) as temporary:
        kept.to_parquet(temporary)
    return path


def load(path: str | Path) -> "pd.DataFrame":
    """Read a frame that `save` wrote; raises WorkbenchError for other and for damaged files."""
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise WorkbenchError(f"{path} cannot be read as a result: {error}") from None
    if KEY not in frame.attrs:
        raise WorkbenchError(f"{path} does not say where it comes from")
    if (schema := frame.attrs.get("schema", SCHEMA)) != SCHEMA:
        raise WorkbenchError(
            f"{path} has a result in form {schema}; this version reads form {SCHEMA}: measure anew"
        )
    if frame.attrs.get("sha256") not in (None, content_hash(frame)):
        raise WorkbenchError(f"{path} has changed since it was written: its hash does not fit")
    return frame


def content_hash(frame: "pd.DataFrame") -> str:
    """SHA-256 of a frame's rows and columns, which saving and reading does not change.

    Of their text; of more than TEXT_ROWS rows of the columns' bytes.
    """
    import pyarrow

    if len(frame) > TEXT_ROWS:
        return _hash_of_bytes(frame)
    frame = pyarrow.Table.from_pandas(frame).to_pandas()  # None and numbers become NaN and floats
    return hashlib.sha256(frame.to_csv(lineterminator="\n").encode()).hexdigest()


def _hash_of_bytes(frame: "pd.DataFrame") -> str:
    """SHA-256 of a long frame: names, types and values, of categories and their codes."""
    digest = hashlib.sha256()
    for name, column in frame.items():
        values = column.array
        if hasattr(values, "codes"):
            digest.update(" ".join(map(str, values.categories)).encode())
            values = values.codes
        plain = np.asarray(values)
        words = plain if plain.dtype.kind in "iufb" else plain.astype(str)
        digest.update(f"{name} {words.dtype}".encode())
        digest.update(np.ascontiguousarray(words).data)
    return digest.hexdigest()


def cpu_model() -> str:
    """The processor's name as the kernel or the platform gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _dirty() -> bool | None:
    status = _git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def _git(*words: str) -> str | None:
    """Ask git about the checkout that this package is part of; None where it is in none."""
    if not (CHECKOUT / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(CHECKOUT), *words],
            capture_output=True,
            text=True,
            timeout=20,  # bounds a git that waits for a lock or a disk; not measured
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()


__getattr__ = moved.parts(__name__)
