"""The course of fragmentation: an arena's own event log, replayed and measured."""

import numpy as np
import pandas as pd

from workbench.arena.rules import MAX_PAGES
from workbench.arguments import instance, takes, whole
from workbench.models import requests
from workbench.models.allocators.replay import replay


@takes(events=instance(pd.DataFrame), page_count=whole(1, MAX_PAGES), k=whole(1))
def history(
    events: pd.DataFrame, page_count: int, k: int = 8, repair: bool = False
) -> pd.DataFrame:
    """Replay an arena's event log and measure its free memory after every event.

    `events` is the log of an arena of `page_count` pages from its creation on (`arena.events`);
    only allocations (also refused ones), frees, reservations and user faults count. The first
    row is the empty arena. Columns: `time` (steps), `kind`, `pages` (of the event), those of
    `allocators.replay` and `fragmentation_index` (k = the pages asked for; only on rows of refused
    allocations).

    Live are the pages that have memory behind them: allocated by the program or faulted in by
    the user. Raises WorkbenchError, with the row, for a log that contradicts itself; `repair`
    leaves such rows out.
    """
    log = requests.recorded(events, page_count, repair)
    samples = replay(log, pages=page_count, k=k, every=1, fixed=True).samples
    kinds, pages = log["kind"].astype(str).to_numpy(), log["count"].to_numpy(np.int64)
    table = samples.drop(columns=["row", "refused"])
    table.insert(1, "kind", ["start", *kinds])
    table.insert(2, "pages", np.concatenate([[0], pages]))
    failed = table["kind"] == "alloc_failed"
    with np.errstate(divide="ignore", invalid="ignore"):
        index = 1 - (1 + table["free_pages"] / table["pages"]) / table["extents"]
    known = failed & (table["pages"] > table["largest_extent"]) & (table["extents"] > 0)
    return table.assign(fragmentation_index=index.where(known))
