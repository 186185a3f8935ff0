"""The slot machine: its numbers, its turns, what it pays, and an expert that cannot be beaten."""

import numpy as np
import pytest

from offline_actrep.behaviour import Expert, Uniform
from offline_actrep.rollout import episode_returns, play
from offline_actrep.simulators.slot_machine import (
    FACE,
    PRESETS,
    TICKS,
    SlotMachine,
    SlotMachineConfig,
    payments,
    reel_numbers,
    spins,
    turns,
)

NUMBERS = [[4, 5, 2, 6, 3, 8], [2, 8, 3, 6, 0, 4], [8, 0, 5, 4, 2, 7], [2, 7, 3, 6, 8, 5]]
"""The reels of layout 0."""
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)


def at(world: SlotMachine, *faces: list[int]) -> SlotMachine:
    """The world, its reels with these faces on the front at the start of an episode."""
    world.reset(seed=0)
    world.ticks = np.array(faces, np.int64).T * FACE
    return world


def spin(*tenths: int) -> int:
    """The action that turns the reels by these tenths."""
    return int(np.flatnonzero((spins() == tenths).all(axis=1))[0])


# --- the reels


def test_the_numbers_of_layout_0() -> None:
    assert SlotMachine(1).numbers.tolist() == NUMBERS
    assert SlotMachine(1, preset="angles", seed=9).numbers.tolist() == NUMBERS


def test_a_layout_has_its_own_numbers_none_twice_on_a_reel() -> None:
    layouts = [reel_numbers(layout) for layout in range(300)]
    for numbers in layouts:
        assert all(len(set(reel)) == 6 for reel in numbers.tolist())
    np.testing.assert_array_equal(np.unique(layouts), np.arange(9))
    assert len({numbers.tobytes() for numbers in layouts}) == 300


