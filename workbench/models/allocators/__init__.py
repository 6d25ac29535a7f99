"""Where the next pages come from: placement policies that replay the same log of requests.

    policies   the kernel's two, the textbook's five, and yours
    book       free pages under a policy
    replay     a log of requests under a policy: placement, refusals, metrics
    apart      under a function of the user's, in a process of its own
    history    an arena's own event log, replayed: the course of fragmentation
    lowest by_size buddy   the indexes that policies search
    heaps      objects inside pages: bump, slab, buddy
    page_map   which pages were live when

The two kernel policies are exact. `range_tree` is the code of the emulated arena (Linux 6.13 and
later), compared page for page with Linux; `maple` takes the lowest address that fits, as
mtree_alloc_range did in Linux 6.9 to 6.12.
"""

from workbench.models.allocators.heaps import HEAPS, HeapRun, run_heap
from workbench.models.allocators.history import history
from workbench.models.allocators.page_map import live_map
from workbench.models.allocators.policies import POLICIES, Policy, policy
from workbench.models.allocators.replay import Replay, compare, curves, replay, samples, summary

__all__ = [
    "HEAPS",
    "POLICIES",
    "HeapRun",
    "Policy",
    "Replay",
    "compare",
    "curves",
    "history",
    "live_map",
    "policy",
    "replay",
    "run_heap",
    "samples",
    "summary",
]
