"""The n-gram recommender: what it shows, pays and tells; its returns, exact and played."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.behaviour import Uniform
from offline_actrep.core.policy import AbstractPolicy
from offline_actrep.rollout import episode_returns
from offline_actrep.simulators.ngram_recommender import (
    BARS,
    HEIGHT,
    PRESETS,
    WIDTH,
    NgramConfig,
    NgramRecommender,
    describe,
)
from offline_actrep.simulators.ngram_tables import NgramTables, synthetic_tables

A, B, C = 0, 1, 2
IDS = np.array([10, 20, 30])
PRICES = {10: 1.0, 20: 2.0, 30: 4.0}
LOG = [[10, 20, 30, 10, 20, 30], [10, 20, 10], [20, 30]]
"""After (10, 20): 30 twice, 10 once."""


def shop(**changes: object) -> NgramTables:
    items = np.array([item for row in LOG for item in row])
    tables = NgramTables.from_purchases(
        np.array([k for k, row in enumerate(LOG) for _ in row]),
        items,
        np.array([PRICES[item] for item in items.tolist()]),
        categories={10: "tea", 20: "bread", 30: "tea"},
        min_length=2,
    )
    return replace(tables, **changes)


def customers(n_worlds: int, older: int, newer: int, **options: object) -> NgramRecommender:
    """Worlds of the small shop, after these two purchases."""
    world = NgramRecommender(n_worlds, tables=shop(), min_context=3, **options)
    world.reset(seed=0)
    world.last[:] = newer, older
    world.nodes = world.chain.locate(*world.last.T[::-1])
    return world


class Drawn:
    """Stands for the random streams: the numbers are those given, one a world."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = np.array(numbers)

    def uniform(self, lanes: int, worlds: np.ndarray | None = None) -> np.ndarray:
        assert lanes == 1
        return (self.numbers if worlds is None else self.numbers[worlds])[None]


def under(world: NgramRecommender, *numbers: float) -> NgramRecommender:
    world.draws = Drawn(*numbers)  # type: ignore[assignment]
    return world


# --- a step by hand


def test_a_step_by_hand() -> None:
    """c recommended after (a, b): sevenths 0..3 for its sake, then a, c, c."""
    world = under(customers(3, A, B), 0.5 / 7, 4.5 / 7, 5.5 / 7)
    observations, rewards, terminated, truncated, info = world.step(np.full(3, C))
    assert rewards.tolist() == [4.0, 1.0, 4.0]
    assert not (terminated | truncated).any()
    assert info["items"].tolist() == [[30, 20], [10, 20], [30, 20]]
    assert info["followed"].tolist() == [True, False, True]
    np.testing.assert_array_equal(observations[0], observations[2])
    described, names = describe(world.tables)
    np.testing.assert_array_equal(observations[1], np.concatenate([described[A], described[B]]))
    assert world.observation_names == tuple(f"last{k}_{name}" for k in (1, 2) for name in names)
    assert world.nodes.tolist() == world.chain.locate(*world.last.T[::-1]).tolist()


def test_the_second_step_follows_from_both_purchases() -> None:
    world = under(customers(1, C, A), 0.5)
    assert world.step(np.array([C]))[1] == [2.0]  # after a, b is certain
    under(world, 4.5 / 7)  # now after (a, b)
    assert world.step(np.array([C]))[1] == [1.0]


def test_an_item_that_is_never_bought_there_is_recommended_in_vain() -> None:
    numbers = np.linspace(0, 0.999, 40)
    runs = []
    for multiplier in (1.0, 1000.0):
        world = under(customers(40, A, B, multiplier=multiplier), *numbers)
        runs.append(world.step(np.full(40, B))[1].tolist())
    assert runs[0] == runs[1]


def test_an_episode_is_cut_at_the_horizon_and_begins_with_a_logged_pair() -> None:
    world = NgramRecommender(50, tables=shop(), horizon=3)
    world.reset(seed=0)
    for step in range(1, 9):
        _, _, terminated, truncated, info = world.step(np.zeros(50, int))
        assert not terminated.any()
        assert truncated.all() == (step % 4 == 3)
        assert truncated.any() == truncated.all()
        if step % 4 == 0:
            assert not info["followed"].any()
            pairs = {(older, newer) for newer, older in info["items"].tolist()}
            assert pairs <= {(10, 20), (20, 30), (20, 10), (30, 10)}


def test_openings_are_drawn_by_their_frequency() -> None:
    world = under(NgramRecommender(8, tables=shop()), *((np.arange(8) + 0.5) / 8))
    world.reset()
    # (a, b) three times, (b, a) once, (b, c) three times, (c, a) once
    assert world.last[:, ::-1].tolist() == [[A, B]] * 3 + [[B, A]] + [[B, C]] * 3 + [[C, A]]


# --- what is shown


