"""What every world promises, tried on all of them."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.catalog import WORLDS, env_id, make
from offline_actrep.simulators.wrappers import ChangingConfig

CASES = [
    ("maze", {"preset": "paper"}),
    ("maze", {"preset": "chandak"}),
    ("maze", {"preset": "plans"}),
    ("gridworld", {"preset": "continuous"}),
    ("gridworld", {"preset": "discrete"}),
    ("slot_machine", {"preset": "paper"}),
    ("slot_machine", {"preset": "angles"}),
    ("recommender", {"preset": "paper"}),
    ("recommender", {"preset": "shown"}),
    ("recommender", {"preset": "recsim"}),
    ("slate_recommender", {"preset": "paper"}),
    ("slate_recommender", {"preset": "direct"}),
    ("ngram_recommender", {"preset": "synthetic"}),
    ("skills_grid", {"preset": "paper"}),
    ("skills_grid", {"preset": "test"}),
    ("skills_grid", {"preset": "all"}),
    ("dig_lava_grid", {"preset": "paper"}),
    ("dig_lava_grid", {"preset": "agile"}),
    ("mining_grid", {"preset": "paper"}),
    ("mining_grid", {"preset": "thousand"}),
    ("dialogue", {"preset": "paper"}),
    ("dialogue", {"preset": "convlab"}),
]
CHANGED = [
    ("maze", {"actuators": 6, "changing_actions": ChangingConfig(0.3)}),
    ("maze", {"actuators": 6, "changing_actions": ChangingConfig(0.1, every="episode")}),
    ("maze", {"actuators": 6, "reward_noise": 0.5}),
    ("maze", {"actuators": 6, "earlier_end": 20}),
]
"""Worlds under a wrapper: what they promise is the same, but nobody has measured their returns."""
N_WORLDS = 6
LONGEST = 200
"""Most steps that a test plays: a world whose episodes may be longer is not played to its end."""

each_world = pytest.mark.parametrize(("name", "options"), CASES + CHANGED, ids=str)
each_unchanged = pytest.mark.parametrize(("name", "options"), CASES, ids=str)


def span(world: AbstractSimulator) -> int:
    return min(world.horizon, LONGEST)


def random_actions(world: AbstractSimulator, seed: int) -> np.ndarray:
    """Allowed ones, a draw a world: world b's does not depend on the batch."""
    allowed = world.allowed()
    draws = [np.random.default_rng([seed, b]).random() for b in range(world.num_envs)]
    if allowed is None:
        return (np.array(draws) * len(world.action_set)).astype(np.int64)
    rows = [allowed.row(b) for b in range(world.num_envs)]
    return np.array([row[int(draw * len(row))] for row, draw in zip(rows, draws, strict=True)])


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
    assert {env_id(name) for name in WORLDS} == registered


def test_an_unknown_world_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown world 'labyrinth'; there are "):
        make("labyrinth")


@each_unchanged
def test_gymnasium_accepts_the_single_form(name: str, options: dict) -> None:
    env = gym.make(env_id(name), render_mode="rgb_array", **options).unwrapped
    worlds, step = env.worlds, env.step  # type: ignore[attr-defined]

    def allowed_step(action: np.int64) -> tuple:
        allowed = worlds.allowed()
        forbidden = allowed is not None and action not in allowed.row(0)
        return step(allowed.row(0)[0] if forbidden else action)

    env.step = allowed_step  # the checker draws from all actions
    check_env(env)


@each_unchanged
@pytest.mark.parametrize("beyond", [-1, 0])
def test_the_single_form_refuses_what_is_no_action(name: str, options: dict, beyond: int) -> None:
    env = gym.make(env_id(name), **options).unwrapped
    env.reset(seed=0)
    assert isinstance(env.action_space, gym.spaces.Discrete)
    action = -1 if beyond < 0 else env.action_space.n
    with pytest.raises(ValueError, match="actions must be 1 dense indices"):
        env.step(action)


@each_unchanged
def test_single_forms_without_a_seed_lead_other_lives(name: str, options: dict) -> None:
    """As gymnasium's own do; a seed at the making is one, too."""

    def lives(**seed: int) -> list[list[np.ndarray]]:
        envs = [gym.make(env_id(name), **options, **seed).unwrapped for _ in range(3)]
        return [[env.reset()[0] for _ in range(4)] for env in envs]

    one, *others = lives(seed=3)
    assert all(np.array_equal(one, other) for other in others)
    if len({seen.tobytes() for seen in one}) > 1:  # what an episode begins with is drawn
        found = lives()
        assert not np.array_equal(found[0], found[1]) or not np.array_equal(found[0], found[2])


@each_unchanged
def test_the_single_form_is_one_of_the_batch(name: str, options: dict) -> None:
    env, world = gym.make(env_id(name), **options).unwrapped, make(name, 1, **options)
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
    for step in range(span(world) + 3):
        assert world.action_space.contains(random_actions(world, step))
        observations, rewards, terminated, truncated, info = world.step(random_actions(world, step))
        assert world.observation_space.contains(observations)
        assert (rewards.dtype, rewards.shape) == (np.float64, (N_WORLDS,))
        assert np.isfinite(rewards).all()
        for ended in (terminated, truncated):
            assert (ended.dtype, ended.shape) == (np.bool_, (N_WORLDS,))
        assert not (terminated & truncated).any()
        assert all(len(column) == N_WORLDS for column in info.values())


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
        runs.append([(first,), *record(world, span(world) + 2)])
    assert_equal(runs[0], runs[1])
    assert_equal(runs[0], runs[2])
    one.reset(seed=8)
    with pytest.raises(AssertionError):
        assert_equal(runs[0][1:], record(one, span(one) + 2))


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
    held = [(world.reset(seed=0)[0],), *record(world, span(world) + 2)]
    copies = [tuple(column.copy() for column in row) for row in held]
    record(world, span(world) + 2)
    assert_equal(held, copies)


