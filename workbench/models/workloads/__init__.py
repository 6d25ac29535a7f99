"""Logs of requests to try allocators on: made from a seed, recorded from programs, or imported.

synthetic      lifetimes drawn at random, patterns, a store, a server, a queue
adversary      Robson's, which watches the policy
programs       the example programs, run for real in an arena
malloc_trace   traces of malloc and free, as CSV

log = workloads.make("exponential", rows=100_000, pages=4096, seed=1)
requests.save(log, "exponential.parquet")
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.random import Generator

from workbench.arena.rules import MAX_PAGES
from workbench.errors import WorkbenchError
from workbench.models.workloads import synthetic
from workbench.models.workloads.adversary import bound, robson
from workbench.models.workloads.malloc_trace import read_malloc_trace
from workbench.models.workloads.programs import PROGRAMS, record

WORKLOADS: dict[str, Callable[[Generator, int, int], pd.DataFrame]] = {
    "bump": synthetic.bump,
    "lifo": synthetic.lifo,
    "ring": synthetic.ring,
    "exponential": synthetic.exponential,
    "bimodal": synthetic.bimodal,
    "phases": synthetic.phases,
    "checkerboard": synthetic.checkerboard,
    "larson": synthetic.larson,
    "producer_consumer": synthetic.producer_consumer,
    "key_value": synthetic.key_value,
    "fixed_addresses": synthetic.fixed_addresses,
    "user_faults": synthetic.user_faults,
}


def make(name: str, rows: int = 10_000, pages: int = 1024, seed: int = 0) -> pd.DataFrame:
    """Make a workload of `rows` requests for an arena of `pages` pages; equal seeds, equal logs.

    Raises WorkbenchError for a name that is not in WORKLOADS, and for sizes that cannot be.
    """
    if name not in WORKLOADS:
        raise WorkbenchError(f"no workload '{name}'; there are {', '.join(WORKLOADS)}")
    if rows < 0 or not 1 <= pages <= MAX_PAGES:
        raise WorkbenchError(
            f"a workload has 0 or more rows, and an arena 1 to {MAX_PAGES:,} pages; "
            f"not {rows:,} and {pages:,}"
        )
    log = WORKLOADS[name](np.random.default_rng(seed), rows, pages)
    log.attrs = {"workload": name, "seed": seed, "pages": pages}
    return log


def summary(name: str) -> str:
    """What a workload is, in one sentence."""
    return (WORKLOADS[name].__doc__ or "").splitlines()[0]


__all__ = [
    "PROGRAMS",
    "WORKLOADS",
    "bound",
    "make",
    "read_malloc_trace",
    "record",
    "robson",
    "summary",
]
