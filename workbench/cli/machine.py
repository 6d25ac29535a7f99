"""Commands about this machine: doctor, demo, bench, lab."""

import json
import os
import sys
from importlib import util
from pathlib import Path

import click

from workbench.cli.options import announce_compilation, json_option
from workbench.errors import WorkbenchError


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what works here, and the cure for what does not."""
    from workbench.doctor import doctor as examine
    from workbench.doctor import report, to_json

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
    from workbench.demo import demo as demonstrate

    announce_compilation()
    report = demonstrate(output)
    click.echo(json.dumps(report.to_json()) if as_json else str(report))
    return int(not report.ok)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer and shorter runs: a look, no measurement.")
@json_option
def bench(quick: bool, as_json: bool) -> None:
    """Measure this machine: engines, pages, starting up."""
    from workbench.bench import bench as measure

    announce_compilation()
    report = measure(quick)
    click.echo(json.dumps(report.to_json()) if as_json else str(report))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> None:
    """Open JupyterLab on the notebooks.

    ARGUMENTS are passed on to it.
    """
    if util.find_spec("jupyterlab") is None:
        raise WorkbenchError("JupyterLab is not installed; pip install jupyterlab")
    notebooks = Path(__file__).resolve().parents[2] / "notebooks"
    command = [sys.executable, "-m", "jupyterlab", str(notebooks if notebooks.is_dir() else ".")]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if sys.platform == "linux" and not (os.getenv("DISPLAY") or os.getenv("WAYLAND_DISPLAY")):
        command.append("--no-browser")
    os.execv(sys.executable, [*command, *arguments])
