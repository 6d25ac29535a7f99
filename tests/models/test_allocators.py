"""Placement policies: each against the obvious search, and by hand; what is no policy."""

import math
import signal
import threading

import numpy as np
import pandas as pd
import pytest
from oracles.naive_allocators import POLICIES as NAMES
from oracles.naive_allocators import Naive

from workbench.arena.events import Kind
from workbench.errors import WorkbenchError
from workbench.models import allocators, fragmentation, requests
from workbench.models.allocators import POLICIES, compare, policy, replay

PAGES = 48


def random_log(seed: int, rows: int = 300, buddy: bool = False) -> pd.DataFrame:
    """Requests of every kind; for a buddy system only at places and in parts that it can tell."""
    rng = np.random.default_rng(seed)
    held: dict[int, list[tuple[int, int]]] = {}
    made: list[tuple[int, int, int, int, int]] = []
    for block in range(rows):
        what = rng.random()
        if held and what < 0.45:
            name = list(held)[rng.integers(len(held))]
            offset, count = held[name].pop(rng.integers(len(held[name])))
            if count > 1 and rng.random() < 0.3 and not buddy:
                held[name] += [(offset + 1, count - 1)]
                count = 1
            if not held[name]:
                del held[name]
            made.append((int(Kind.FREE), -1, count, name, offset))
        elif what < 0.85:
            count = int(rng.integers(1, 9))
            fixed = int(rng.integers(PAGES)) if rng.random() < 0.15 and not buddy else -1
            made.append((int(Kind.ALLOC), fixed, count, block, 0))
            held[block] = [(0, count)]
        elif what < 0.95:
            made.append((int(Kind.USER_FAULT), int(rng.integers(PAGES)), 1, block, 0))
            held[block] = [(0, 1)]
        else:
            made.append((int(Kind.RESERVE), int(rng.integers(PAGES)), 2, block, 0))
            held[block] = [(0, 2)]
    kind, page, count, block, offset = np.array(made).T
    return requests.frame(kind, count, block, page, offset=offset)


@pytest.mark.parametrize("name", NAMES)
def test_placements_are_those_of_the_obvious_search(name, scale):
    for seed in range(scale(12, 1000)):
        log = random_log(seed, buddy=name == "buddy")
        found = replay(log, name, PAGES, every=1)
        naive = Naive(name, PAGES)
        samples = found.samples.to_dict("records")
        for row, (kind, page, count, block, offset) in enumerate(
            log[["kind", "page", "count", "block", "offset"]].itertuples(index=False)
        ):
            want = naive.request(kind, page, count, block, offset)
            got = int(found.page[row]) if found.status[row] != 1 else -1
            assert got == want, f"seed {seed}, row {row}: {kind} {count}"
            lengths = [length for _, length in naive.extents()]
            sample = samples[row + 1]
            assert sample["extents"] == len(lengths)
            assert sample["live_pages"] == naive.state.count("live")
            assert sample["reserved_pages"] == naive.state.count("reserved")
            assert sample["free_pages"] == sum(lengths)
            assert sample["largest_extent"] == max(lengths, default=0)
            used = [page for page, state in enumerate(naive.state) if state != "free"]
            assert sample["span_pages"] == max(used, default=-1) + 1
            same(sample["unusable"], fragmentation.unusable_index(lengths, 8) if lengths else None)
            same(sample["entropy"], fragmentation.entropy(lengths) if lengths else None)
        assert found.extents.tolist() == [list(extent) for extent in naive.extents()]


def same(found: float, wanted: float | None) -> None:
    if wanted is None:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(wanted, abs=1e-9)


def test_every_policy_has_an_obvious_twin():
    assert set(NAMES) == set(POLICIES)


def holes(*lengths: int) -> pd.DataFrame:
    """Requests that leave free extents of these lengths, in this order, and no other page."""
    rows, block, frees = [], 0, []
    for length in lengths:
        rows += [(int(Kind.ALLOC), length, block), (int(Kind.ALLOC), 1, block + 1)]
        frees.append((int(Kind.FREE), length, block))
        block += 2
    return requests.frame(*np.array(rows + frees).T)


BY_HAND = [  # pages 0-3, 5-6, 8-15 and 17-18 are free, freed in that order; 2 pages are asked for
    ("range_tree", 17),  # the newest of two exact fits
    ("best_fit", 5),  # the lowest of two exact fits
    ("maple", 0),
    ("first_fit", 0),
    ("next_fit", 0),  # nothing fits behind the last allocation: from the start again
    ("worst_fit", 8),
]


@pytest.mark.parametrize(("name", "page"), BY_HAND)
def test_the_choice_by_hand(name, page):
    log = holes(4, 2, 8, 2)
    asked = requests.frame([Kind.ALLOC], [2], [99]).assign(time=np.uint64(99))
    found = replay(pd.concat([log, asked], ignore_index=True), name, pages=20)
    assert found.page[-1] == page


def test_a_buddy_system_rounds_up_and_aligns():
    log = requests.frame([Kind.ALLOC] * 3, [3, 1, 5], [0, 1, 2])
    found = replay(log, "buddy", pages=16)
    assert found.page.tolist() == [0, 4, 8]
    last = found.samples.iloc[-1]
    assert (last["live_pages"], last["committed_pages"], last["free_pages"]) == (9, 13, 3)


