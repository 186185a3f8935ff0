"""What every representation must do, whatever its method."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from offline_actrep.behaviour import Uniform, collect
from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.representations.catalog import METHODS, fit, method, restore
from offline_actrep.saved import load_representation, save_representation
from offline_actrep.simulators.maze import Maze

SMALL: dict[str, dict[str, int]] = {
    "merlion": {
        "dim": 2,
        "hidden": 8,
        "embedding": 4,
        "steps": 60,
        "behaviour_steps": 10,
        "batch_size": 32,
    },
    "random_table": {"dim": 3},
    "random_spread": {"dim": 3},
    "transition": {"dim": 2, "hidden": 8, "steps": 60, "batch_size": 32, "candidates": 12},
    "reconstruction": {"dim": 2, "hidden": 8, "steps": 60, "batch_size": 32},
    "cvae": {"dim": 2, "hidden": 8, "embedding": 4, "steps": 60, "batch_size": 32},
    "external": {"dim": 2},
}
"""Settings with which a method is fitted in a moment; a new method needs an entry."""
SEEDLESS = {"external"}
"""Methods that draw nothing."""

FEATURES = FeatureConfig(fourier=(0, 1), harmonics=2)


@pytest.fixture(scope="module")
def log() -> Log:
    """600 rows of a maze with 16 actions."""
    world = Maze(8, actuators=4)
    return collect(Uniform(world.action_set), world, rows=600, seed=0)


@pytest.fixture(scope="module", params=list(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def fitted(name: str, log: Log) -> AbstractRepresentation:
    return fit(name, log, seed=0, features=FEATURES, **SMALL[name])


@pytest.fixture
def states(log: Log) -> torch.Tensor:
    """20 logged states and one far outside the log."""
    return torch.cat([torch.from_numpy(log.observations[:20]), torch.full((1, 3), 50.0)])


def wanted(n: int, dim: int) -> torch.Tensor:
    """Points anywhere in the cube."""
    return torch.rand((n, dim), generator=torch.Generator().manual_seed(5)) * 2 - 1


def test_a_small_setting_stands_for_every_method() -> None:
    assert set(SMALL) == set(METHODS)


def test_sizes_are_those_asked_for(
    fitted: AbstractRepresentation, name: str, log: Log, states: torch.Tensor
) -> None:
    assert fitted.dim == SMALL[name]["dim"]
    assert fitted.observation_size == log.observation_size
    assert fitted.action_set.same_as(log.action_set)
    assert fitted.table(states).shape == (len(states), 16, fitted.dim)


def test_the_table_holds_what_embed_gives(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    table = fitted.table(states)
    for action in range(16):
        points = fitted.embed(states, torch.full((len(states),), action))
        torch.testing.assert_close(points, table[:, action], atol=1e-5, rtol=0)


def test_points_lie_in_the_cube(fitted: AbstractRepresentation, states: torch.Tensor) -> None:
    assert fitted.table(states).abs().max() <= 1.0


def test_points_differ_between_actions(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    assert fitted.table(states)[:20].std(dim=1).min() > 0.01


def test_an_actions_own_point_decodes_to_an_equal_point(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    table = fitted.table(states)
    everyone = torch.arange(len(states))
    for action in range(16):
        points = fitted.embed(states, torch.full((len(states),), action))
        got = fitted.decode(states, points)
        torch.testing.assert_close(table[everyone, got], points, atol=1e-5, rtol=0)


def test_nearest_is_the_smallest_l1_distance(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    points = wanted(len(states), fitted.dim)
    distance = (fitted.table(states) - points[:, None]).abs().sum(dim=2)
    actions, gap = fitted.nearest(states, points)
    assert torch.equal(actions, distance.argmin(dim=1))
    torch.testing.assert_close(gap, distance.min(dim=1).values)
    assert torch.equal(fitted.decode(states, points), actions)


def test_nearest_keeps_to_the_allowed_actions(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    points = wanted(len(states), fitted.dim)
    mask = np.random.default_rng(1).random((len(states), 16)) < 0.3
    mask[:, 7] |= ~mask.any(axis=1)
    distance = (fitted.table(states) - points[:, None]).abs().sum(dim=2)
    best = distance.masked_fill(~torch.from_numpy(mask), torch.inf).argmin(dim=1)
    actions, _ = fitted.nearest(states, points, AllowedActions.of_mask(mask))
    assert torch.equal(actions, best)
    assert not torch.equal(actions, fitted.decode(states, points))


@pytest.mark.parametrize("count", [1, 5, 16])
def test_neighbours_are_the_nearest_in_order(
    fitted: AbstractRepresentation, states: torch.Tensor, count: int
) -> None:
    points = wanted(len(states), fitted.dim)
    distance = (fitted.table(states) - points[:, None]).abs().sum(dim=2)
    actions, gap = fitted.neighbours(states, points, count)
    assert actions.shape == gap.shape == (len(states), count)
    torch.testing.assert_close(gap, distance.sort(dim=1).values[:, :count], atol=1e-5, rtol=0)
    torch.testing.assert_close(distance.gather(1, actions), gap, atol=1e-5, rtol=0)
    assert all(len(set(row)) == count for row in actions.tolist())
    assert torch.equal(actions[:, 0], fitted.decode(states, points))


def test_neighbours_keep_to_the_allowed_actions(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    """Rows allow 1 to 16 actions and have no neighbours beyond those."""
    points = wanted(len(states), fitted.dim)
    mask = (
        np.random.default_rng(2).random((len(states), 16)) < np.linspace(0, 1, len(states))[:, None]
    )
    mask[:, 7] |= ~mask.any(axis=1)
    actions, gap = fitted.neighbours(states, points, 6, AllowedActions.of_mask(mask))
    distance = (fitted.table(states) - points[:, None]).abs().sum(dim=2)
    ordered = distance.masked_fill(~torch.from_numpy(mask), torch.inf).sort(dim=1).values[:, :6]
    torch.testing.assert_close(gap, ordered, atol=1e-5, rtol=0)
    assert np.array_equal((actions >= 0).sum(dim=1).numpy(), mask.sum(axis=1).clip(max=6))
    assert torch.equal(actions < 0, gap.isinf())
    assert all(mask[row, a] for row, few in enumerate(actions.tolist()) for a in few if a >= 0)


def test_neighbours_beyond_all_actions_are_none(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    actions, gap = fitted.neighbours(states, wanted(len(states), fitted.dim), 18)
    assert torch.equal(actions[:, :16].sort(dim=1).values[0], torch.arange(16))
    assert (actions[:, 16:] == -1).all() and gap[:, 16:].isinf().all()


def test_no_neighbours_and_points_that_are_no_numbers_are_refused(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    points = wanted(len(states), fitted.dim)
    with pytest.raises(ValueError, match="0 neighbours were asked for; ask for 1 at least"):
        fitted.neighbours(states, points, 0)
    points[4, 0] = torch.nan
    with pytest.raises(ValueError, match="row 4 has no nearest action: its distances are not"):
        fitted.neighbours(states, points, 3)


def test_an_empty_set_of_allowed_actions_is_refused(
    fitted: AbstractRepresentation, states: torch.Tensor
) -> None:
    mask = np.ones((len(states), 16), bool)
    mask[3] = False
    points = wanted(len(states), fitted.dim)
    with pytest.raises(ValueError, match="row 3 has an empty set of allowed actions"):
        fitted.nearest(states, points, AllowedActions.of_mask(mask))
    with pytest.raises(ValueError, match="row 3 has an empty set of allowed actions"):
        fitted.neighbours(states, points, 2, AllowedActions.of_mask(mask))


def test_the_lowest_index_wins_a_tie(
    fitted: AbstractRepresentation, log: Log, states: torch.Tensor
) -> None:
    tensors = {key: tensor.clone() for key, tensor in fitted.tensors().items()}
    for tensor in tensors.values():
        if tensor.dim() and len(tensor) == 16:
            tensor[11] = tensor[4]
    twins = restore(log.action_set, dict(fitted.config()), tensors)
    logged = states[:20]
    table = twins.table(logged)
    assert torch.equal(table[:, 4], table[:, 11])
    assert (twins.decode(logged, table[:, 11]) == 4).all()
    both, gap = twins.neighbours(logged, table[:, 11], 2)
    assert torch.equal(both, torch.tensor([[4, 11]]).expand(20, 2))
    assert gap.max() < 1e-6


def test_config_and_tensors_make_it_again_bit_for_bit(
    fitted: AbstractRepresentation, name: str, log: Log, states: torch.Tensor
) -> None:
    config = json.loads(json.dumps(fitted.config()))
    again = restore(log.action_set, config, fitted.tensors())
    assert config["method"] == name
    assert torch.equal(again.table(states), fitted.table(states))
    assert again.config() == fitted.config()


def test_it_comes_back_from_disk_bit_for_bit(
    fitted: AbstractRepresentation, states: torch.Tensor, tmp_path: Path
) -> None:
    again = load_representation(save_representation(fitted, tmp_path / "made"))
    left, right = torch.arange(21) % 16, (torch.arange(21) * 5) % 16
    assert again.action_set.same_as(fitted.action_set)
    assert torch.equal(again.table(states), fitted.table(states))
    for mine, theirs in (
        (again.unsupported(states), fitted.unsupported(states)),
        (again.target_distance(states, left, right), fitted.target_distance(states, left, right)),
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_same_seed_same_bits_and_the_callers_generators_stay(
    fitted: AbstractRepresentation, name: str, log: Log, states: torch.Tensor
) -> None:
    torch.manual_seed(99)
    np.random.seed(99)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()
    again = fit(name, log, seed=0, features=FEATURES, **SMALL[name])
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before[1])
    assert np.random.get_state()[2] == numpy_before[2]
    assert torch.equal(again.table(states), fitted.table(states))


def test_another_seed_gives_other_points_where_any_are_drawn(
    fitted: AbstractRepresentation, name: str, log: Log, states: torch.Tensor
) -> None:
    other = fit(name, log, seed=1, features=FEATURES, **SMALL[name])
    same = torch.allclose(other.table(states), fitted.table(states), atol=1e-3)
    assert same == (name in SEEDLESS)


def test_an_unknown_setting_is_refused_with_the_near_ones(name: str, log: Log) -> None:
    with pytest.raises(ValueError, match=f"{name} has no setting 'dimm'; near it: dim"):
        fit(name, log, seed=0, dimm=3)


def test_the_fit_tells_where_it_stands_up_to_the_end(name: str, log: Log) -> None:
    told: list[tuple[int, int]] = []
    fit(name, log, seed=0, on_step=lambda step, n, _: told.append((step, n)), **SMALL[name])
    assert told
    assert all(0 < step <= n for step, n in told)
    assert told[-1][0] == told[-1][1]


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown representation 'merlin'; there are merlion"):
        method("merlin")
