"""The streams of random numbers: known bits, independence of the batch, the right distributions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from offline_actrep.core.draws import Draws


def test_the_published_sequence_of_splitmix64() -> None:
    """The first five outputs of the reference implementation for the state 1234567."""
    draws = Draws(0, 1)
    draws.counters[:] = 1234567
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert draws.uniform(5)[:, 0].tolist() == [(value >> 11) * 2.0**-53 for value in expected]


@given(seed=st.integers(0, 2**63), n_worlds=st.integers(1, 40), lanes=st.integers(0, 9))
def test_a_world_draws_the_same_in_any_batch(seed: int, n_worlds: int, lanes: int) -> None:
    batch, alone = Draws(seed, n_worlds), Draws(seed, 1)
    for _ in range(3):
        np.testing.assert_array_equal(batch.uniform(lanes)[:, :1], alone.uniform(lanes))


def test_only_the_worlds_named_draw() -> None:
    every, some = Draws(3, 4), Draws(3, 4)
    mask = np.array([True, False, True, False])
    first = every.uniform(2)
    np.testing.assert_array_equal(some.uniform(2, mask), first[:, mask])
    np.testing.assert_array_equal(some.uniform(2, ~mask), first[:, ~mask])
    np.testing.assert_array_equal(some.uniform(2), every.uniform(2))


def test_one_call_or_many_give_the_same_numbers() -> None:
    one, many = Draws(5, 3), Draws(5, 3)
    np.testing.assert_array_equal(one.uniform(4), np.concatenate([many.uniform(2) for _ in "ab"]))


def test_seeds_and_worlds_differ() -> None:
    numbers = np.concatenate([Draws(seed, 50).uniform(20).ravel() for seed in range(20)])
    assert len(np.unique(numbers)) == len(numbers)


def test_uniform_numbers_are_uniform_along_and_across() -> None:
    numbers = Draws(1, 200).uniform(500)
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    for one, other in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4 / one.size**0.5
    assert (numbers >= 0).all() and (numbers < 1).all()


def test_normal_numbers_are_normal() -> None:
    assert stats.kstest(Draws(2, 200).normal(500).ravel(), "norm").pvalue > 1e-3


def test_integers_cover_their_range_evenly() -> None:
    drawn = Draws(4, 100).integers(600, 7)
    counts = np.bincount(drawn.ravel(), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-3


def test_streams_alike_are_the_first_one() -> None:
    alike, apart = Draws(7, 5, alike=True), Draws(7, 5)
    for _ in range(2):
        numbers, first = alike.uniform(3), apart.uniform(3)[:, :1]
        np.testing.assert_array_equal(numbers, np.repeat(first, 5, axis=1))
