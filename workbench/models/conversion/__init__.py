"""What pointer conversion costs: the same program with and without NO_USER_CONV.

counts        how often casts occur and run (model: exact counts)
workloads     the programs to compare: structures, loops of stores, single casts
timing        one workload under both flags on an engine (measured)
machine_code  native instructions and bytes of a cast (measured: the compilers' output)
walks         compiled user-space walks
user_side     what user space pays for either form of a pointer (measured)
break_even    how many walks make conversion worth its price
"""

from workbench.models.conversion.counts import (
    COLUMNS,
    CONVERT_COPY,
    CONVERT_IN_PLACE,
    METRICS,
    MOVE,
    Casts,
    compare,
    count_casts,
)

__all__ = [
    "COLUMNS",
    "CONVERT_COPY",
    "CONVERT_IN_PLACE",
    "METRICS",
    "MOVE",
    "Casts",
    "compare",
    "count_casts",
]
