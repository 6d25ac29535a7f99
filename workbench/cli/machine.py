"""Commands about this machine: doctor, demo, bench, reproduce, lab."""

import json
import os
import sys
from importlib import util
from pathlib import Path

import click

from workbench.cli.options import announce_compilation, json_option
from workbench.errors import WorkbenchError
from workbench.evidence import places


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what works here, and the cure for what does not."""
    from workbench.cli.doctor import doctor as examine
    from workbench.cli.doctor import report, to_json

    checks = examine()
    if as_json:
        found = {"ok": all(check.ok for check in checks), "checks": to_json(checks)}
        click.echo(json.dumps(found))
    else:
        click.echo(report(checks))


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("output"),
    show_default=True,
    help="Directory for the page, the figures and the tables.",
)
@json_option
def demo(output: Path, as_json: bool) -> int:
    """Run the examples; write demo.html, figures, tables."""
    from workbench.cli.demo import demo as demonstrate

    announce_compilation()
    report = demonstrate(output)
    click.echo(json.dumps(report.to_json()) if as_json else str(report))
    return int(not report.ok)


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File for the costs (Parquet); default: where views look for them.",
)
@json_option
def calibrate(output: Path | None, as_json: bool) -> None:
    """Measure what a step and a page fault cost here.

    The costs are kept for time axes of emulated runs.

    \f
    Raises WorkbenchError where there is no home directory to keep them in, and no --output.
    """
    from workbench.evidence import provenance
    from workbench.experiments import calibration

    place = output or calibration.kept()
    if place is None:
        raise WorkbenchError("you have no home directory; say with --output where to keep costs")
    found = calibration.run()
    found.attrs[provenance.KEY] = provenance.provenance()
    path = provenance.save(found, place)
    if as_json:
        costs = found.to_dict("records")
        click.echo(json.dumps({"costs": costs, "about": found.attrs[provenance.KEY]}))
    else:
        click.echo(found.round(2).to_string(index=False))
        click.echo(
            f"measured on {provenance.describe(found.attrs[provenance.KEY])}; kept in {path}"
        )


@click.command()
@click.option("--quick", is_flag=True, help="Fewer and shorter runs: a look, no measurement.")
@json_option
def bench(quick: bool, as_json: bool) -> None:
    """Measure this machine: engines, pages, starting up."""
    from workbench.experiments.bench import bench as measure

    announce_compilation()
    report = measure(quick)
    click.echo(json.dumps(report.to_json()) if as_json else str(report))


@click.command()
@click.option("--quick/--full", default=True, help="Few repetitions, minutes; or many, an hour.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("output/figures"),
    show_default=True,
    help="Directory for figures, tables and report.",
)
@click.option(
    "--venue", default="usenix", show_default=True, help="usenix, acm, ieee, slides, dark."
)
@click.option("--span", type=click.IntRange(1, 2), default=2, show_default=True, help="Columns.")
@click.option("--fresh", is_flag=True, help="Measure anew what an earlier run has kept.")
@json_option
def reproduce(quick: bool, output: Path, venue: str, span: int, fresh: bool, as_json: bool) -> int:
    """Redraw every figure; say which claims hold."""
    from workbench.experiments.reproduce import reproduce as redo

    announce_compilation()
    report = redo(output, quick, venue, span, fresh)
    click.echo(json.dumps(report.to_json()) if as_json else str(report))
    return int(not report.ok)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> None:
    """Open JupyterLab on the notebooks.

    ARGUMENTS are passed on to it.
    \f

    Raises WorkbenchError where JupyterLab is not installed.
    """
    if util.find_spec("jupyterlab") is None:
        raise WorkbenchError("JupyterLab is not installed; pip install jupyterlab")
    notebooks = places.CHECKOUT / "notebooks"
    command = [sys.executable, "-m", "jupyterlab", str(notebooks if notebooks.is_dir() else ".")]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if sys.platform == "linux" and not (os.getenv("DISPLAY") or os.getenv("WAYLAND_DISPLAY")):
        command.append("--no-browser")
    os.execv(sys.executable, [*command, *arguments])
