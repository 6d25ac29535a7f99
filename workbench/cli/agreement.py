"""`workbench agreement`: does our verifier decide, and say, what Linux's does?"""

import click

from workbench.errors import WorkbenchError


@click.command()
@click.option("--count", default=20_000, show_default=True, help="Changed programs to judge.")
@click.option("--seed", default=1, show_default=True, help="Names the set of programs.")
@click.option("--smallest", default=0, metavar="N", help="Make the N commonest differences small.")
@click.option("--logs", "with_logs", is_flag=True, help="Compare logs instead of verdicts.")
@click.option("--record", is_flag=True, help="Keep the result in data/results.")
def agreement(count: int, seed: int, smallest: int, with_logs: bool, record: bool) -> None:
    """Compare our verifier with Linux's on thousands of programs.

    The programs are those of data/ and small ones for each feature of the verifier, changed at
    random. With --logs, accepted programs' logs of level 2 are compared value by value.
    \f

    Raises WorkbenchError where nothing was judged, KernelError where Linux cannot be asked.
    """
    from workbench.evidence.provenance import save
    from workbench.experiments import log_agreement, verdicts

    frame = log_agreement.run() if with_logs else verdicts.run(count, seed)
    if frame.empty:
        raise WorkbenchError("nothing was judged")
    if with_logs:
        log_agreement.report(frame, click.echo)
    else:
        verdicts.report(frame, smallest, click.echo)
    if record:
        from workbench.experiments.results import directory

        name = "log_agreement" if with_logs else "verdicts"
        click.echo(f"recorded as {save(frame, directory() / f'{name}.parquet')}")
