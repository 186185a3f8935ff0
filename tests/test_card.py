"""A log's headroom, its coverage, and its card."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.behaviour import Expert, Uniform, collect
from offline_actrep.card import Coverage, Headroom, coverage, headroom, write_card
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.estimate import Estimate
from offline_actrep.core.log import Log
from offline_actrep.evaluate import evaluate
from offline_actrep.offline.train import train
from offline_actrep.simulators.maze import Maze
from offline_actrep.simulators.wrappers import ChangingConfig, wrapped


def room(cloning: float) -> Headroom:
    def exactly(value: float) -> Estimate:
        return Estimate(value, value - 1, value + 1, 9)

    return Headroom(exactly(10.0), exactly(20.0), exactly(cloning), exactly(110.0), "scripted")


def test_headroom_holds_imitation_against_the_best(maze_log: Log) -> None:
    told: list[int] = []
    world = Maze(4, actuators=4, preset="paper")
    found = headroom(
        maze_log, world, seed=0, episodes=6, steps=20, on_step=lambda step, *_: told.append(step)
    )
    assert [name for name, _ in found.rows()] == [
        "random", "behaviour", "behaviour cloning", "best known (scripted)",
    ]  # fmt: skip
    assert found.behaviour.value == pytest.approx(maze_log.returns.mean())
    assert found.behaviour.n == maze_log.n_episodes
    assert found.random.n == found.cloning.n == found.best.n == 6
    assert found.best == evaluate(Expert(world), world, episodes=6, seed=1)
    assert told == [20]


def test_a_candidate_is_the_best_known_where_it_earns_more(maze_log: Log) -> None:
    world = Maze(4, actuators=4)
    world.expert = lambda: np.zeros(4, np.int64)  # type: ignore[method-assign]
    clone = train(maze_log, "discrete_bc", seed=1, steps=5)
    returns = {
        "scripted": evaluate(Expert(world), world, episodes=6, seed=1).value,
        "clone": evaluate(clone, world, episodes=6, seed=1).value,
    }
    found = headroom(maze_log, world, seed=0, episodes=6, steps=5, candidates={"clone": clone})
    assert found.best_by == max(returns, key=lambda name: returns[name])
    assert found.best.value == max(returns.values())


@pytest.mark.parametrize(
    ("cloning", "share"), [(10.0, 0.0), (60.0, 0.5), (110.0, 1.0), (0.0, -0.1)]
)
def test_the_clones_share_of_what_there_is_to_gain(cloning: float, share: float) -> None:
    assert room(cloning).cloned == pytest.approx(share)


def test_nothing_to_gain_is_no_share() -> None:
    exactly = Estimate(5.0, 5.0, 5.0, 1)
    assert np.isnan(Headroom(exactly, exactly, exactly, exactly, "scripted").cloned)


def by_hand() -> Log:
    """Two states far apart; actions 0 and 1 in the first, 0 in the second; 2 and 3 never."""
    actions = np.array([0, 0, 1, 0, 0, 0])
    states = np.repeat([[0.0], [100.0]], 3, axis=0).astype(np.float32)
    return Log(
        action_set=ActionSet.dense(4),
        observations=states,
        actions=actions,
        rewards=np.zeros(6, np.float32),
        terminated=np.ones(6, bool),
        truncated=np.zeros(6, bool),
        next_observations=states,
        has_next=np.ones(6, bool),
        episode_offsets=np.arange(7),
        episode_ids=np.arange(6),
        action_probabilities=np.array([0.5, 0.5, 0.125, 0.5, 1.0, 1.0]),
    )


def test_coverage_by_hand() -> None:
    assert coverage(by_hand()) == Coverage(
        actions_seen=0.5,
        rows_an_action=3.0,
        actions_a_cell=(2 / 4 + 1 / 4) / 2,
        least_propensity=0.125,
        median_propensity=0.5,
        meant=0.0,
    )


def test_meant_actions_are_ten_times_as_probable_as_uniform_ones() -> None:
    world = Maze(4, actuators=4)
    assert coverage(collect(Uniform(world.action_set), world, rows=100, seed=0)).meant == 0.0
    assert coverage(collect(Expert(world), world, rows=20, seed=0)).meant == 1.0


def test_where_few_actions_are_allowed_a_uniform_one_is_not_meant() -> None:
    """Its probability is about one in three there, more than ten in sixty-four."""
    world = wrapped(Maze(4, actuators=6), changing_actions=ChangingConfig(0.05, "step"))
    log = collect(Uniform(world.action_set), world, rows=100, seed=0)
    assert log.action_probabilities is not None
    assert (log.action_probabilities > 10 / 64).mean() > 0.9
    assert coverage(log).meant == 0.0


def test_without_propensities_there_is_no_coverage() -> None:
    with pytest.raises(ValueError, match="needs logged propensities"):
        coverage(replace(by_hand(), action_probabilities=None))


def test_the_card_says_what_was_measured(maze_log: Log, tmp_path: Path) -> None:
    covered = Coverage(0.5, 3.0, 0.25, 0.01, 0.4, 0.2)
    write_card(tmp_path / "CARD.md", maze_log, room(60.0), covered, made_by="collect tiny.toml")
    text = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    assert f"# A log of {len(maze_log):,} rows" in text
    assert "`offline-actrep collect tiny.toml`: 8 episodes, 16 actions" in text
    assert "observation (x, y, paid_0)" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["random", "10.0", "9.0 to 11.0"] in rows
    assert ["best known (scripted)", "110.0", "109.0 to 111.0"] in rows
    assert ["actions taken at all", "50.0%"] in rows
    assert ["least propensity, times the number of actions", "0.16"] in rows
