"""The slate recommender: what complements what, how a slate is built, and what it pays."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from offline_actrep.simulators.slates import (
    BUDGET,
    CANDIDATES,
    CATEGORIES,
    EMPTY,
    IGNORE_SCORE,
    KINDS,
    LEFT_AT,
    PLACED_AT,
    PRESETS,
    SLATE,
    SLATE_AT,
    SLATES,
    SUBCATEGORIES,
    SlateRecommender,
    complementarity,
    scores,
)

IGNORE = 1 - 1e-9
"""A draw that picks nothing, whatever the slate."""
RISE, FALL = -100.0, 100.0
"""Draws of the direction, beyond any product of interests and vector."""


class FixedDraws:
    """Stands for the random numbers: the two of every decision are those given."""

    def __init__(self, choice: float, direction: float) -> None:
        self.pair = np.array([[choice], [direction]])

    def uniform(self, lanes: int) -> np.ndarray:
        assert lanes == 2
        return self.pair


def counts(*numbers: int) -> np.ndarray:
    """A slate with so many items of the first subcategories."""
    return np.array([[*numbers, *[0] * (SUBCATEGORIES - len(numbers))]])


def session(preset: str = "paper", interest: float = 0.0) -> SlateRecommender:
    world = SlateRecommender(1, preset=preset)
    world.reset(seed=0)
    world.interests[:] = interest
    return world


def place(
    world: SlateRecommender, slate: np.ndarray, choice: float, direction: float = RISE
) -> tuple[list[float], bool, bool]:
    """Places a slate item by item: its rewards, and the last terminated and truncated."""
    world.draws = FixedDraws(choice, direction)  # type: ignore[assignment]
    rows = [world.advance(np.array([item]))[1:] for item in slate]
    return [row[0].item() for row in rows], rows[-1][1].item(), rows[-1][2].item()


def any_allowed(world: SlateRecommender, generator: np.random.Generator) -> np.ndarray:
    keys = np.where(world.left, generator.random(world.left.shape), -1)
    return world.candidates[np.arange(world.num_envs), keys.argmax(axis=1)]


# --- complementarity


@pytest.mark.parametrize(
    ("slate", "expected"),
    [
        ((6,), 0.0),
        ((3, 3), 0.387),
        ((3, 2, 1), 0.564),
        ((2, 3, 0, 1), 0.564),
        ((3, 0, 3), 0.206),
        ((1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1), 0.0),
        ((5, 0, 1), 0.2515),
    ],
)
def test_complementarity_of_known_slates(slate: tuple[int, ...], expected: float) -> None:
    assert complementarity(counts(*slate))[0] == pytest.approx(expected, abs=5e-4)


def test_complementarity_by_hand() -> None:
    """Four of one category (2, 2) and two of another (1, 1)."""
    categories = -(4 / 6 * np.log2(4 / 6) + 2 / 6 * np.log2(2 / 6))
    kinds = -(4 / 6 * np.log2(2 / 6) + 2 / 6 * np.log2(1 / 6))
    narrow = -(5 / 6 * np.log2(5 / 6) + 1 / 6 * np.log2(1 / 6))
    share = (1 / categories - 1 / np.log2(6)) / (1 / narrow - 1 / np.log2(6))
    expected = share * kinds / np.log2(6)
    assert complementarity(counts(2, 2, 1, 1))[0] == pytest.approx(expected)


def test_no_slate_complements_better_than_three_two_one() -> None:
    generator = np.random.default_rng(0)
    slates = generator.multinomial(6, generator.dirichlet(np.full(SUBCATEGORIES, 0.1), 50_000))
    found = complementarity(slates)
    assert found.min() == 0.0
    assert found.max() == pytest.approx(complementarity(counts(3, 2, 1))[0])


@pytest.mark.parametrize(("slate", "chance"), [((3, 2, 1), 0.713), ((6,), 0.129)])
def test_the_chance_of_a_pick_where_all_items_please(slate: tuple[int, ...], chance: float) -> None:
    interests = np.eye(CATEGORIES)[:1]
    vectors = np.repeat(interests[:, None], SLATE, axis=1)
    weights = np.exp(scores(interests, vectors, complementarity(counts(*slate))))
    found = weights.sum() / (weights.sum() + np.exp(IGNORE_SCORE))
    assert found == pytest.approx(chance, abs=1e-3)


# --- the catalogue and the candidates


@pytest.mark.parametrize("items", [80, 250, 1000])
def test_items_are_shared_out_evenly_and_stand_about_their_centres(items: int) -> None:
    world = SlateRecommender(1, items=items)
    sizes = np.bincount(world.subcategories, minlength=SUBCATEGORIES)
    assert (len(world.action_set), sizes.sum(), len(sizes)) == (items, items, SUBCATEGORIES)
    assert sizes.max() - sizes.min() <= 1
    away = world.vectors - world.centres[world.subcategories]
    assert away.var() == pytest.approx(0.1, abs=4 * 0.1 * (2 / away.size) ** 0.5)
    shift = world.centres - np.eye(CATEGORIES).repeat(KINDS, axis=0)
    assert np.abs(shift).max() <= 0.5
    np.testing.assert_allclose(world.action_set.features, world.vectors, atol=1e-6)
    assert world.action_set.names[-1] == f"category 9, kind 1, item {items - 1}"


def test_both_splits_share_their_centres_and_no_item() -> None:
    train, test = SlateRecommender(1), SlateRecommender(1, split="test")
    np.testing.assert_array_equal(train.centres, test.centres)
    assert not np.isin(train.vectors, test.vectors).any()
    assert (train.centres != SlateRecommender(1, pool_seed=1).centres).all()
    np.testing.assert_array_equal(train.vectors, SlateRecommender(1, seed=1).vectors)


@pytest.mark.parametrize("items", [80, 250, 1000])
def test_candidates_hold_a_main_category_with_both_kinds(items: int) -> None:
    world = SlateRecommender(4000, items=items)
    world.reset(seed=1)
    ordered = np.sort(world.candidates, axis=1)
    assert (np.diff(ordered, axis=1) > 0).all()
    assert (ordered[:, 0].min() >= 0) and (ordered[:, -1].max() < items)
    kinds = world.subcategories[world.candidates]
    main = kinds[:, 0] // KINDS
    alike = kinds // KINDS == main[:, None]
    sizes = alike.sum(axis=1)
    assert set(sizes) == {6, 7, 8}
    for size in (6, 7, 8):
        assert (sizes == size).mean() == pytest.approx(1 / 3, abs=4 * (2 / 9 / 4000) ** 0.5)
    for kind in range(KINDS):
        assert ((kinds == KINDS * main[:, None] + kind).sum(axis=1) >= 1).all()
    share = np.bincount(main, minlength=CATEGORIES) / 4000
    np.testing.assert_allclose(share, 0.1, atol=4 * (0.09 / 4000) ** 0.5)


def test_every_item_is_a_candidate_as_often_as_any_other() -> None:
    """At 80 items all categories and kinds are alike."""
    world = SlateRecommender(8000, items=80)
    world.reset(seed=2)
    seen = np.bincount(world.candidates.ravel(), minlength=80)
    np.testing.assert_allclose(seen / 8000, 0.25, atol=4.5 * (0.25 * 0.75 / 8000) ** 0.5)


def test_users_begin_near_the_middle_of_a_category() -> None:
    world = SlateRecommender(4000)
    world.reset(seed=3)
    middles = world.centres.reshape(CATEGORIES, KINDS, CATEGORIES).mean(axis=1)
    expected = np.clip(middles, -1, 1).mean(axis=0)
    np.testing.assert_allclose(world.interests.mean(axis=0), expected, atol=0.04)
    assert np.abs(world.interests).max() == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": 79}, "at least 80 items, got 79"),
        ({"split": "dev"}, "split is train or test, got 'dev'"),
        ({"preset": "pairs"}, "unknown slate preset 'pairs'; there are paper, direct"),
    ],
)
def test_what_makes_no_world_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlateRecommender(1, **changes)


# --- building a slate


def test_a_slate_is_built_item_by_item() -> None:
    world = session()
    slate = world.candidates[0, :SLATE].copy()
    kinds = world.subcategories[world.candidates[0]]
    all_left = np.bincount(kinds, minlength=SUBCATEGORIES)
    for n in range(SLATE):
        observation = world._observe()[0]
        vectors = observation[SLATE_AT:PLACED_AT].reshape(SLATE, CATEGORIES)
        np.testing.assert_allclose(vectors[:n], world.vectors[slate[:n]], atol=1e-6)
        assert not vectors[n:].any()
        placed = np.bincount(kinds[:n], minlength=SUBCATEGORIES)
        np.testing.assert_allclose(observation[PLACED_AT:LEFT_AT] * SLATE, placed, atol=1e-6)
        left = observation[LEFT_AT:] * CANDIDATES
        np.testing.assert_allclose(left, all_left - placed, atol=1e-5)
        allowed = world.allowed()
        assert set(allowed.row(0)) == set(world.candidates[0, n:])
        place(world, slate[n : n + 1], IGNORE)
    observation = world._observe()[0]
    assert not observation[SLATE_AT:LEFT_AT].any()
    np.testing.assert_allclose(observation[LEFT_AT:] * CANDIDATES, all_left, atol=1e-5)
    assert set(world.allowed().row(0)) == set(world.candidates[0])


def test_an_item_stands_once_in_a_slate_but_may_stand_in_the_next() -> None:
    world = session()
    item = world.candidates[0, :1]
    world.step(item)
    with pytest.raises(ValueError, match=f"action {item[0]} is not allowed in world 0"):
        world.step(item)
    for other in world.candidates[0, 1:SLATE]:
        world.step(np.array([other]))
    world.step(item)


def test_the_catalogue_beside_the_candidates_is_refused() -> None:
    world = session()
    stranger = np.setdiff1d(np.arange(250), world.candidates[0])[:1]
    with pytest.raises(ValueError, match="which may choose among 20"):
        world.step(stranger)


def test_columns_have_their_names() -> None:
    names = SlateRecommender(1).observation_names
    assert len(names) == LEFT_AT + SUBCATEGORIES == 111
    assert (names[0], names[CATEGORIES]) == ("interest_0", "budget")
    assert (names[SLATE_AT], names[PLACED_AT - 1]) == ("slate_0_x0", "slate_5_x9")
    assert (names[PLACED_AT], names[LEFT_AT - 1]) == ("placed_0_0", "placed_9_1")
    assert (names[LEFT_AT], names[-1]) == ("left_0_0", "left_9_1")


# --- what a full slate pays


def chance_of(world: SlateRecommender, slate: np.ndarray) -> tuple[np.ndarray, float]:
    """Chances of each item of the slate to be picked, and its CPR."""
    placed = np.bincount(world.subcategories[slate], minlength=SUBCATEGORIES)[None]
    cpr = complementarity(placed)
    weights = np.exp(scores(world.interests, world.vectors[slate][None], cpr))[0]
    return weights / (weights.sum() + np.exp(IGNORE_SCORE)), float(cpr[0])


@pytest.mark.parametrize("preset", PRESETS)
def test_the_full_slate_pays_and_nothing_before(preset: str) -> None:
    world = session(preset, interest=0.3)
    slate = world.candidates[0, :SLATE].copy()
    chances, cpr = chance_of(world, slate)
    pays = cpr if preset == "direct" else 0.0
    picked = place(world, slate, chances.sum() - 1e-9)
    assert picked[0] == pytest.approx([0, 0, 0, 0, 0, 1 + pays])
    assert world.budget[0] == BUDGET - 4
    assert world.info()["cpr"][0] == pytest.approx(cpr)
    world.interests[:] = 0.3
    ignored = place(world, slate, chances.sum() + 1e-9)
    assert ignored[0] == pytest.approx([0, 0, 0, 0, 0, pays])
    assert world.budget[0] == BUDGET - 4 - 50
    place(world, slate[:1], IGNORE)
    assert world.info()["cpr"][0] == 0.0


@pytest.mark.parametrize("direction", [RISE, FALL])
@pytest.mark.parametrize("position", [0, 3, 5])
def test_the_picked_item_moves_the_interests(position: int, direction: float) -> None:
    world = session(interest=0.3)
    slate = world.candidates[0, :SLATE].copy()
    chances, _ = chance_of(world, slate)
    place(world, slate, chances[: position + 1].sum() - 1e-9, direction)
    vector = world.vectors[slate[position]]
    step = 0.3 * 0.7 * vector * (vector - 0.3)
    expected = np.clip(0.3 + (step if direction == RISE else -step), -1, 1)
    np.testing.assert_allclose(world.interests[0], expected)


def test_interests_rise_with_the_chance_that_they_give() -> None:
    world = session(interest=0.3)
    slate = world.candidates[0, :SLATE].copy()
    vector = world.vectors[slate[0]]
    rise = 0.65 * vector.sum()
    for draw, sign in ((rise - 1e-9, 1), (rise + 1e-9, -1)):
        world.interests[:] = 0.3
        place(world, slate, 0.0, draw)
        moved = 0.3 + sign * 0.3 * 0.7 * vector * (vector - 0.3)
        np.testing.assert_allclose(world.interests[0], np.clip(moved, -1, 1))


def test_an_ignored_slate_leaves_the_interests_alone() -> None:
    world = session(interest=0.3)
    place(world, world.candidates[0, :SLATE].copy(), IGNORE)
    np.testing.assert_array_equal(world.interests, 0.3)


def test_picks_come_as_often_as_they_should() -> None:
    world = SlateRecommender(20_000)
    world.reset(seed=4)
    for name in ("interests", "candidates"):
        getattr(world, name)[:] = getattr(world, name)[0]
    slate = world.candidates[0, [0, 1, 2, 3, 4, 12]]
    alone = session()
    alone.interests[:], alone.candidates[:] = world.interests[0], world.candidates[0]
    chances, _ = chance_of(alone, slate)
    for item in slate:
        _, rewards, _, _ = world.advance(np.full(20_000, item))
    se = (chances.sum() * (1 - chances.sum()) / 20_000) ** 0.5
    assert rewards.mean() == pytest.approx(chances.sum(), abs=4 * se)


# --- ends


def test_the_fourth_ignored_slate_ends_the_session() -> None:
    world = session()
    slate = world.candidates[0, :SLATE].copy()
    ends = [place(world, slate, IGNORE)[1:] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(True, False)]
    assert world.budget[0] == 0.0


def test_a_session_is_cut_after_fifteen_slates() -> None:
    world = session()
    slate = world.candidates[0, :SLATE].copy()
    assert world.horizon == SLATES * SLATE == 90
    ends = [place(world, slate, 0.0 if n > 2 else IGNORE)[1:] for n in range(SLATES)]
    assert ends == [(False, False)] * 14 + [(False, True)]
    assert world.budget[0] == 200 - 3 * 50 - 12 * 4


def test_a_session_over_with_its_last_slate_is_not_cut() -> None:
    world = session()
    slate = world.candidates[0, :SLATE].copy()
    ends = [place(world, slate, 0.0 if 2 < n < 14 else IGNORE)[1:] for n in range(SLATES)]
    assert ends[-1] == (True, False)


def test_a_new_session_has_other_candidates_and_an_empty_slate() -> None:
    world = SlateRecommender(2)
    world.reset(seed=5)
    before = world.candidates.copy()
    for _ in range(3):
        world.advance(world.candidates[np.arange(2), world.left.argmax(axis=1)])
    world.restart(np.array([True, False]))
    assert (world.candidates[0] != before[0]).any()
    assert world.slate[0].tolist() == [EMPTY] * SLATE
    assert (world.slate[1, :3] != EMPTY).all()
    assert (world.left[0].sum(), world.left[1].sum()) == (20, 17)
    assert (world.placed[0].sum(), world.placed[1].sum()) == (0, 3)
    np.testing.assert_array_equal(world.offered.sum(axis=1), [20, 17])


# --- what an action truly does


@pytest.mark.parametrize("preset", PRESETS)
def test_effects_tell_the_item_and_what_the_last_one_pays(preset: str) -> None:
    world = session(preset, interest=0.3)
    slate = world.candidates[0, :SLATE].copy()
    chances, cpr = chance_of(world, slate)
    pays = chances.sum() + (cpr if preset == "direct" else 0.0)
    for n, item in enumerate(slate):
        effects = world.effects(world._observe(), np.array([item]))[0]
        assert effects[0] == (pytest.approx(pays, abs=1e-6) if n == SLATE - 1 else 0.0)
        np.testing.assert_array_equal(effects[1 : 1 + CATEGORIES], world.vectors[item])
        kind = effects[1 + CATEGORIES :]
        assert (kind.argmax(), kind.sum()) == (world.subcategories[item], 1)
        place(world, slate[n : n + 1], IGNORE)


def test_items_are_equal_if_vector_and_subcategory_are() -> None:
    world = session()
    world.vectors[1] = world.vectors[0]
    rows = world.effects(np.repeat(world._observe(), 3, axis=0), np.array([0, 1, 2]))
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0] != rows[2]).any()


# --- the expert and the returns


@pytest.mark.parametrize("preset", PRESETS)
def test_the_expert_finds_the_best_of_all_slates(preset: str) -> None:
    """Against all 38,760 slates of a session's candidates."""
    world = SlateRecommender(8, preset=preset)
    world.reset(seed=6)
    interests, candidates = world.interests.copy(), world.candidates.copy()
    slates = []
    for _ in range(SLATE):
        slates.append(world.expert())
        world.advance(slates[-1])
    every = np.array(list(combinations(range(CANDIDATES), SLATE)))
    for b, own in enumerate(np.stack(slates, axis=1)):
        tried = np.concatenate([candidates[b, every], own[None]])
        placed = np.zeros((len(tried), SUBCATEGORIES), np.int64)
        np.add.at(placed, (np.arange(len(tried))[:, None], world.subcategories[tried]), 1)
        cpr = complementarity(placed)
        user = np.repeat(interests[b : b + 1], len(tried), axis=0)
        weights = np.exp(scores(user, world.vectors[tried], cpr)).sum(axis=1)
        pays = world._pays(weights, cpr)
        assert pays[-1] == pytest.approx(pays.max())


