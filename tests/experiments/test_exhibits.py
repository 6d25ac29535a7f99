"""A module that declares an exhibit is in the gallery, once and under a name of its own."""

import re
from pathlib import Path

from workbench.experiments import gallery

FOLDER = Path(gallery.__file__).parent


def test_the_gallery_has_every_exhibit() -> None:
    declared = [
        path.stem
        for path in sorted(FOLDER.glob("*.py"))
        if re.search(r"^EXHIBIT = ", path.read_text(), re.MULTILINE)
    ]
    collected = [one.run.__module__.rpartition(".")[2] for one in gallery.EXHIBITS]
    assert sorted(collected) == declared
    names = [one.name for one in gallery.EXHIBITS]
    assert len(names) == len(set(names))
