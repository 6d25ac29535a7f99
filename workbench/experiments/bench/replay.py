"""Replaying logs of requests: events per second, and the cost of one among many extents."""

from workbench.experiments import replay_speed
from workbench.experiments.bench.pages import Cost

LIMIT = 1000.0  # ns per event: a million a second


def measure(repeats: int, quick: bool) -> list[Cost]:
    """ns per event under each policy, and the curve over extents of the two kernel policies.

    Every second extent is free. The limit of a point of the curve is the cost among the fewest
    extents, times the logarithm.
    """
    rows = 20_000 if quick else 200_000
    costs = [
        Cost(f"replay, {found.policy}", "ns per event", 1e3 / found.million_per_second, None, LIMIT)
        for found in replay_speed.speed(repeats, rows)
    ]
    extents = replay_speed.EXTENTS[:: 4 if quick else 1]
    curve = replay_speed.run(repeats, rows // 2, extents)
    medians = curve.groupby(["policy", "extents"], sort=False)["ns"].median()
    for policy in replay_speed.KERNELS:
        least = medians[policy].iloc[0] / (extents[0].bit_length() - 1)
        for holes, ns in medians[policy].items():
            limit = least * (int(holes).bit_length() - 1)
            costs.append(
                Cost(f"{policy}, {2 * int(holes):,} extents", "ns per event", ns, None, limit)
            )
    return costs