def test_the_expert_goes_on_with_a_slate_that_others_began() -> None:
    world = SlateRecommender(200)
    world.reset(seed=7)
    generator = np.random.default_rng(0)
    world.advance(any_allowed(world, generator))
    for _ in range(SLATE - 1):
        allowed = world.allowed()
        actions = world.expert()
        assert allowed.holds(actions).all()
        world.advance(actions)
    assert world.cpr.mean() > 0.4


Chooser = Callable[[SlateRecommender, np.random.Generator], np.ndarray]


def oracle(world: SlateRecommender, generator: np.random.Generator) -> np.ndarray:
    del generator
    return world.expert()


def sessions(world: SlateRecommender, chooser: Chooser) -> tuple[np.ndarray, np.ndarray]:
    """Return of one session of every world, and the CPR of its first slate."""
    generator = np.random.default_rng(0)
    world.reset(seed=8)
    returns = np.zeros(world.num_envs)
    first = np.zeros(world.num_envs)
    running = np.ones(world.num_envs, bool)
    for decision in range(1, world.horizon + 1):
        _, rewards, terminated, _ = world.advance(chooser(world, generator))
        returns += rewards * running
        running &= ~terminated
        first = world.cpr if decision == SLATE else first
    return returns, first


def standard_error(sample: np.ndarray) -> float:
    return sample.std() / len(sample) ** 0.5


