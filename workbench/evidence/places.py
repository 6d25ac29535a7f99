"""Where the project's own files lie: in a source checkout, else where the wheel has put them."""

import sysconfig
from pathlib import Path

from workbench.errors import WorkbenchError

CHECKOUT = Path(__file__).resolve().parents[2]
"""The directory that holds the package: of a checkout, the one with `data` and `notebooks`."""
INSTALLED = "share/bpf-arena-workbench"  # pyproject.toml puts the folders of `data` there


def data(folder: str) -> Path:
    """Find a folder of `data/`, "programs" or "results"; raises WorkbenchError without it."""
    schemes = sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")
    places = [CHECKOUT / "data" / folder]
    places += [Path(sysconfig.get_path("data", scheme)) / INSTALLED / folder for scheme in schemes]
    for place in places:
        if place.is_dir():
            return place
    raise WorkbenchError(f"the {folder} are not in {', '.join(map(str, places))}")
