"""The original RecSim against our recommender; most of it only where RecSim is installed."""

import importlib.util
import sys

import numpy as np
import pytest

from offline_actrep.simulators.catalog import WORLDS
from offline_actrep.simulators.original_recsim import (
    MODULE,
    NEEDS_TENSORFLOW,
    OriginalRecSim,
    _state,
    generator_words,
)
from offline_actrep.simulators.recommender import Recommender, watch_probability

needs_recsim = pytest.mark.skipif(
    importlib.util.find_spec("recsim") is None, reason="RecSim is not installed"
)
VIDEOS = 30
"""Of most catalogues here: RecSim lists them all at each step."""


def global_state() -> tuple:
    name, words, *others = np.random.get_state()
    return (name, words.tolist(), *others)  # type: ignore[union-attr]


def videos_shown(n_worlds: int, steps: int) -> np.ndarray:
    return np.random.default_rng(0).integers(VIDEOS, size=(steps, n_worlds))


# --- without RecSim


def test_without_recsim_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(ImportError, match=r"needs RecSim .* pip install --no-deps recsim==0\.2\.4"):
        OriginalRecSim(1)
    assert not set(NEEDS_TENSORFLOW) & set(sys.modules)


def test_it_is_not_registered() -> None:
    assert OriginalRecSim not in WORLDS.values()


def test_the_words_make_the_twister_yield_the_numbers() -> None:
    uniforms = Recommender(3).draws.uniform(40)
    uniforms[:2, 0] = 0.0, 1 - 2.0**-53
    words = generator_words(uniforms)
    assert words.shape == (3, 80)
    for world in range(3):
        generator = np.random.RandomState()
        generator.set_state(_state(words[world]))
        np.testing.assert_array_equal(generator.random_sample(40), uniforms[:, world])


# --- against our recommender


@needs_recsim
@pytest.mark.parametrize("pool_seed", [0, 7])
def test_the_catalogue_is_ours(pool_seed: int) -> None:
    world, ours = OriginalRecSim(1, pool_seed=pool_seed), Recommender(1, pool_seed=pool_seed)
    documents = world.originals[0].environment.candidate_set.get_all_documents()
    assert [video.cluster_id for video in documents] == ours.topics.tolist()
    assert [video.quality for video in documents] == ours.qualities.tolist()
    assert [video.video_length for video in documents] == ours.lengths.tolist()
    features = ours.action_set.features
    assert features is not None
    shown = np.array([video.create_observation() for video in documents])
    np.testing.assert_array_equal(shown, features[:, :20])
    np.testing.assert_array_equal(world.action_set.features, features)


@needs_recsim
def test_click_probabilities_are_ours() -> None:
    world = OriginalRecSim(1, videos=VIDEOS)
    original = world.originals[0].environment
    video = original.candidate_set.get_all_documents()[0]
    for interest in np.linspace(-1, 1, 21):
        user = original.user_model._user_state
        user.user_interests[video.cluster_id] = interest
        choice = original.user_model.choice_model
        choice.score_documents(user, [video.create_observation()])
        chance = choice.scores[0] / (choice.scores[0] + choice.score_no_click)
        assert chance == pytest.approx(watch_probability(np.array([interest]))[0], abs=1e-15)


@needs_recsim
def test_sessions_are_ours() -> None:
    """Same seed, same actions: interests, budgets, minutes and ends, through several sessions."""
    world = OriginalRecSim(6, videos=VIDEOS, seed=1)
    ours = Recommender(6, preset="recsim", videos=VIDEOS, seed=1)
    np.testing.assert_array_equal(world.reset(seed=4)[0], ours.reset(seed=4)[0])
    np.testing.assert_array_equal(world.twin.interests, ours.interests)
    ends = np.zeros(6, int)
    for actions in videos_shown(6, 300):
        seen, minutes, over, cut, _ = world.step(actions)
        expected, our_minutes, our_over, our_cut, _ = ours.step(actions)
        np.testing.assert_allclose(seen, expected, atol=1e-6)
        np.testing.assert_allclose(world.twin.interests, ours.interests, atol=1e-12)
        np.testing.assert_allclose(world.twin.budget, ours.budget, atol=1e-10)
        np.testing.assert_allclose(minutes, our_minutes, atol=1e-10)
        np.testing.assert_array_equal(over, our_over)
        np.testing.assert_array_equal(cut, our_cut)
        np.testing.assert_array_equal(world.twin.shown[~over], ours.shown[~over])
        ends += over
    assert ends.min() > 1


