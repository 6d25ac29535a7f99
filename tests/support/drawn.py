"""A recorded figure drawn for a venue, also by a new process."""

from workbench import plots
from workbench.experiments import kernel_costs, results


def drawn(venue: str = "usenix", span: int = 1) -> plots.Figure:
    with plots.style(venue, span):
        return kernel_costs.plot(results.load("conversion_costs"), "recorded")
