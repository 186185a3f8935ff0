"""The probe, held against representations whose quality is known beforehand."""

import json
from typing import final

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from offline_actrep.behaviour import Uniform, collect
from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.decoding import exact
from offline_actrep.representations import probe as probing
from offline_actrep.representations.catalog import fit
from offline_actrep.representations.probe import ProbeResult, distance_pairs, probe
from offline_actrep.simulators.maze import Maze

MOVES = np.repeat(np.random.default_rng(0).uniform(-1, 1, (32, 2)), 2, axis=0)
"""64 actions, each with a twin that does the same."""


@pytest.fixture(scope="module")
def log() -> Log:
    world = Maze(4, actuators=6)
    return collect(Uniform(world.action_set), world, rows=300, seed=0)


def effects(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """An action moves farther the farther right it is taken."""
    return MOVES[actions] * (0.5 + observations[:, :1].astype(np.float64))


@final
class Known(AbstractRepresentation):
    """Points that are given, the same in every state, times a growth along x."""

    def __init__(self, points: np.ndarray, growth: float = 0.0) -> None:
        self.points, self.growth = torch.from_numpy(points.astype(np.float32)), growth
        self.action_set = ActionSet.dense(len(points))
        self.dim, self.observation_size = points.shape[1], 3

    def embed(
        self, observations: Float[Tensor, "B S"], actions: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B E"]:
        return self.table(observations)[torch.arange(len(actions)), actions]

    def table(self, observations: Float[Tensor, "B S"]) -> Float[Tensor, "B A E"]:
        return self.points * (0.5 + self.growth * observations[:, :1, None])

    def nearest(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, " B"], Float[Tensor, " B"]]:
        del allowed
        return exact.nearest(points, lambda rows: self.table(observations[rows]), 16)

    def neighbours(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        count: int,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, "B K"], Float[Tensor, "B K"]]:
        raise NotImplementedError

    def target_distance(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        gap = (self.embed(observations, left) - self.embed(observations, right)).abs().sum(dim=1)
        return gap, gap

    def disagreement(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> Float[Tensor, " B"]:
        return 0.25 * self.target_distance(observations, left, right)[1]

    def unsupported(self, observations: Float[Tensor, "B S"]) -> Bool[Tensor, "B A"]:
        return (torch.arange(64) < 16).expand(len(observations), -1)

    def config(self) -> dict[str, object]:
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


def measure(log: Log, representation: AbstractRepresentation) -> ProbeResult:
    return probe(log, representation, seed=0, effects=effects, states=8, queries=64)


def test_true_effects_as_points_are_perfect(log: Log) -> None:
    found = measure(log, Known(MOVES, growth=1.0))
    assert found.effect_r2 == pytest.approx(1.0, abs=1e-6)
    assert found.neighbour_effect == pytest.approx(0.0, abs=1e-6)
    assert found.neighbour_ratio == pytest.approx(0.0, abs=1e-6)
    assert found.distinct_actions <= 32
    assert found.round_trip == 1.0
    assert 1.8 < found.rank <= 2.0
    assert found.unsupported_share == 0.25
    assert found.distance_r2 == pytest.approx(1.0)
    assert found.disagreement == pytest.approx(0.25)


def test_some_actions_stand_for_all_where_there_are_many(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "MOST_ACTIONS", 40)
    monkeypatch.setattr(probing, "MOST_TRIPS", 16)
    seen: list[np.ndarray] = []

    def watched(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        seen.append(actions)
        return effects(observations, actions)

    known = Known(MOVES, growth=1.0)
    found = probe(log, known, seed=0, effects=watched, states=8, queries=64)
    assert all(np.array_equal(some, seen[0]) for some in seen)
    assert len(np.unique(seen[0])) == 40 and seen[0].max() > 40
    assert found.actions == 64 and found.distinct_actions < 40
    assert found.effect_r2 == pytest.approx(1.0, abs=1e-6)
    assert found.round_trip == 1.0 and found.distance_r2 == pytest.approx(1.0)


def test_random_points_tell_nothing_of_effects(log: Log) -> None:
    found = measure(log, fit("random_table", log, seed=0, dim=2))
    assert found.effect_r2 is not None and found.effect_r2 < 0.2
    assert found.neighbour_ratio is not None and 0.8 < found.neighbour_ratio < 1.2
    assert found.round_trip == 1.0
    assert found.distance_r2 is None and found.unsupported_share is None
    assert found.disagreement is None


@pytest.mark.parametrize("place", [0.0, 0.3])
def test_collapsed_points_have_no_rank_and_no_spread(log: Log, place: float) -> None:
    found = measure(log, Known(np.full((64, 2), place)))
    assert found.rank == pytest.approx(0.0, abs=1e-3)
    assert found.spread == pytest.approx(0.0, abs=1e-5)
    assert found.distinct_actions == 1.0
    assert found.effect_r2 == pytest.approx(0.0, abs=1e-6)


def test_points_on_a_line_have_one_dimension(log: Log) -> None:
    line = np.linspace(-1, 1, 64)[:, None] * np.array([1.0, -0.5, 0.2])
    assert measure(log, Known(line)).rank == pytest.approx(1.0, abs=1e-3)


def test_without_a_simulator_effects_stay_unknown(log: Log) -> None:
    found = probe(log, Known(MOVES), seed=0, states=4, queries=16)
    assert found.effect_r2 is None and found.neighbour_effect is None
    assert found.random_effect is None and found.neighbour_ratio is None


def test_the_mazes_own_effects_can_be_asked(log: Log) -> None:
    found = probe(
        log, fit("random_table", log, seed=0), seed=0, effects=Maze(1, actuators=6).effects
    )
    assert found.states == 64 and found.actions == 64
    assert found.random_effect is not None and 0.0 < found.random_effect < 0.4


def test_more_states_than_rows_are_all_rows(log: Log) -> None:
    found = probe(log.take_episodes(np.array([0])), Known(MOVES), seed=0, states=1000, queries=4)
    assert found.states == log.lengths[0]


def test_the_result_is_json_and_the_seed_fixes_it(log: Log) -> None:
    random = fit("random_table", log, seed=0)
    written = json.dumps(measure(log, random).as_dict(), allow_nan=False)
    assert json.loads(written)["actions"] == 64
    assert measure(log, random) == measure(log, random)


def test_pairs_of_distances(log: Log) -> None:
    found = distance_pairs(log, Known(MOVES, growth=1.0), seed=0, n=30)
    assert found is not None
    assert len(found[0]) == 30 and np.array_equal(*found) and found[0].max() > 0.1
    assert distance_pairs(log, fit("random_table", log, seed=0), seed=0, n=30) is None
