"""The chain of an n-gram recommender: back-off by hand and by a slow reckoning, draws, plans."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from offline_actrep.simulators.ngram_chain import ROOT, NgramChain, Plan, extra_share
from offline_actrep.simulators.ngram_tables import NgramTables, synthetic_tables

A, B, C = 0, 1, 2
LOG = [[A, B, C, A, B, C], [A, B, A], [B, C]]
"""After (a, b): c twice, a once. After a: b 3 times. After b: c 3, a 1. After c: a 1 time. In all
a 4, b 4 and c 3 times."""
PRICES = np.array([1.0, 2.0, 4.0])
TRIPLE = 3.0


def tables(log: list[list[int]], prices: np.ndarray = PRICES) -> NgramTables:
    sessions = np.array([k for k, row in enumerate(log) for _ in row])
    items = np.array([item for row in log for item in row])
    return NgramTables.from_purchases(sessions, items, prices[items], min_length=2)


def chances(chain: NgramChain, older: int, newer: int) -> list[float]:
    node = chain.locate(np.array([older]), np.array([newer]))
    return chain.probabilities()[node].toarray()[0].tolist()


# --- back-off


def test_back_off_by_hand() -> None:
    chain = NgramChain.of(tables(LOG), min_context=3)
    assert chances(chain, A, B) == [1 / 3, 0, 2 / 3]  # the pair, three times
    assert chances(chain, C, B) == [1 / 4, 0, 3 / 4]  # the pair never: the last item
    assert chances(chain, C, A) == [0, 1, 0]  # the pair once
    assert chances(chain, B, C) == [4 / 11, 4 / 11, 3 / 11]  # neither: popularity
    assert len(chain) == 1 + 2 + 1


@pytest.mark.parametrize(
    ("min_context", "nodes", "after_a_b", "after_c_a"),
    [
        (1, 1 + 3 + 3, [1 / 3, 0, 2 / 3], [0, 1, 0]),
        (4, 1 + 1, [1 / 4, 0, 3 / 4], [4 / 11, 4 / 11, 3 / 11]),
        (5, 1, [4 / 11, 4 / 11, 3 / 11], [4 / 11, 4 / 11, 3 / 11]),
    ],
)
def test_the_threshold_says_what_is_known(
    min_context: int, nodes: int, after_a_b: list[float], after_c_a: list[float]
) -> None:
    chain = NgramChain.of(tables(LOG), min_context)
    assert len(chain) == nodes
    assert chances(chain, A, B) == after_a_b
    assert chances(chain, C, A) == after_c_a


def test_a_threshold_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="min_context must be at least 1, got 0"):
        NgramChain.of(tables(LOG), 0)


def test_a_log_without_triples_has_no_pairs() -> None:
    chain = NgramChain.of(tables([[A, B], [B, C]]), 1)
    assert len(chain.pairs) == 0
    assert chances(chain, A, B) == [0, 0, 1]
    assert chain.locate(np.array([A]), np.array([C])).tolist() == [ROOT]


def slow_chances(log: list[list[int]], n_items: int, min_context: int) -> np.ndarray:
    """`[A, A, A]`: what follows a pair, straight from the definition."""
    found = np.zeros((n_items, n_items, n_items))
    for older, newer in product(range(n_items), repeat=2):
        by_two = Counter(
            row[k + 2]
            for row in log
            for k in range(len(row) - 2)
            if row[k : k + 2] == [older, newer]
        )
        by_one = Counter(row[k + 1] for row in log for k in range(len(row) - 1) if row[k] == newer)
        popular = Counter(item for row in log for item in row)
        known = [level for level in (by_two, by_one) if level.total() >= min_context]
        level = known[0] if known else popular
        for item, count in level.items():
            found[older, newer, item] = count / level.total()
    return found


@st.composite
def small_logs(draw: st.DrawFn) -> list[list[int]]:
    """Sessions over 2 to 4 items, each bought at least once."""
    n_items = draw(st.integers(2, 4))
    items = st.integers(0, n_items - 1)
    log = draw(st.lists(st.lists(items, min_size=2, max_size=12), min_size=1, max_size=5))
    return [*log, list(range(n_items))]


def slow_values(
    follows: np.ndarray, prices: np.ndarray, multiplier: float, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """(best, uniform) expected revenue from every pair, by trying all recommendations."""
    n_items = len(prices)
    weights = 1 + (multiplier - 1) * np.eye(n_items)
    boosted = follows[:, :, None, :] * weights
    boosted /= boosted.sum(axis=-1, keepdims=True)
    best = uniform = np.zeros((n_items, n_items))
    for _ in range(horizon):
        # value[b, c] is what follows once c was bought after b
        best = np.einsum("abrc,bc->abr", boosted, prices + best).max(axis=-1)
        uniform = np.einsum("abrc,bc->abr", boosted, prices + uniform).mean(axis=-1)
    return best, uniform


@settings(deadline=None, max_examples=60)
@given(
    small_logs(),
    st.integers(1, 4),
    st.sampled_from([1.0, 1.5, 3.0, 50.0]),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_the_chain_is_the_definition(
    log: list[list[int]], min_context: int, multiplier: float, horizon: int, seed: int
) -> None:
    n_items = max(item for row in log for item in row) + 1
    prices = np.random.default_rng(seed).uniform(0.5, 9.0, n_items)
    counted = tables(log, prices)
    chain = NgramChain.of(counted, min_context)
    follows = slow_chances(log, n_items, min_context)
    older, newer = np.divmod(np.arange(n_items**2), n_items)
    nodes = chain.locate(older, newer)
    np.testing.assert_allclose(chain.probabilities()[nodes].toarray(), follows[older, newer])
    plan = Plan.of(chain, counted.prices, multiplier, horizon)
    best, uniform = slow_values(follows, prices, multiplier, horizon)
    np.testing.assert_allclose(plan.best[nodes], best[older, newer], atol=1e-9)
    np.testing.assert_allclose(plan.uniform[nodes], uniform[older, newer], atol=1e-9)
    # What follows a purchase is the node of the new pair.
    for start, newest in zip(nodes, newer, strict=True):
        entries = np.arange(chain.offsets[start], chain.offsets[start + 1])
        items = chain.items[entries]
        located = chain.locate(np.full(len(items), newest), items)
        assert chain.following[entries].tolist() == located.tolist()


# --- recommending


def test_a_recommendation_by_hand() -> None:
    """After (a, b) a has 1/3 and c 2/3. Recommending c: 6/3 against 1/3, that is 6/7."""
    share, none = extra_share(np.array([2 / 3, 0.0]), TRIPLE)
    assert share == pytest.approx(4 / 7)
    assert share + (1 - share) * 2 / 3 == pytest.approx(6 / 7)
    assert none == 0.0


def bought(recommended: int, draws: np.ndarray, multiplier: float = TRIPLE) -> list[int]:
    """What is bought after (a, b) under these draws."""
    chain = NgramChain.of(tables(LOG), 3)
    nodes = chain.locate(np.full(len(draws), A), np.full(len(draws), B))
    entries = chain.draw(nodes, np.full(len(draws), recommended), draws, multiplier)
    assert (nodes == np.repeat(np.arange(len(chain)), np.diff(chain.offsets))[entries]).all()
    return chain.items[entries].tolist()


def test_draws_cut_the_unit_interval_in_proportion() -> None:
    sevenths = (np.arange(7) + 0.5) / 7
    assert bought(C, sevenths) == [C, C, C, C, A, C, C]  # 2 x 2 for the push, then 1 and 2
    fifths = (np.arange(5) + 0.5) / 5
    assert bought(A, fifths) == [A, A, A, C, C]
    thirds = (np.arange(3) + 0.5) / 3
    assert bought(B, thirds) == [A, C, C]  # b is never bought here: no push
    assert bought(C, thirds, multiplier=1.0) == [A, C, C]
    assert bought(C, np.array([0.0, 1 - 2.0**-53])) == [C, C]
    assert bought(A, np.array([0.0, 1 - 2.0**-53]), multiplier=1.0) == [A, C]


@pytest.mark.parametrize("min_context", [1, 10, 10**9])
@pytest.mark.parametrize("multiplier", [1.0, 3.0, 20.0])
def test_purchases_have_the_probabilities_that_they_should(
    min_context: int, multiplier: float
) -> None:
    counted = synthetic_tables(60, 0)
    chain = NgramChain.of(counted, min_context)
    generator = np.random.default_rng(min_context % 7)
    often = counted.bigrams[counted.bigram_counts.argmax()]
    node = chain.locate(*often[:, None])
    before = chain.probabilities()[node].toarray()[0]
    recommended = int(before.argmax())
    weights = before * np.where(np.arange(60) == recommended, multiplier, 1.0)
    expected = weights / weights.sum()
    n = 100_000
    entries = chain.draw(node.repeat(n), np.full(n, recommended), generator.random(n), multiplier)
    seen = np.bincount(chain.items[entries], minlength=60)
    assert not seen[expected == 0].any()
    kept = expected > 0
    assert chisquare(seen[kept], n * expected[kept]).pvalue > 1e-4
    # The test would see a multiplier that is a fifth too large.
    other = before * np.where(np.arange(60) == recommended, 1.2 * multiplier, 1.0)
    assert chisquare(seen[kept], n * (other / other.sum())[kept]).pvalue < 1e-4


# --- plans


def test_the_best_recommendation_by_hand() -> None:
    chain = NgramChain.of(tables(LOG), 3)
    plan = Plan.of(chain, PRICES, TRIPLE, 1)
    after_a_b = chain.locate(np.array([A]), np.array([B]))[0]
    # c (4 USD) with 6/7, a (1 USD) with 1/7; recommending a: 3/5 and 2/5; b: as without.
    assert plan.best[after_a_b] == pytest.approx((6 * 4 + 1) / 7)
    assert plan.uniform[after_a_b] == pytest.approx(((6 * 4 + 1) / 7 + (3 + 2 * 4) / 5 + 3) / 3)
    assert plan.actions[0, after_a_b] == C
    assert plan.actions[0, chain.locate(np.array([C]), np.array([A]))[0]] == B  # it alone is sold


def test_looking_ahead_passes_over_what_is_dear_now() -> None:
    """After a: b (3 USD) leads to more b, c (4 USD) to a for 1 USD."""
    log = [[A, B, B, B, B, B, B, A], [A, C, A, C, A, B, B, B], [A, C, A]]
    counted = tables(log, np.array([1.0, 3.0, 4.0]))
    chain = NgramChain.of(counted, 100)  # popularity alone: nothing lies ahead
    assert (Plan.of(chain, counted.prices, 9.0, 5).actions == C).all()
    chain = NgramChain.of(counted, 3)
    start = chain.locate(np.array([C]), np.array([A]))[0]
    actions = Plan.of(chain, counted.prices, 9.0, 5).actions[:, start]
    assert actions[0] == C
    assert actions[-1] == B


def test_without_a_multiplier_nothing_can_be_won() -> None:
    counted = synthetic_tables(60, 0)
    plan = Plan.of(NgramChain.of(counted, 10), counted.prices, 1.0, 5)
    np.testing.assert_allclose(plan.best, plan.uniform)