@needs_recsim
def test_the_expert_and_the_pictures_are_ours() -> None:
    world = OriginalRecSim(3, videos=VIDEOS)
    ours = Recommender(3, preset="recsim", videos=VIDEOS)
    for _ in range(20):
        actions = world.expert()
        np.testing.assert_array_equal(actions, ours.expert())
        observations, *_ = world.step(actions)
        ours.step(actions)
    np.testing.assert_array_equal(world.render(), ours.render())
    ours_effects = ours.effects(observations, actions)
    np.testing.assert_array_equal(world.effects(observations, actions), ours_effects)


@needs_recsim
def test_what_is_known_of_ours_is_said_of_it() -> None:
    world, ours = OriginalRecSim(1), Recommender(1, preset="recsim")
    assert world.observation_names == ours.observation_names
    assert world.observation_space == ours.observation_space
    assert world.action_space == ours.action_space
    assert world.horizon == ours.horizon
    assert (world.random_return, world.best_return) == (ours.random_return, ours.best_return)
    assert np.isnan(OriginalRecSim(1, videos=VIDEOS).random_return)


@needs_recsim
def test_a_session_is_cut_at_the_horizon() -> None:
    world = OriginalRecSim(2, videos=VIDEOS)
    world.twin.clock[0] = world.horizon - 1
    *_, over, cut, _ = world.step(np.zeros(2, int))
    assert (over.tolist(), cut.tolist()) == ([False, False], [True, False])
    world.step(np.zeros(2, int))
    assert world.twin.clock.tolist() == [0, 2]


# --- what RecSim would do to its callers


@needs_recsim
def test_what_was_returned_never_changes() -> None:
    world = OriginalRecSim(4, videos=VIDEOS)
    held = [world.reset(seed=0)[0]]
    copies = [held[0].copy()]
    for actions in videos_shown(4, 30):
        held.append(world.step(actions)[0])
        copies.append(held[-1].copy())
        assert world.observation_space.contains(held[-1])
    np.testing.assert_array_equal(held, copies)
    assert len({row.tobytes() for row in held}) > 10


@needs_recsim
def test_nothing_global_is_changed() -> None:
    saved = np.random.get_state()
    try:
        np.random.seed(3)
        np.random.normal()  # leaves a second one in store
        before = global_state()
        world = OriginalRecSim(2, videos=VIDEOS)
        world.reset(seed=0)
        for actions in videos_shown(2, 5):
            world.step(actions)
        with pytest.raises(IndexError):
            world.advance(np.full(2, VIDEOS))
        assert global_state() == before
    finally:
        np.random.set_state(saved)
    assert not set(NEEDS_TENSORFLOW) & set(sys.modules)


@needs_recsim
def test_a_world_lives_its_own_life_in_any_batch() -> None:
    batch, alone = OriginalRecSim(3, videos=VIDEOS), OriginalRecSim(1, videos=VIDEOS)
    first, only = batch.reset(seed=2)[0], alone.reset(seed=2)[0]
    np.testing.assert_array_equal(first[:1], only)
    assert len(np.unique(first, axis=0)) == 3
    for actions in videos_shown(3, 40):
        many, one = batch.step(actions), alone.step(actions[:1])
        for column, twin in zip(many[:4], one[:4], strict=True):
            np.testing.assert_array_equal(column[:1], twin)


@needs_recsim
def test_a_seed_begins_the_same_life_again() -> None:
    world, lives = OriginalRecSim(2, videos=VIDEOS), []
    for seed in (5, 5, 6):
        world.reset(seed=seed)
        lives.append(np.stack([world.step(actions)[0] for actions in videos_shown(2, 20)]))
    np.testing.assert_array_equal(lives[0], lives[1])
    assert (lives[0] != lives[2]).any()
