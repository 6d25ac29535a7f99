"""Judge: one workload replayed under the emulated range tree and on a real arena, row by row.

Every request gets the same pages on both, and the free extents that the kernel's own range tree
holds give the same fragmentation curves as the replay.
"""

import pytest
from support.kernel_support import KERNEL

from workbench.experiments import batch_faults, kernel_replay
from workbench.models import workloads

pytestmark = KERNEL


@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test_linux_places_a_workload_where_the_replay_does(name, scale):
    frame = kernel_replay.run((name,), scale(4_000, 100_000))
    assert kernel_replay.same(frame), kernel_replay.differences(frame)


def test_a_hundred_thousand_requests():
    frame = kernel_replay.run(("user_faults",))
    assert kernel_replay.same(frame), kernel_replay.differences(frame)
    assert "100,000 of 100,000 requests" in kernel_replay.plot(frame).workbench_alt


def test_faults_of_batches_are_those_of_the_emulated_arena():
    frame = batch_faults.run(1, (0, 1, 512))
    assert frame["same"].all()
    assert frame["map"].tolist() == [0, 0, 512, 512, 512, 512]
