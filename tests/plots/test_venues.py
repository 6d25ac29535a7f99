"""Venues: widths, fonts that are accepted, files that are the same for the same data."""

import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from support.drawn import drawn
from support.paths import ROOT

from workbench import plots
from workbench.errors import SaveError, WorkbenchError
from workbench.experiments import kernel_costs, results, walk_costs
from workbench.plots import figure, pgf, venues

PLACES = [(venue, span) for venue in venues.VENUES for span in (1, 2)]


@pytest.mark.parametrize(("venue", "span"), PLACES)
def test_a_figure_has_its_venues_width_and_no_type_3_font(venue, span, tmp_path):
    path = tmp_path / "figure.pdf"
    drawn(venue, span).savefig(path)
    content = path.read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
    width, _ = map(float, re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", content).groups())
    assert width / 72 == pytest.approx(venues.VENUES[venue].widths[span - 1], abs=0.01)


def test_type_3_fonts_would_be_seen():
    frame = results.load("conversion_costs")
    found = BytesIO()
    picture = kernel_costs.plot(frame)
    with matplotlib.rc_context({"pdf.fonttype": 3}):
        super(plots.Figure, picture).savefig(found, format="pdf")
    assert b"/Type3" in found.getvalue()


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png", "pgf"])
def test_the_same_data_give_the_same_bytes(suffix, tmp_path):
    """Also in another process, hash seed, locale of the clock and order of creation."""
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    drawn().savefig(paths[0])
    code = f"""
import sys; sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT)!r}]
from support.drawn import drawn
drawn("ieee", 2)
drawn().savefig({str(paths[1])!r})
"""
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PATH": "", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    contents = [path.read_bytes().replace(path.name.encode(), b"") for path in paths]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png", "pgf"])
def test_what_was_drawn_before_does_not_matter(suffix, tmp_path):
    """Layouts depend on the one before: of a figure shown, saved as something else, saved again."""
    times, walks = (results.load(name) for name in ("conversion_overhead", "walk_costs"))
    with plots.style("usenix", 2):
        figures = [walk_costs.plot(walks, times) for _ in range(2)]
    path = tmp_path / f"figure.{suffix}"
    figures[0].savefig(path)
    fresh = path.read_bytes()
    figures[1]._repr_mimebundle_()
    figures[1].savefig(tmp_path / "other.png", dpi=50)
    for _ in range(2):
        figures[1].savefig(path)
        assert path.read_bytes() == fresh


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png", "pgf"])
def test_a_file_says_what_it_shows_and_where_from(suffix, tmp_path):
    frame = results.load("conversion_costs")
    path = tmp_path / f"figure.{suffix}"
    picture = drawn()
    picture.savefig(path)
    content = path.read_bytes()
    assert frame.attrs["provenance"]["commit"].encode() in content
    assert b"data sha256 " in content
    assert b"Cost of pointer conversion" in content
    other = tmp_path / f"other.{suffix}"
    with plots.style("usenix"):
        kernel_costs.plot(frame.assign(value=frame["value"] * 2), "recorded").savefig(other)
    digests = [re.search(rb"sha256 ([0-9a-f]{64})", p.read_bytes())[1] for p in (path, other)]
    assert digests[0] != digests[1]


def test_pgf_needs_no_latex(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "figure.pgf"
    drawn().savefig(path)
    text = path.read_text()
    assert text.count(r"\begin{pgfpicture}") == text.count(r"\end{pgfpicture}") == 1
    assert "cast" in text


def test_pgf_refuses_pixels(tmp_path):
    picture = plots.Figure()
    picture.subplots().imshow(np.eye(3))
    with pytest.raises(WorkbenchError, match="save it as PDF"):
        pgf.write_pgf(picture, tmp_path / "figure.pgf", "", "")


def test_a_figure_keeps_its_venue():
    inside = drawn("slides")
    sizes = {text.get_fontsize() for text in inside.axes[0].get_yticklabels()}
    assert sizes == {11}
    inside.savefig(BytesIO(), format="pdf")
    assert venues.place() == venues.Place()
    assert figure.page_width() == 7


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nature",), "no venue 'nature'; choose from usenix, acm, ieee, slides, dark"),
        (("acm", 3), "spans 1 or 2 columns, not 3"),
    ],
)
def test_unknown_places(arguments, reason):
    with pytest.raises(WorkbenchError, match=reason), plots.style(*arguments):
        pass


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_colours_stand_out_on_a_dark_ground():
    with figure.base_style(venues.Place(venues.VENUES["dark"], 1)):
        ground = luminance(matplotlib.rcParams["axes.facecolor"])
        for colour in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]:
            assert (luminance(colour) + 0.05) / (ground + 0.05) > 4.5


@pytest.mark.parametrize("suffix", ["pdf", "pgf"])
def test_a_failed_save_leaves_the_old_file(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"figure.{suffix}"
    drawn().savefig(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SaveError, match="No space"):
        drawn("acm").savefig(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_malformed_frames_are_refused():
    with pytest.raises(WorkbenchError, match=r"kernel_costs.* finds no column 'case' .*nonsense"):
        kernel_costs.plot(pd.DataFrame({"nonsense": [1]}))
