"""Measure on this machine's kernel: print what came out, or record it in data/results."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from workbench.errors import WorkbenchError
from workbench.evidence import provenance
from workbench.experiments import (
    batch_faults,
    calibration,
    gallery,
    kernel_costs,
    kernel_replay,
    log_agreement,
    real_faults,
    results,
    same_program,
    together,
    touch_costs,
    touches,
    verdicts,
)

RECORDED: dict[str, Callable[[], pd.DataFrame]] = {
    "conversion_costs": kernel_costs.run,
    "machine_code": kernel_costs.machine_code,
    "touch_costs": touch_costs.run,
    "page_events": real_faults.run,
    "same_program": same_program.run,
    "code_sizes": together.code_sizes,
    "verifier_logs": log_agreement.samples,
    "fault_costs": calibration.run,
    "touches": touches.run,
    "batch_faults": batch_faults.run,
    "kernel_replay": kernel_replay.run,
    "verdicts": verdicts.run,
} | {one.name: one.record for one in gallery.EXHIBITS if one.record}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiments asked for, or all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workbench.experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECORDED))
    parser.add_argument("--record", action="store_true", help="write data/results/NAME.parquet")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in RECORDED]:
        parser.error(f"no experiment '{unknown[0]}'; there are {', '.join(RECORDED)}")
    code = {key: provenance.provenance()[key] for key in ("commit", "dirty")}
    try:
        for name in asked.names or RECORDED:
            print(one(name, results.directory() if asked.record else None, code))
    except WorkbenchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def one(name: str, directory: Path | None, code: dict[str, object]) -> str:
    """Run one experiment, record it if there is a directory to, and say so.

    `code` is commit and dirty flag from before the first: what is recorded here changes the
    checkout, but not what measured.
    """
    frame = RECORDED[name]()
    frame.attrs[provenance.KEY] = {**provenance.provenance(), **code}
    done = "measured"
    if directory is not None:
        done = f"recorded as {provenance.save(frame, directory / f'{name}.parquet').name}"
    about = provenance.describe(frame.attrs[provenance.KEY])
    return f"{name}: {len(frame)} rows {done}; {about}\n{frame.head(5).to_string()}\n"


if __name__ == "__main__":
    sys.exit(main())