def test_random_slates_complement_as_measured_elsewhere() -> None:
    """0.106, given to three digits, of an independent program with items of its own."""
    _, first = sessions(SlateRecommender(4000), any_allowed)
    assert first.mean() == pytest.approx(0.106, abs=4 * standard_error(first) + 5e-3)


def test_the_experts_slates_complement_almost_best() -> None:
    _, first = sessions(SlateRecommender(300), oracle)
    assert 0.55 < first.mean() <= complementarity(counts(3, 2, 1))[0]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("chooser", "worlds"), [(any_allowed, 4000), (oracle, 400)])
def test_the_stated_returns_are_the_measured_ones(
    preset: str, chooser: Chooser, worlds: int
) -> None:
    world = SlateRecommender(worlds, preset=preset)
    stated = world.random_return if chooser is any_allowed else world.best_return
    returns, _ = sessions(world, chooser)
    assert returns.mean() == pytest.approx(stated, abs=4 * standard_error(returns) + 0.05)


def test_the_stated_returns_hold_for_the_preset_alone() -> None:
    assert np.isnan(SlateRecommender(1, items=1000).random_return)
    assert np.isnan(SlateRecommender(1, split="test").best_return)
    own = replace(PRESETS["paper"], best_return=1.0)
    assert SlateRecommender(1, preset=own).best_return == 1.0


# --- the picture


def test_the_picture_shows_slate_candidates_interests_and_budget() -> None:
    world = session()
    first = int(np.flatnonzero(world.subcategories == 0)[0])
    second = int(np.flatnonzero(world.subcategories == 1)[0])
    world.slate[0, :2] = first, second
    world.candidates[0, :2] = first, second
    world.left[0, 0] = False
    world.interests[0, :2] = 1.0, -1.0
    world.budget[:] = 50.0
    picture = world.render()[0]
    blue, orange, dark, blank = (31, 119, 180), (255, 127, 14), (60, 60, 60), (230, 230, 230)
    expected = {
        (30, 15): blue,
        (30, 45): blue,
        (30, 65): blue,
        (30, 95): dark,
        (30, 115): blank,
        (70, 15): blank,
        (70, 26): blue,
        (70, 36): dark,
        (100, 25): blue,
        (100, 55): (255, 255, 255),
        (160, 55): orange,
        (188, 80): (40, 90, 200),
        (188, 90): blank,
    }
    assert {place: tuple(picture[place].tolist()) for place in expected} == expected
