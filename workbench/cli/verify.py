"""`workbench verify`: is a program accepted, by our verifier or Linux's, and why not."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.bpf.releases import DEFAULT, RELEASES
from workbench.cli.options import (
    arena_flags,
    complain,
    engine_option,
    flag_option,
    json_option,
    names_option,
    place,
    read,
    type_option,
)
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.bpf.program import Program
    from workbench.engines.kernel import Verdict
    from workbench.verifier import Report
    from workbench.verifier.log.view import VerifierLog

    AnyReport = Report | Verdict

BUSIEST = 5  # instructions named in the summary of a log


@click.command()
@click.argument("file", metavar="[FILE]", required=False)
@names_option
@engine_option
@flag_option
@type_option
@click.option("--log", "with_log", is_flag=True, help="Print all that the verifier said.")
@click.option(
    "--log-level",
    "level",
    type=click.IntRange(1, 2),
    help="Print the log: 1 the last path, 2 every path and state.",
)
@click.option(
    "--release",
    type=click.Choice(list(RELEASES)),
    default=DEFAULT.name,
    show_default=True,
    help="The Linux whose rules the workbench's verifier follows.",
)
@click.option("--profile", type=click.Choice(list(RELEASES)), hidden=True, help="Now --release.")
@click.option("--kernel", is_flag=True, help="Ask Linux, and print its log.")
@click.option("--explain", "explained", is_flag=True, help="Say in plain words why not.")
@click.option(
    "--kernel-log",
    "pasted",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Read a verifier log of any Linux instead; - is standard input.",
)
@json_option
def verify(
    file: str | None,
    names: tuple[str, ...],
    engine: str,
    flags: tuple[str, ...],
    kind: str | None,
    with_log: bool,
    level: int | None,
    release: str,
    profile: str | None,
    kernel: bool,
    explained: bool,
    pasted: Path | None,
    as_json: bool,
) -> int:
    """Verify the programs of FILE without running them.

    --program chooses some of them, --engine the verifier: the workbench's own (interpreter, jit) or
    that of Linux (kernel). With --kernel-log, no program is needed: a log is read and explained.
    \f

    Raises click.UsageError unless there is either a FILE or a log.
    """
    if pasted is not None:
        if file is not None:
            raise click.UsageError("give FILE or --kernel-log FILE, not both")
        return _show_pasted(pasted, as_json)
    if file is None:
        raise click.UsageError("give a FILE with programs, or --kernel-log FILE with a log")
    engine = "kernel" if kernel else engine
    programs, number = read(file, names, kind), arena_flags(flags)
    judged = [
        (program, _judge(engine, program, number, level or 1, profile or release))
        for program in programs
    ]
    accepted = all(report.ok for _, report in judged)
    if as_json:
        rows = [_row(engine, program, report) for program, report in judged]
        click.echo(json.dumps({"ok": accepted, "programs": rows}))
    for program, report in judged:
        if not as_json:
            _show(program, report, with_log or kernel or level is not None, explained)
        if not report.ok:
            complain(f"{place(file, program, report.pc)}: {program.name}: {report}")
    return int(not accepted)


def _show(program: "Program", report: "AnyReport", with_log: bool, explained: bool) -> None:
    """Print what was asked for about one verdict; refusals themselves go to standard error."""
    if with_log:
        click.echo(report.log.rstrip())
    if explained and not report.ok:
        click.echo(str(report.explain(program)))
    if report.ok:
        click.echo(f"{program.name}: {report}")


def _judge(engine: str, program: "Program", flags: int, level: int, release: str) -> "AnyReport":
    """Ask the workbench's verifier or Linux's."""
    if engine != "kernel":
        from workbench.verifier import LIMIT
        from workbench.verifier import verify as judge
        from workbench.widgets.progress import reports

        with reports(f"verifying {program.name}", LIMIT, "insn") as report:
            return judge(program, flags, log_level=level, release=release, progress=report)
    from workbench.engines.kernel import KernelArena, verdict

    with KernelArena(flags=flags) as arena:
        return verdict(program, arena, level)


def _row(engine: str, program: "Program", report: "AnyReport") -> dict[str, object]:
    """Turn a verdict into JSON values; null is what does not apply."""
    line = program.line_of(report.pc) if report.pc >= 0 else None
    return {
        "engine": engine,
        "program": program.name,
        "ok": report.ok,
        "pc": None if report.pc < 0 else report.pc,
        "line": line.line if line else None,
        "reason": report.reason,
        "log": report.log,
    }


def _show_pasted(path: Path, as_json: bool) -> int:
    """Read a log, and print its verdict, its explanation and where the verifier spent its time."""
    from workbench.verifier.log.view import read_verifier_log

    log = read_verifier_log(_text(path))
    if not log.steps and not log.reason:
        raise WorkbenchError(
            f"{path} holds no verifier log: no line like '0: (b7) r0 = 0' and no refusal"
        )
    if as_json:
        click.echo(json.dumps(_pasted_row(log)))
    else:
        click.echo(f"{log}\n{_busiest(log) if log.ok else log.explain()}")
    if log.ok is not True:
        complain(f"{path}: {log}")
    return int(log.ok is not True)


def _text(path: Path) -> str:
    try:
        piped = str(path) == "-"
        content = sys.stdin.buffer.read() if piped else path.read_bytes()
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None
    return content.decode("utf-8", errors="replace")


def _pasted_row(log: "VerifierLog") -> dict[str, object]:
    """Turn a log into JSON values: the verdict, the explanation's parts, the totals, the steps."""
    explanation = log.explain()
    said = explanation._asdict() if log.ok is False else None
    return {
        "ok": log.ok,
        "pc": None if log.pc < 0 else log.pc,
        "reason": log.reason,
        "explanation": said,
        "statistics": log.statistics,
        "steps": log.frame.reset_index().to_dict("records"),
        "unread": log.unread,
    }


def _busiest(log: "VerifierLog") -> str:
    """The instructions that the verifier visited most often."""
    visits = Counter(step.pc for step in log.steps).most_common(BUSIEST)
    lines = [f"  {count} × {pc}: {log.listing.get(pc, '')}" for pc, count in visits]
    return "\n".join(["visited most often:", *lines])
