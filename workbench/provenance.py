"""Where a result comes from: machine, versions, commit and moment, kept in the result's own file.

A tidy DataFrame is saved as Parquet with its provenance inside (`frame.attrs["provenance"]`), so
that neither can be lost without the other. Host, user and directory names are never part of it.
"""

import os
import platform
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import pandas as pd

KEY = "provenance"
PACKAGES = ("bpf-arena-workbench", "numpy", "pandas", "numba", "llvmlite", "scipy", "matplotlib")
ROOT = Path(__file__).resolve().parents[1]


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


def save(frame: "pd.DataFrame", path: str | Path) -> Path:
    """Write a frame with its provenance as Parquet; readers see the old file or the new one.

    A frame that has no provenance yet gets that of this moment; other `attrs` must be JSON values.
    """
    path = Path(path)
    kept = frame.copy(deep=False)
    kept.attrs = {KEY: provenance(), **frame.attrs}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".parquet")
    os.close(handle)
    temporary = Path(name)
    try:
        kept.to_parquet(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load(path: str | Path) -> "pd.DataFrame":
    """Read a frame that `save` wrote; raises WorkbenchError for any other file."""
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise WorkbenchError(f"{path} cannot be read as a result: {error}") from None
    if KEY not in frame.attrs:
        raise WorkbenchError(f"{path} does not say where it comes from")
    return frame


def cpu_model() -> str:
    """Return the processor's name as the kernel or the platform tells it."""
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
    if not (ROOT / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