@EACH_PRESET
def test_every_place_is_as_likely_a_start(preset: str) -> None:
    world = SlotMachine(6000, preset=preset, seed=1)
    se = (1 / 6 * 5 / 6 / 6000) ** 0.5
    for reel in world.ticks // FACE:
        share = np.bincount(reel, minlength=6) / 6000
        assert np.abs(share - 1 / 6).max() < 4 * se
    corner = (world.ticks // FACE == 5).all(axis=0).mean()
    assert corner == pytest.approx(6.0**-4, abs=4 * (6.0**-4 / 6000) ** 0.5)
    step = FACE if preset == "paper" else 1
    np.testing.assert_array_equal(np.unique(world.ticks), np.arange(0, TICKS, step))


# --- what it pays


@pytest.mark.parametrize(
    ("faces", "shown", "reward"),
    [
        ([5, 1, 0, 4], [8, 8, 8, 8], 32),
        ([5, 1, 0, 0], [8, 8, 8, 2], 24),
        ([2, 0, 3, 0], [2, 2, 4, 2], 6),
        ([3, 3, 0, 4], [6, 6, 8, 8], 0),
        ([1, 4, 1, 0], [5, 0, 0, 2], 0),
    ],
)
def test_numbers_that_three_reels_show_pay(
    faces: list[int], shown: list[int], reward: float
) -> None:
    world = at(SlotMachine(1), [(face - 1) % 6 for face in faces])
    observations, rewards, *_ = world.step(np.array([spin(1, 1, 1, 1)]))
    assert observations.tolist() == [shown]
    assert rewards.tolist() == [reward]


def test_fewer_equal_numbers_pay_where_fewer_are_asked_for() -> None:
    reels = np.array(NUMBERS)
    pays = {least: payments(reels, least) for least in (1, 2, 3, 4)}
    assert [pays[least][3, 3, 0, 4] for least in (1, 2, 3, 4)] == [28, 28, 0, 0]
    assert [pays[least][5, 1, 0, 0] for least in (1, 2, 3, 4)] == [26, 24, 24, 0]
    assert [pays[least][5, 1, 0, 4] for least in (1, 2, 3, 4)] == [32] * 4


# --- what a spin does


def test_actions_are_digits_of_eight_the_first_reel_most_significant() -> None:
    action_set = SlotMachine(1).action_set
    assert len(action_set) == 4096
    assert action_set.names[0] == "0.1 0.1 0.1 0.1"
    assert action_set.names[1] == "0.1 0.1 0.1 0.2"
    assert action_set.names[7 * 8**3 + 2] == "0.8 0.1 0.1 0.3"
    assert action_set.features is not None
    np.testing.assert_allclose(action_set.features[7 * 8**3 + 2], [0.8, 0.1, 0.1, 0.3])
    assert spin(1, 1, 2, 1) == 8


def test_turns_are_whole_faces_or_tenths() -> None:
    assert (turns(True) / FACE).tolist() == [1, 1, 2, 2, 3, 4, 4, 5]
    np.testing.assert_allclose(turns(False) / TICKS, np.arange(1, 9) / 10)


def test_each_reel_turns_by_its_own_fraction_and_around() -> None:
    world = at(SlotMachine(2), [0, 0, 0, 0], [5, 4, 3, 2])
    observations = world.step(np.array([spin(1, 3, 5, 8), spin(8, 6, 5, 4)]))[0]
    assert (world.ticks // FACE).T.tolist() == [[1, 2, 3, 5], [4, 2, 0, 4]]
    assert observations.tolist() == [[5, 3, 4, 5], [3, 3, 8, 8]]


def test_angles_turn_by_the_fraction_and_show_the_face_they_lie_in() -> None:
    world = SlotMachine(500, preset="angles", seed=2)
    generator = np.random.default_rng(0)
    expected = world.reset(seed=2)[0].astype(np.float64)
    pays = payments(world.numbers, 3)
    for _ in range(20):
        actions = generator.integers(4096, size=500)
        expected = (expected + spins()[actions] / 10) % 1.0
        faces = np.floor(expected * 6).astype(int)
        observations, rewards, *_ = world.advance(actions)
        edge = (np.abs(expected * 6 - np.round(expected * 6)) < 1e-4).any(axis=1)
        np.testing.assert_allclose(observations[~edge], expected[~edge], atol=1e-5)
        np.testing.assert_array_equal(rewards[~edge], pays[tuple(faces.T)][~edge])
        assert edge.mean() < 0.05
        assert rewards.any()


def test_the_numbers_are_a_state_in_the_paper_preset_but_not_at_any_angle() -> None:
    for config, lawful in ((SlotMachineConfig(), True), (SlotMachineConfig(False), False)):
        world = SlotMachine(4000, preset=config, seed=3)
        before = world.reset(seed=3)[0]
        after = world.step(np.full(4000, spin(1, 3, 6, 8)))[0]
        pairs = np.unique(np.concatenate([before, after], axis=1), axis=0)
        assert (len(pairs) == len(np.unique(before, axis=0))) is lawful


@EACH_PRESET
def test_an_episode_has_twenty_spins(preset: str) -> None:
    world = SlotMachine(30, preset=preset)
    rows = play(Uniform(world.action_set), world, seed=0)
    for step, row in zip(range(1, 45), rows, strict=False):
        np.testing.assert_array_equal(row.first, step % 20 == 1)
        np.testing.assert_array_equal(row.truncated, step % 20 == 0)
        assert not row.terminated.any()


# --- the ground truth of a probe


@pytest.mark.parametrize(("preset", "distinct"), [("paper", 625), ("angles", 4096)])
def test_effects_are_how_far_the_reels_turn(preset: str, distinct: int) -> None:
    world = SlotMachine(4096, preset=preset)
    before, actions = world.ticks.copy(), np.arange(4096)
    effects = world.effects(world._observe(), actions)
    assert len(np.unique(effects, axis=0)) == distinct
    world.step(actions)
    turned = (world.ticks - before) % TICKS / TICKS
    np.testing.assert_allclose(effects, turned.T, atol=1e-12)


# --- the expert and the returns that the presets state


@EACH_PRESET
@pytest.mark.parametrize("seed", [0, 1])
def test_two_spins_of_the_expert_earn_as_much_as_the_best_of_all(preset: str, seed: int) -> None:
    config = SlotMachineConfig(PRESETS[preset].whole_faces, PRESETS[preset].shows, horizon=2)
    world = SlotMachine(1, preset=config, seed=seed, layout=seed)
    pays = payments(world.numbers, 3)
    start = world.ticks[:, 0]
    steps = np.unique(turns(config.whole_faces))
    ways = np.stack(np.meshgrid(*[steps] * 4, indexing="ij")).reshape(4, -1)
    best = 0.0
    for way in ways.T:
        first = (start + way) % TICKS
        second = (first[:, None] + ways) % TICKS // FACE
        best = max(best, pays[tuple(first // FACE)] + pays[tuple(second)].max())
    earned = sum(world.advance(world.expert())[1].item() for _ in range(2))
    assert earned == best > 0


@EACH_PRESET
def test_the_expert_earns_what_is_stated_and_never_less_than_greed(preset: str) -> None:
    world = SlotMachine(200, preset=preset)
    earned, greedy = episode_returns(Expert(world), world, episodes=200, seed=1), greed(preset)
    se = earned.std() / 200**0.5
    assert earned.mean() == pytest.approx(world.best_return, abs=4 * se + 0.05)
    assert (earned >= greedy).all()
    assert earned.mean() > greedy.mean()


def greed(preset: str) -> np.ndarray:
    """Returns of always spinning to the best numbers at once, in the same 200 episodes."""
    world = SlotMachine(200, preset=preset)
    sooner = SlotMachineConfig(PRESETS[preset].whole_faces, PRESETS[preset].shows, horizon=1)
    eyes = SlotMachine(200, preset=sooner)
    world.reseed(np.random.SeedSequence(1).spawn(2)[1])
    world.restart(np.ones(200, bool))
    total = np.zeros(200)
    for _ in range(20):
        eyes.ticks = world.ticks.copy()
        total += world.advance(eyes.expert())[1]
    return total


@EACH_PRESET
def test_the_stated_random_return_is_the_exact_and_the_measured_one(preset: str) -> None:
    """Uniform starts stay uniform under any turns, so every spin pays the mean of all faces."""
    world = SlotMachine(1000, preset=preset)
    exact = 20 * payments(world.numbers, 3).mean()
    assert world.random_return == pytest.approx(exact, abs=0.005)
    returns = episode_returns(Uniform(world.action_set), world, episodes=4000, seed=1)
    assert returns.mean() == pytest.approx(exact, abs=4 * returns.std() / 4000**0.5)


def test_the_paper_presets_best_return_is_exact() -> None:
    world = SlotMachine(6**4)
    faces = np.stack(np.unravel_index(np.arange(6**4), (6,) * 4))
    world.ticks = faces * FACE
    total = sum(world.advance(world.expert())[1] for _ in range(20))
    assert np.mean(total) == pytest.approx(world.best_return, abs=0.05)
    assert np.mean(total) == pytest.approx(499.2701, abs=1e-4)


def test_the_expert_knows_hidden_angles() -> None:
    hidden = SlotMachine(9, preset=SlotMachineConfig(whole_faces=False), seed=6)
    shown = SlotMachine(9, preset="angles", seed=6)
    for _ in range(5):
        np.testing.assert_array_equal(hidden.expert(), shown.expert())
        actions = shown.expert()
        np.testing.assert_array_equal(hidden.advance(actions)[1], shown.advance(actions)[1])


def test_the_stated_returns_hold_for_layout_0_alone() -> None:
    other = SlotMachine(1, layout=1)
    assert np.isnan([other.random_return, other.best_return]).all()


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown slot machine preset 'x'; there are paper, ang"):
        SlotMachine(1, preset="x")


# --- the picture


def test_the_picture_shows_the_reels_and_frames_the_front() -> None:
    one, other, same = at(SlotMachine(3), [0, 0, 0, 0], [0, 0, 0, 3], [0, 0, 0, 0]).render()
    assert one.shape == (220, 280, 3)
    np.testing.assert_array_equal(one, same)
    changed = np.flatnonzero((one != other).any(axis=(0, 2)))
    assert 20 + 3 * 60 <= changed.min() <= changed.max() < 20 + 4 * 60
    red = (one == (255, 0, 0)).all(axis=2)
    rows = np.flatnonzero(red.any(axis=1))
    assert (rows.min(), rows.max()) == (10 + 60, 10 + 120)


def test_the_front_number_stays_in_the_frame_as_the_reel_turns() -> None:
    world = SlotMachine(1, preset="angles")
    blacks = []
    for tick in (5, 9):
        world.ticks[:], world.part[:] = tick, 0.5
        black = (world.render()[0] == 0).all(axis=2)[:190]
        rows = np.flatnonzero(black.any(axis=1))
        assert rows.max() - rows.min() < 40
        blacks.append(rows.mean())
    assert 70 < blacks[0] + 15 < blacks[1] < 130