def test_the_description_of_items_by_hand() -> None:
    described, names = describe(shop())
    assert names == ("category=bread", "category=tea", "log_price", "log_purchases", "rank")
    assert described[:, :2].tolist() == [[0, 1], [1, 0], [0, 1]]
    np.testing.assert_allclose(described[:, 2], [-(1.5**0.5), 0, 1.5**0.5], atol=1e-6)
    assert described[0, 3] == described[1, 3] > described[2, 3]
    np.testing.assert_allclose(described[:, 3].std(), 1.0, atol=1e-6)
    assert described[:, 4].tolist() == [0, 0.5, 1]  # 4, 4 and 3 purchases


def test_a_shop_without_categories_and_with_one_price() -> None:
    tables = shop(category_names=("all",), categories=np.zeros(3, np.int64), prices=np.full(3, 2.5))
    described, names = describe(tables)
    assert names == ("log_price", "log_purchases", "rank")
    assert described[:, 0].tolist() == [0, 0, 0]
    assert NgramRecommender(2, tables=tables).best_return == pytest.approx(20 * 2.5)


def test_actions_are_items() -> None:
    world = NgramRecommender(1, tables=shop(names=("Earl Grey", "Rye", "Oolong")))
    assert world.action_set.ids.tolist() == [10, 20, 30]
    assert world.action_set.names == ("Earl Grey", "Rye", "Oolong")
    described, names = describe(world.tables)
    assert world.action_set.feature_names == names[:-1]
    np.testing.assert_array_equal(world.action_set.features, described[:, :-1])


def test_an_observation_names_both_items() -> None:
    world = NgramRecommender(500)
    observations, info = world.reset(seed=0)
    newer, older = world._remembered(observations)
    assert np.column_stack([newer, older]).tolist() == info["items"].tolist()
    assert len(np.unique(describe(world.tables)[0], axis=0)) == len(world.tables)


# --- effects


def test_effects_by_hand() -> None:
    world = customers(1, A, B)
    observations = np.repeat(world._observe(), 3, axis=0)
    effects = world.effects(observations, np.array([A, B, C]))
    described = describe(world.tables)[0].astype(np.float64)
    outcomes = np.column_stack([np.array([1, 2, 4]) / np.std([1, 2, 4]), described])
    mean = outcomes[A] / 3 + outcomes[C] * 2 / 3
    np.testing.assert_allclose(effects[0], 2 / 5 * (outcomes[A] - mean))
    np.testing.assert_array_equal(effects[1], 0.0)
    np.testing.assert_allclose(effects[2], 4 / 7 * (outcomes[C] - mean))


def test_effects_are_what_happens_on_average() -> None:
    n = 40_000
    world = NgramRecommender(n)
    opening = world.reset(seed=1)[0][:1]
    action = world.expert()[:1]
    means = []
    for multiplier in (1.0, 3.0):
        world = NgramRecommender(n, multiplier=multiplier)
        world.reset(seed=1)
        world.last[:], world.nodes[:] = world.last[0], world.nodes[0]
        observations, rewards = world.step(action.repeat(n))[:2]
        half = observations.shape[1] // 2
        outcomes = np.column_stack([rewards / world.tables.prices.std(), observations[:, :half]])
        means.append((outcomes.mean(axis=0), outcomes.var(axis=0) / n))
    (without, noise), (pushed, more_noise) = means
    expected = world.effects(opening, action)[0]
    assert (np.abs(pushed - without - expected) <= 4 * np.sqrt(noise + more_noise) + 1e-6).all()
    assert expected[0] > 0.05


def test_equal_rows_are_those_of_equal_recommendations() -> None:
    world = NgramRecommender(1)
    observation = world.reset(seed=0)[0]
    every = np.arange(len(world.tables))
    effects = world.effects(observation.repeat(len(every), axis=0), every)
    sold = world.chain.probabilities()[world.nodes].toarray()[0] > 0
    assert 3 < sold.sum() < 500
    assert not effects[~sold].any()
    assert len(np.unique(effects[sold], axis=0)) == sold.sum()


def test_effects_leave_the_world_alone() -> None:
    world = NgramRecommender(2)
    before = world.reset(seed=0)[0], world.draws.counters.copy()
    world.effects(NgramRecommender(5, seed=9).reset()[0], np.arange(5))
    np.testing.assert_array_equal(world._observe(), before[0])
    np.testing.assert_array_equal(world.draws.counters, before[1])


# --- returns


class Expert(AbstractPolicy):
    """What the world's own expert says; with `ahead` decisions to go where one is asked for."""

    def __init__(self, world: NgramRecommender, ahead: int | None = None) -> None:
        self.world, self.action_set, self.ahead = world, world.action_set, ahead

    def choose(self, observations: np.ndarray, allowed: object = None) -> np.ndarray:
        del observations, allowed
        if self.ahead is None:
            return self.world.expert()
        return self.world._plan[self.ahead - 1, self.world.nodes]


