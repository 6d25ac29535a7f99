"""`workbench reproduce`: every figure of the gallery again, and whether what they claim holds."""

import json
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import SaveError, WorkbenchError
from workbench.evidence import provenance
from workbench.experiments import gallery
from workbench.experiments.exhibit import Claim, Exhibit
from workbench.experiments.sweep import kept_in
from workbench.files import write_whole
from workbench.plots import VENUES, style
from workbench.widgets.progress import bar

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("pdf", "svg", "png", "pgf")


@dataclass(frozen=True)
class Report:
    """What was claimed, on which figure, by which number, and whether it holds."""

    claims: tuple[Claim, ...]
    captions: dict[str, str]
    files: tuple[Path, ...]
    notes: tuple[str, ...]
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
            "notes": list(self.notes),
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
            *lines, "", *self.notes, "",
            f"{held} of {len(self.claims)} claims hold; {len(self.files)} files in {where}; "
            f"{self.seconds:.0f} s; {said}",
        ])  # fmt: skip


def reproduce(
    output: str | Path = "output/figures",
    quick: bool = True,
    venue: str = "usenix",
    span: int = 2,
    fresh: bool = False,
) -> Report:
    """Run the experiments of the gallery, or use what is kept of them; draw; judge the claims.

    Figures (PDF, SVG, PNG, PGF), their frames (Parquet) and provenance (JSON), tables, captions
    and report go to `output`; what was measured is kept there and used again, unless `fresh`.
    `quick` repeats less. Without a usable kernel its part is the recorded one, and says so. Raises
    WorkbenchError for an unknown venue before anything is run, and for a full disk.
    """
    output = Path(output)
    with style(venue, span):
        pass  # refuse an unknown venue at once
    if fresh:
        forget(output / "kept")
    try:
        return _reproduce(output, quick, (venue, span))
    except SaveError as error:
        raise WorkbenchError(
            f"{error}; what was measured so far is safe in {output / 'kept'}, and used when you "
            "run again"
        ) from None


def _reproduce(output: Path, quick: bool, place: tuple[str, int]) -> Report:
    """Run, judge, draw and write down, one exhibit after another."""
    began = time.perf_counter()
    frames: dict[str, pd.DataFrame] = {}
    claims: list[Claim] = []
    captions: dict[str, str] = {}
    files: list[Path] = []
    notes: list[str] = []
    with bar("reproduce", gallery.EXHIBITS) as progress:
        for one in progress:
            progress.set_description(f"reproduce: {one.title}")
            frame = one.run(gallery.effort(quick), output / "kept", frames)
            frames[one.name] = frame
            claims += gallery.claims_of(one, frame, frames)
            captions[one.name] = _draw(one, frame, frames, output, place, files)
            _tabulate(one, frame, frames, output)
            said = gallery.sources(one, frame), gallery.noise(one, frame)
            notes += [f"{one.name}: {part}" for part in said if part]
    report = Report(
        tuple(claims), captions, tuple(files), tuple(notes),
        time.perf_counter() - began, provenance.provenance(),
    )  # fmt: skip
    _write_down(report, output)
    return report


def forget(kept: Path) -> None:
    """Delete kept measurements, and nothing else."""
    for path in kept_in(kept):
        path.unlink()


def _draw(
    one: Exhibit,
    frame: "pd.DataFrame",
    frames: "dict[str, pd.DataFrame]",
    output: Path,
    place: tuple[str, int],
    files: list[Path],
) -> str:
    """Save a figure in every format, its frame, and where both come from; returns the caption."""
    data = provenance.save(frame, output / f"{one.name}.parquet")
    with style(*place):
        figure = one.plot(frame, frames)
    paths = [output / f"{one.name}.{form}" for form in FORMATS]
    for path in paths:
        figure.savefig(path)
    files += paths
    about = {
        "caption": figure.workbench_caption, "alt": figure.workbench_alt,
        "sources": gallery.sources(one, frame),
        "parameters": frame.attrs.get("parameters"), "seed": frame.attrs.get("seed"),
        provenance.KEY: frame.attrs.get(provenance.KEY) or provenance.provenance(),
        "inputs": {data.name: provenance.content_hash(frame)},
        "outputs": {path.name: sha256(path.read_bytes()).hexdigest() for path in paths},
    }  # fmt: skip
    _write_json(output / f"{one.name}.json", about)
    return figure.workbench_caption


def _tabulate(
    one: Exhibit, frame: "pd.DataFrame", frames: "dict[str, pd.DataFrame]", output: Path
) -> None:
    """Write the exhibit's tables as text, and as CSV; below each stands where it comes from."""
    below = f"{gallery.sources(one, frame)}\n{provenance.note(frame)}\n"
    for name, table in one.tables(frame, frames).items():
        text = table if isinstance(table, str) else table.to_string()
        write_whole(output / f"{name}.txt", f"{text}\n\n{below}")
        if not isinstance(table, str):
            write_whole(output / f"{name}.csv", table.to_csv())


def _write_down(report: Report, output: Path) -> None:
    """Write the report as text and JSON, and the captions as LaTeX."""
    write_whole(output / "report.txt", f"{report}\n")
    _write_json(output / "report.json", report.to_json())
    captions = [f"% {name}\n\\caption{{{_tex(text)}}}\n" for name, text in report.captions.items()]
    write_whole(output / "captions.tex", "\n".join(captions))


def _write_json(path: Path, content: dict[str, object]) -> None:
    write_whole(path, json.dumps(content, indent=1))


def _tex(text: str) -> str:
    """Escape what LaTeX takes for itself."""
    return "".join(f"\\{sign}" if sign in "%&_#$" else sign for sign in text)


__all__ = ["FORMATS", "VENUES", "Report", "reproduce"]