@each_world
def test_what_the_caller_does_to_it_does_not_reach_the_world(name: str, options: dict) -> None:
    runs = []
    for spoil in (False, True):
        world = make(name, N_WORLDS, **options)
        rows = [(world.reset(seed=0)[0],)]
        for step in range(span(world) + 2):
            columns = record_one(world, step)
            rows.append(tuple(column.copy() for column in columns))
            if spoil:
                for column in columns:
                    column[...] = 1
        runs.append(rows)
    assert_equal(*runs)


@each_world
def test_a_world_lives_the_same_life_in_any_batch(name: str, options: dict) -> None:
    batch, alone = make(name, 1024, **options), make(name, 1, **options)
    first, only = batch.reset(seed=11)[0], alone.reset(seed=11)[0]
    np.testing.assert_array_equal(first[:1], only)
    for step in range(min(span(alone), 25) + 2):
        many = random_actions(alone, step).repeat(1024)
        if (allowed := batch.allowed()) is not None:
            many = allowed.indices[allowed.offsets[:-1]]
            many[0] = random_actions(alone, step)[0]
        one = alone.step(many[:1])
        for column, twin in zip(batch.step(many)[:4], one[:4], strict=True):
            np.testing.assert_array_equal(column[:1], twin)


@each_world
def test_other_worlds_do_not_matter(name: str, options: dict) -> None:
    runs = []
    for others in (1, 2):
        world = make(name, 3, **options)
        world.reset(seed=3)
        rows = []
        for step in range(span(world) + 2):
            actions = random_actions(world, step)
            actions[:2] = random_actions(world, step * others + 1)[:2]
            rows.append(tuple(column[2:].copy() for column in world.step(actions)[:4]))
        runs.append(rows)
    assert_equal(*runs)


@each_world
def test_the_step_after_an_end_begins_anew(name: str, options: dict) -> None:
    world = make(name, N_WORLDS, **options)
    world.reset(seed=0)
    ended = np.zeros(N_WORLDS, bool)
    age = np.zeros(N_WORLDS, int)
    for step in range(2 * span(world) + 3):
        _, rewards, terminated, truncated = record_one(world, step)
        assert not rewards[ended].any()
        assert not (terminated | truncated)[ended].any()
        age = np.where(ended, 0, age + 1)
        ended = terminated | truncated
        np.testing.assert_array_equal(ended & ~terminated, truncated)
        np.testing.assert_array_equal(truncated, (age == world.horizon) & ~terminated)
    assert age.max() > 0


@each_world
def test_what_is_not_allowed_is_refused(name: str, options: dict) -> None:
    world = make(name, N_WORLDS, **options)
    world.reset(seed=0)
    allowed = world.allowed()
    if allowed is None:
        return
    assert len(allowed) == N_WORLDS
    mask = allowed.mask(len(world.action_set))
    assert mask.any(axis=1).all()
    if mask.all():
        return
    actions = random_actions(world, 0)
    row = int(np.flatnonzero(~mask.all(axis=1))[0])
    actions[row] = int(np.flatnonzero(~mask[row])[0])
    with pytest.raises(ValueError, match=f"action {actions[row]} is not allowed in world {row}"):
        world.step(actions)


@each_unchanged
def test_the_expert_chooses_what_is_allowed_and_beats_chance(name: str, options: dict) -> None:
    world = make(name, 32, **options)
    world.reset(seed=0)
    earned = np.zeros(32)
    over = np.zeros(32, bool)
    for _ in range(span(world)):
        actions = world.expert()
        assert (actions.dtype, actions.shape) == (np.int64, (32,))
        _, rewards, terminated, truncated, _ = world.step(actions)
        earned += np.where(over, 0.0, rewards)
        over |= terminated | truncated
        if over.all():
            break
    assert earned.mean() > world.random_return


@each_world
def test_effects_are_a_row_an_action(name: str, options: dict) -> None:
    world = make(name, 1, **options)
    observation, _ = world.reset(seed=0)
    actions = np.arange(min(len(world.action_set), 300))
    effects = world.effects(np.repeat(observation, len(actions), axis=0), actions)
    if effects is not None:
        assert (len(effects), effects.ndim) == (len(actions), 2)
        assert np.isfinite(effects).all()
        assert len(np.unique(effects, axis=0)) > 1


@each_world
@pytest.mark.parametrize(
    "actions",
    [
        np.zeros(N_WORLDS - 1, int),
        np.full(N_WORLDS, -1),
        np.full(N_WORLDS, 10**6),
        np.array(0),
        np.full(N_WORLDS, 0.5),
    ],
    ids=["too few", "negative", "too large", "no batch", "no index"],
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


@each_unchanged
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