@pytest.mark.parametrize("multiplier", [3.0, 10.0])
def test_stated_returns_are_those_played(multiplier: float) -> None:
    world = NgramRecommender(1000, multiplier=multiplier)
    for actor, stated in (
        (Uniform(world.action_set), world.random_return),
        (Expert(world), world.best_return),
    ):
        returns = episode_returns(actor, world, episodes=4000, seed=0)
        assert abs(returns.mean() - stated) < 4 * returns.std() / 4000**0.5


def test_the_synthetic_shop_leaves_room() -> None:
    world = NgramRecommender(1000)
    assert world.random_return == pytest.approx(181.8, abs=0.1)
    assert world.best_return == pytest.approx(219.3, abs=0.1)
    returns = episode_returns(Expert(world, ahead=1), world, episodes=4000, seed=0)
    greedy, error = returns.mean(), returns.std() / 4000**0.5
    assert world.random_return + 20 * error < greedy < world.best_return - 4 * error


def test_a_return_of_the_small_shop_by_hand() -> None:
    """One decision; (a, b) 3 of 8 times, then (b, a), (b, c), (c, a) with 1, 3 and 1."""
    world = NgramRecommender(1, tables=shop(), min_context=3, horizon=1)
    after_a_b, after_a = 25 / 7, 2.0
    # popularity: a 4/11, b 4/11, c 3/11; c's weight is tripled
    anywhere = (4 * 1 + 4 * 2 + 9 * 4) / (4 + 4 + 9)
    assert world.best_return == pytest.approx((3 * after_a_b + 2 * after_a + 3 * anywhere) / 8)


def test_the_expert_reckons_with_the_decisions_left() -> None:
    world = NgramRecommender(300)
    world.reset(seed=0)
    nodes = world.nodes
    first = world.expert()
    world.clock[:] = 19
    last = world.expert()
    world.clock[:] = 25  # a world that has ended
    np.testing.assert_array_equal(world.expert(), last)
    assert (first == world._plan[19, nodes]).all()
    assert (last == world._plan[0, nodes]).all()
    assert (first != last).any()


# --- making one


def test_options_replace_the_preset_s() -> None:
    world = NgramRecommender(
        2, n_items=40, min_context=2, multiplier=5.0, horizon=7, preset=NgramConfig(layout_seed=1)
    )
    assert world.settings == NgramConfig(40, 1, 2, 5.0, 7)
    assert world.horizon == 7
    assert len(world.action_set) == 40
    assert world.tables is synthetic_tables(40, 1)
    assert NgramRecommender(1).settings == PRESETS["synthetic"]


def test_tables_may_be_a_file(tmp_path: Path) -> None:
    shop().write(tmp_path / "shop.npz")
    given, read = (
        NgramRecommender(4, tables=tables) for tables in (shop(), str(tmp_path / "shop.npz"))
    )
    np.testing.assert_array_equal(given.reset(seed=1)[0], read.reset(seed=1)[0])
    assert given.best_return == read.best_return


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "paper"}, "unknown n-gram recommender preset 'paper'; there are synthetic"),
        ({"multiplier": 0.9}, "multiplier must be a number of at least 1, got 0.9"),
        ({"multiplier": float("inf")}, "multiplier must be a number of at least 1, got inf"),
        ({"horizon": 0}, "horizon must be at least 1 decision, got 0"),
        ({"min_context": 0}, "min_context must be at least 1, got 0"),
        ({"n_items": 1}, "a synthetic shop has 2 to"),
        ({"tables": "nowhere.npz"}, "there are no n-gram tables at nowhere.npz"),
        ({"tables": shop(), "n_items": 3}, r"leave out n_items \(got 3\)"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NgramRecommender(1, **options)


# --- pictures


def test_a_picture_shows_purchases_and_what_was_followed() -> None:
    world = under(customers(2, A, B, horizon=4), 0.1, 4.5 / 7)
    blank = world.render()[0]
    assert blank.shape == (HEIGHT, WIDTH, 3)
    world.step(np.full(2, C))
    dear, cheap = world.render()
    bars = [
        (picture[30:149, 8:90] != 255).any(axis=2).any(axis=1).sum() for picture in (dear, cheap)
    ]
    assert bars[0] > bars[1] > 0
    assert not (blank[30:149] != 255).any()
    marks = [(picture[154:156] == 0).any() for picture in (dear, cheap)]
    assert marks == [True, False]


def test_a_long_session_shows_its_last_purchases() -> None:
    world = NgramRecommender(1, horizon=3 * BARS)
    world.reset(seed=0)
    for _ in range(2 * BARS):
        world.step(np.zeros(1, int))
    assert world.render()[0].shape == (HEIGHT, WIDTH, 3)