def highest(extents, count):
    """Take the last extent that fits, and its high end."""
    for row in range(len(extents) - 1, -1, -1):
        if extents[row, 1] >= count:
            return extents[row, 0] + extents[row, 1] - count
    return -1


def test_a_policy_of_one_s_own():
    log = requests.frame([Kind.ALLOC] * 3, [3, 1, 20], [0, 1, 2])
    found = replay(log, highest, pages=16)
    assert found.page.tolist() == [13, 12, -1]
    assert found.policy.rule == "Take the last extent that fits, and its high end"
    assert list(compare(log, ["maple", highest], 16)) == ["maple", "highest"]


def test_pages_that_are_not_free_are_a_refusal():
    log = requests.frame([Kind.ALLOC] * 2, [3, 3], [0, 1])
    assert replay(log, lambda extents, count: 1, pages=16).page.tolist() == [1, -1]


def wants_text(extents, count):
    return extents.nonsense(count)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("tightest", "no policy 'tightest'; there are range_tree, maple"),
        (lambda extents: 0, "expected a function choose"),
        (wants_text, "policy 'wants_text' is not for numba to compile"),
    ],
)
def test_what_is_no_policy_is_refused(rule, message):
    with pytest.raises(WorkbenchError, match=message):
        policy(rule)


def past_the_end(extents, count):
    extents[len(extents) + 1_000_000, 0] = 1
    return 0


def divides(extents, count):
    return extents[0, 0] // (count - count)


def refuses(extents, count):
    if count:
        raise ValueError("no pages for you")
    return 0


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (lambda extents, count: 9223372036854775800, r"returned 9223372036854775800; .* 0 to 15"),
        (lambda extents, count: 16, "it returned 16; a page is a number from 0 to 15, -1 refuses"),
        (lambda extents, count: -2, "it returned -2"),
        (past_the_end, "it raised IndexError"),
        (divides, "it raised ZeroDivisionError"),
        (refuses, "it raised ValueError: no pages for you"),
    ],
)
def test_a_careless_policy_is_named_with_its_request(rule, says):
    log = requests.frame([Kind.ALLOC] * 2, [3, 3], [0, 1])
    with pytest.raises(WorkbenchError, match=rf"policy '.*', request 0 \(3 pages\): .*{says}"):
        replay(log, rule, pages=16)


def test_ctrl_c_ends_a_policy_that_does_not_come_back():
    def for_ever(extents, count):
        while count:
            count += 2 * (count < 5) - 1
        return 0

    log = requests.frame([Kind.ALLOC], [3], [0])
    timer = threading.Timer(3, signal.raise_signal, [signal.SIGINT])
    rule = policy(for_ever)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        replay(log, rule, pages=16)


def test_an_empty_log_is_an_empty_arena():
    found = replay(requests.frame([], [], []), pages=64)
    assert found.samples["free_pages"].tolist() == [64]
    assert found.events.empty
    assert math.isnan(found.blow_up)


def test_the_measures_of_johnstone_and_wilson_by_hand():
    kinds = [Kind.ALLOC, Kind.ALLOC, Kind.FREE, Kind.ALLOC]
    log = requests.frame(kinds, [4, 2, 4, 5], [0, 1, 0, 2])
    found = replay(log, "maple", pages=32)  # spans 4, 6, 6, 11; live 4, 6, 2, 7
    wanted = np.mean([4 / 4, 6 / 6, 6 / 2, 11 / 7]) - 1, 11 / 7 - 1, 11 / 7 - 1, 11 / 7 - 1
    assert found.johnstone_wilson == pytest.approx(wanted)
    curve = fragmentation.johnstone_wilson([4, 6, 2, 7], [4, 6, 6, 11])
    assert found.johnstone_wilson == pytest.approx(curve)
    assert found.blow_up == pytest.approx(11 / 7)


def test_events_of_a_replay_replay_alike():
    log = random_log(7)
    found = replay(log, "range_tree", PAGES, every=1)
    table = allocators.history(found.events, PAGES)
    assert table["free_pages"].iloc[-1] == found.samples["free_pages"].iloc[-1]
    assert table["extents"].max() == found.samples["extents"].max()


def test_the_range_tree_s_metrics_and_a_million_extents(scale):
    """A comb of 2^19 holes: as many extents as an arena can have, filled again by best fit."""
    pages = 1 << 20
    comb = np.arange(0, pages, 2)
    kind = np.repeat([int(Kind.RESERVE), int(Kind.ALLOC)], [pages // 2, scale(1000, 100_000)])
    page = np.concatenate([comb, np.full(len(kind) - len(comb), -1)])
    log = requests.frame(kind, np.ones(len(kind)), np.arange(len(kind)), page)
    found = replay(log, "range_tree", pages, every=len(kind))
    assert found.refused == 0
    assert len(found.extents) == pages // 2 - (len(kind) - len(comb))
    assert set(found.extents[:, 1]) == {1}
    assert found.samples["entropy"].iloc[-1] == pytest.approx(np.log2(len(found.extents)))
