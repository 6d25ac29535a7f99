"""PGF files without LaTeX: text is measured in the fonts at hand, and set by the paper's LaTeX."""

from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure

from workbench.errors import WorkbenchError
from workbench.files import write_whole

HEADER = r"""%% Include with \input{{{name}}}; needs \usepackage{{pgf}} (best with xelatex).
%% {title}
%% {keywords}
\begingroup
\makeatletter
\begin{{pgfpicture}}
\pgfpathrectangle{{\pgfpointorigin}}{{\pgfqpoint{{{width:f}in}}{{{height:f}in}}}}
\pgfusepath{{use as bounding box, clip}}
"""
FOOTER = "\\end{pgfpicture}\n\\makeatother\n\\endgroup\n"


class _Renderer(RendererPgf):
    """Writes PGF; asks no LaTeX process how wide words are."""

    def __init__(self, figure: Figure, file: Any) -> None:
        super().__init__(figure, file)
        width, height = figure.get_size_inches() * figure.dpi
        self._agg = RendererAgg(width, height, figure.dpi)

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return self._agg.get_text_width_height_descent(s, prop, ismath)

    def draw_image(self, *_: object, **__: object) -> None:
        raise WorkbenchError("PGF cannot hold this figure's pixels; save it as PDF")


class _Canvas(FigureCanvasBase):
    """The canvas of a figure that is written as PGF."""

    file: Any = None

    def get_renderer(self) -> _Renderer:
        return _Renderer(self.figure, self.file)


def write_pgf(figure: Figure, path: Path, title: str, keywords: str) -> None:
    """Write a figure as a PGF picture; raises WorkbenchError for one with raster images."""
    before = figure.canvas
    width, height = figure.get_size_inches()
    try:
        canvas = _Canvas(figure)
        canvas.file = StringIO()
        about = {"title": title.replace("\n", " "), "keywords": keywords, "name": path.name}
        canvas.file.write(HEADER.format(**about, width=width, height=height))
        figure.draw(canvas.get_renderer())
        canvas.file.write(FOOTER)
        write_whole(path, canvas.file.getvalue().encode())
    finally:
        figure.set_canvas(before)
