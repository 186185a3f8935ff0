"""What every world promises, tried on all of them."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.catalog import WORLDS, make
from offline_actrep.simulators.maze import PRESETS

CASES = [("maze", {"preset": preset}) for preset in PRESETS]
SINGLE = [("offline_actrep/Maze-v0", {"preset": preset}) for preset in PRESETS]
N_WORLDS = 6

each_world = pytest.mark.parametrize(("name", "options"), CASES, ids=str)
each_single = pytest.mark.parametrize(("env_id", "options"), SINGLE, ids=str)


def random_actions(world: AbstractSimulator, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(len(world.action_set), size=world.num_envs)


def record_one(world: AbstractSimulator, step: int) -> tuple[np.ndarray, ...]:
    return world.step(random_actions(world, step))[:4]


def record(world: AbstractSimulator, steps: int) -> list[tuple[np.ndarray, ...]]:
    return [record_one(world, step) for step in range(steps)]


def assert_equal(left: list[tuple[np.ndarray, ...]], right: list[tuple[np.ndarray, ...]]) -> None:
    for one, other in zip(left, right, strict=True):
        for column, twin in zip(one, other, strict=True):
            np.testing.assert_array_equal(column, twin)


def test_every_world_is_tried() -> None:
    assert {name for name, _ in CASES} == set(WORLDS)
    registered = {key for key in gym.registry if key.startswith("offline_actrep/")}
    assert {env_id for env_id, _ in SINGLE} == registered


def test_an_unknown_world_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown world 'labyrinth'; there are maze"):
        make("labyrinth")


@each_single
def test_gymnasium_accepts_the_single_form(env_id: str, options: dict) -> None:
    env = gym.make(env_id, render_mode="rgb_array", **options)
    check_env(env.unwrapped)


@each_single
@pytest.mark.parametrize("beyond", [-1, 0])
def test_the_single_form_refuses_what_is_no_action(env_id: str, options: dict, beyond: int) -> None:
    env = gym.make(env_id, **options).unwrapped
    env.reset(seed=0)
    assert isinstance(env.action_space, gym.spaces.Discrete)
    action = -1 if beyond < 0 else env.action_space.n
    with pytest.raises(ValueError, match="actions must be 1 dense indices"):
        env.step(action)


@each_single
def test_the_single_form_is_one_of_the_batch(env_id: str, options: dict) -> None:
    env, world = gym.make(env_id, **options).unwrapped, make("maze", 1, **options)
    first, _ = env.reset(seed=5)
    np.testing.assert_array_equal(first, world.reset(seed=5)[0][0])
    for step in range(8):
        action = random_actions(world, step)
        one, batch = env.step(action[0]), world.step(action)
        np.testing.assert_array_equal(one[0], batch[0][0])
        assert one[1:4] == tuple(column[0] for column in batch[1:4])


@each_world
def test_shapes_types_and_spaces(name: str, options: dict) -> None:
    world = make(name, N_WORLDS, **options)
    size = len(world.observation_names)
    assert world.single_observation_space.shape == (size,)
    assert world.single_action_space == gym.spaces.Discrete(len(world.action_set))
    assert world.observation_space.shape == (N_WORLDS, size)
    assert world.action_space.shape == (N_WORLDS,)
    assert world.observation_space.contains(world.reset(seed=0)[0])
    for step in range(world.horizon + 3):
        assert world.action_space.contains(random_actions(world, step))
        observations, rewards, terminated, truncated, info = world.step(random_actions(world, step))
        assert world.observation_space.contains(observations)
        assert (rewards.dtype, rewards.shape) == (np.float64, (N_WORLDS,))
        assert np.isfinite(rewards).all()
        for ended in (terminated, truncated):
            assert (ended.dtype, ended.shape) == (np.bool_, (N_WORLDS,))
        assert not (terminated & truncated).any()
        assert info == {}


@each_world
def test_the_action_table_fits_the_actions(name: str, options: dict) -> None:
    world = make(name, 1, **options)
    features = world.action_set.features
    assert features is not None
    assert len(features) == len(world.action_set) > 1
    assert features.shape[1] == len(world.action_set.feature_names)
    assert np.isfinite(features).all()


@each_world
def test_a_seed_gives_the_same_bits_again(name: str, options: dict) -> None:
    one, other = (make(name, N_WORLDS, seed=seed, **options) for seed in (1, 2))
    runs = []
    for world in (one, one, other):
        first, _ = world.reset(seed=7)
        runs.append([(first,), *record(world, world.horizon + 2)])
    assert_equal(runs[0], runs[1])
    assert_equal(runs[0], runs[2])
    one.reset(seed=8)
    with pytest.raises(AssertionError):
        assert_equal(runs[0][1:], record(one, one.horizon + 2))


@each_world
def test_the_seed_of_the_making_counts_until_the_first_seeded_reset(
    name: str, options: dict
) -> None:
    runs = []
    for seed in (3, 3, 4):
        world = make(name, N_WORLDS, seed=seed, **options)
        world.reset()
        runs.append(record(world, 5))
    assert_equal(runs[0], runs[1])
    with pytest.raises(AssertionError):
        assert_equal(runs[0], runs[2])


@each_world
def test_nothing_global_is_drawn_from(name: str, options: dict) -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    record(make(name, N_WORLDS, **options), 3)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr]


@each_world
def test_what_was_returned_never_changes(name: str, options: dict) -> None:
    world = make(name, N_WORLDS, **options)
    held = [(world.reset(seed=0)[0],), *record(world, world.horizon + 2)]
    copies = [tuple(column.copy() for column in row) for row in held]
    record(world, world.horizon + 2)
    assert_equal(held, copies)


@each_world
def test_what_the_caller_does_to_it_does_not_reach_the_world(name: str, options: dict) -> None:
    runs = []
    for spoil in (False, True):
        world = make(name, N_WORLDS, **options)
        rows = [(world.reset(seed=0)[0],)]
        for step in range(world.horizon + 2):
            columns = record_one(world, step)
            rows.append(tuple(column.copy() for column in columns))
            if spoil:
                for column in columns:
                    column[...] = 1
        runs.append(rows)
    assert_equal(*runs)


@each_world
def test_the_step_after_an_end_begins_anew(name: str, options: dict) -> None:
    world = make(name, N_WORLDS, **options)
    start, _ = world.reset(seed=0)
    ended = np.zeros(N_WORLDS, bool)
    age = np.zeros(N_WORLDS, int)
    for step in range(2 * world.horizon + 3):
        observations, rewards, terminated, truncated = record_one(world, step)
        np.testing.assert_array_equal(observations[ended], start[ended])
        assert not rewards[ended].any()
        assert not (terminated | truncated)[ended].any()
        age = np.where(ended, 0, age + 1)
        ended = terminated | truncated
        np.testing.assert_array_equal(ended & ~terminated, truncated)
        np.testing.assert_array_equal(truncated, (age == world.horizon) & ~terminated)
    assert age.max() > 0


@each_world
@pytest.mark.parametrize(
    "actions",
    [np.zeros(N_WORLDS - 1, int), np.full(N_WORLDS, -1), np.full(N_WORLDS, 10**6), np.array(0)],
    ids=["too few", "negative", "too large", "no batch"],
)
def test_what_is_no_action_is_refused(name: str, options: dict, actions: np.ndarray) -> None:
    world = make(name, N_WORLDS, **options)
    world.reset(seed=0)
    message = f"actions must be {N_WORLDS} dense indices 0..{len(world.action_set) - 1}, got"
    with pytest.raises(ValueError, match=message):
        world.step(actions)


@each_world
def test_no_worlds_are_refused(name: str, options: dict) -> None:
    with pytest.raises(ValueError, match="at least one world, got 0"):
        make(name, 0, **options)


@each_world
def test_known_returns_are_stated(name: str, options: dict) -> None:
    world = make(name, 1, **options)
    assert np.isfinite([world.random_return, world.best_return]).all()
    assert world.random_return < world.best_return


@each_world
def test_one_picture_a_world(name: str, options: dict) -> None:
    world = make(name, 2, **options)
    world.reset(seed=0)
    pictures = world.render()
    assert pictures is not None
    assert len(pictures) == 2
    for picture in pictures:
        assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
