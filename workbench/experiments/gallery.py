"""The gallery: every figure, the experiment behind it, and the claims that it is to prove.

A module that measures declares its `EXHIBIT`; this one collects them. Experiments measure here;
what needs a kernel that does not let us in comes from the recorded results, and says so.
"""

from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.evidence import measurement, provenance
from workbench.experiments import (
    arena_creation,
    batch_costs,
    conversion_overhead,
    engine_speed,
    fragmentation_versions,
    repetition,
    touch_costs,
    walk_costs,
)
from workbench.experiments.exhibit import Claim, Exhibit
from workbench.experiments.repetition import Effort

if TYPE_CHECKING:
    import pandas as pd


EXHIBITS: tuple[Exhibit, ...] = tuple(
    module.EXHIBIT
    for module in (
        conversion_overhead,
        walk_costs,
        touch_costs,
        batch_costs,
        fragmentation_versions,
        engine_speed,
        arena_creation,
    )
)
"""In the order of running: `walk_costs` reads what `conversion_overhead` measured."""


def exhibit(name: str) -> Exhibit:
    """The exhibit called so; raises WorkbenchError with the names there are."""
    found = {one.name: one for one in EXHIBITS}
    if name not in found:
        raise WorkbenchError(f"no figure '{name}' in the gallery; there are {', '.join(found)}")
    return found[name]


def effort(quick: bool) -> Effort:
    """How often `quick` and full runs repeat."""
    return repetition.QUICK if quick else repetition.FULL


def claims_of(
    one: Exhibit, frame: "pd.DataFrame", earlier: "dict[str, pd.DataFrame]"
) -> list[Claim]:
    """The exhibit's claims, judged on a frame."""
    read = frame[frame["engine"] == one.judged] if one.judged else frame
    kinds = " and ".join(dict.fromkeys(read["kind"]))
    return [Claim(one.name, *claim, kinds) for claim in one.claims(frame, earlier)]


def noise(one: Exhibit, frame: "pd.DataFrame") -> str:
    """Which of the exhibit's measurements was too noisy, if any; "" if none was."""
    here = frame[frame["kind"] == "measured"]
    return measurement.warning(here, list(one.cells)) if one.cells and len(here) else ""


def sources(one: Exhibit, frame: "pd.DataFrame") -> str:
    """Where the exhibit's numbers come from: model, measured or recorded, and on which machine."""
    if "host" in frame:
        return repetition.label(frame)
    about = frame.attrs.get(provenance.KEY) or provenance.provenance()
    return f"{frame['kind'].iloc[0]} ({provenance.describe(about)})"
