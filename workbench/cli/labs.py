"""workbench labs: list, build and check the labs of the course."""

from pathlib import Path

import click

from workbench.labs.source import FORMATS

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def labs() -> None:
    """Build and check the labs of a course on arenas."""


@labs.command("list")
def list_labs() -> None:
    """List the labs with their time and points."""
    from workbench.labs import source

    for lab in source.labs():
        click.echo(f"{lab.name:32} {lab.minutes} minutes  {lab.points:2} points  {lab.title}")


@labs.command()
@click.argument("names", nargs=-1)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    default="plain",
    show_default=True,
    help="Whom they are for: nobody but students, or a grader.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for them  [default: output/labs/FORMAT]",
)
def build(names: tuple[str, ...], format: str, output: Path | None) -> None:
    """Write the notebooks of the labs.

    All of them, or those of NAMES (a lab's name or number).
    """
    from workbench.labs import source
    from workbench.labs.build import build as write

    chosen = [source.lab(name) for name in names] or source.labs()
    for lab in chosen:
        for path in write(lab, format, output or Path("output/labs") / format):
            click.echo(path)


@labs.command()
@click.argument("notebook", type=_FILE)
@click.option("--seconds", default=60, show_default=True, help="What one cell may take.")
def check(notebook: Path, seconds: int) -> None:
    """Run a student's NOTEBOOK and say which checks hold.

    Exit status 1 if one does not.
    \f

    Raises SystemExit with that status.
    """
    from workbench.labs.check import check_notebook

    marks = check_notebook(notebook, seconds)
    for mark in marks:
        click.echo(f"{'ok   ' if mark.passed else 'not yet'} {mark.task}".ljust(28) + mark.message)
    done = sum(mark.passed for mark in marks)
    click.echo(f"{done} of {len(marks)} checks hold")
    if done < len(marks):
        raise SystemExit(1)


@labs.command()
@click.argument("notebooks", nargs=-1, required=True, type=_FILE)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for the copies.",
)
@click.option("--seconds", default=60, show_default=True, help="What one cell may take.")
def guard(notebooks: tuple[Path, ...], output: Path, seconds: int) -> None:
    """Copy submissions without the answers that never end or crash.

    The copies lie in OUTPUT, for a grader; such an answer raises what was wrong with it instead.
    """
    from workbench.labs.check import guard as copy

    for notebook in notebooks:
        found = copy(notebook, output, seconds)
        click.echo(output / notebook.name)
        for task, message in found.items():
            click.echo(f"  {task}: {message}")


@labs.command()
def guide() -> None:
    """Print the instructor's page.

    Times, goals, rubrics, common mistakes, and how to grade.
    """
    from workbench.labs import source
    from workbench.labs.guide import guide as page

    click.echo(page(source.labs()), nl=False)
