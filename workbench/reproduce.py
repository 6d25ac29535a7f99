"""`workbench reproduce`: every figure of the gallery again, and whether what they claim holds."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import provenance
from workbench.experiments import gallery
from workbench.experiments.gallery import Claim, Exhibit
from workbench.plots import VENUES, style

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("pdf", "svg", "png", "pgf")


@dataclass(frozen=True)
class Report:
    """What was claimed, on which figure, by which number, and whether it holds."""

    claims: tuple[Claim, ...]
    captions: dict[str, str]
    files: tuple[Path, ...]
    seconds: float
    about: dict[str, object] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether every claim holds."""
        return all(claim.holds for claim in self.claims)

    def to_json(self) -> dict[str, object]:
        """The report as JSON values."""
        return {
            "ok": self.ok,
            "claims": [claim._asdict() for claim in self.claims],
            "captions": self.captions,
            "files": [path.name for path in self.files],
            "seconds": round(self.seconds, 1),
            "about": self.about,
        }

    def __str__(self) -> str:
        width = max(len(claim.text) for claim in self.claims)
        figure = max(len(claim.figure) for claim in self.claims)
        lines = [
            f"{'pass' if claim.holds else 'FAIL'}  {claim.text:<{width}}  {claim.figure:<{figure}}"
            f"  {claim.number}  ({claim.kind})"
            for claim in self.claims
        ]
        held = sum(claim.holds for claim in self.claims)
        where = self.files[0].parent if self.files else Path()
        said = provenance.describe(self.about)
        return "\n".join([
            *lines, "", f"{held} of {len(self.claims)} claims hold; {len(self.files)} files in "
            f"{where}; {self.seconds:.0f} s; {said}",
        ])  # fmt: skip


def reproduce(
    output: str | Path = "output/figures",
    quick: bool = True,
    venue: str = "usenix",
    span: int = 2,
    fresh: bool = False,
) -> Report:
    """Run the experiments of the gallery, or use what is kept of them; draw; judge the claims.

    Figures (PDF, SVG, PNG, PGF), their frames (Parquet), captions and report go to `output`; what
    was measured is kept there and used again, unless `fresh`. `quick` repeats less. Without a
    usable kernel its part is the recorded one, and says so. Raises WorkbenchError for an unknown
    venue before anything is run.
    """
    from tqdm import tqdm

    output, began = Path(output), time.perf_counter()
    with style(venue, span):
        pass  # refuse an unknown venue at once
    frames: dict[str, pd.DataFrame] = {}
    claims: list[Claim] = []
    captions: dict[str, str] = {}
    files: list[Path] = []
    kept = output / "kept"
    if fresh:
        forget(kept)
    with tqdm(gallery.EXHIBITS, delay=1, disable=None, leave=False) as progress:
        for one in progress:
            progress.set_description(f"reproduce: {one.title}")
            frame = one.run(gallery.effort(quick), kept, frames)
            frames[one.name] = frame
            claims += gallery.claims_of(one, frame, frames)
            captions[one.name] = _draw(one, frame, frames, output, (venue, span), files)
    report = Report(
        tuple(claims), captions, tuple(files), time.perf_counter() - began, provenance.provenance()
    )
    _write_down(report, output)
    return report


def forget(kept: Path) -> None:
    """Delete kept measurements, and nothing else."""
    for path in kept.glob("*.parquet"):
        path.unlink()


def _draw(
    one: Exhibit,
    frame: "pd.DataFrame",
    frames: "dict[str, pd.DataFrame]",
    output: Path,
    place: tuple[str, int],
    files: list[Path],
) -> str:
    """Save a figure in every format and its frame; returns the caption."""
    provenance.save(frame, output / f"{one.name}.parquet")
    with style(*place):
        figure = one.plot(frame, frames)
    for form in FORMATS:
        path = output / f"{one.name}.{form}"
        figure.savefig(path)
        files.append(path)
    return figure.workbench_caption


def _write_down(report: Report, output: Path) -> None:
    """Write the report as text and JSON, and the captions as LaTeX."""
    import json

    provenance.write_whole(output / "report.txt", f"{report}\n".encode())
    provenance.write_whole(output / "report.json", json.dumps(report.to_json(), indent=1).encode())
    captions = [f"% {name}\n\\caption{{{_tex(text)}}}\n" for name, text in report.captions.items()]
    provenance.write_whole(output / "captions.tex", "\n".join(captions).encode())


def _tex(text: str) -> str:
    """Escape what LaTeX takes for itself."""
    return "".join(f"\\{sign}" if sign in "%&_#$" else sign for sign in text)


__all__ = ["FORMATS", "VENUES", "Report", "reproduce"]
