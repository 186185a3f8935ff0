"""Points from the catalogue's own features."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.representations.catalog import fit
from offline_actrep.representations.external import external_points
from offline_actrep.simulators.maze import Maze, actuator_motions


def catalogue(features: np.ndarray) -> ActionSet:
    return ActionSet(np.arange(len(features)) * 3, features=features.astype(np.float32))


def points(features: np.ndarray, dim: int | None = None) -> np.ndarray:
    made = external_points(catalogue(features), observation_size=2, dim=dim)
    return made.table(torch.zeros(1, 2))[0].numpy()


LINE = np.linspace(0, 100, 1001)


def test_each_features_middle_98_percent_becomes_the_cube() -> None:
    """Quantiles of an even line are known: 1 and 99."""
    features = np.stack([LINE, 7 - LINE, np.full(1001, 5.0)], axis=1)
    expected = np.clip((LINE - 50) / 49, -1, 1)
    np.testing.assert_allclose(
        points(features), np.stack([expected, -expected, np.zeros(1001)], axis=1), atol=1e-5
    )


def test_components_do_not_depend_on_units_and_the_first_carry_most() -> None:
    """Two columns say the same in other units, the third is constant: one component is enough."""
    features = np.stack([LINE, 1000 - 10 * LINE, np.full(1001, 5.0)], axis=1)
    found = points(features, dim=1)
    expected = np.clip((LINE - 50) / 49, -1, 1)
    np.testing.assert_allclose(np.sign(found[-1, 0]) * found[:, 0], expected, atol=1e-5)


def test_components_are_those_of_the_singular_value_decomposition() -> None:
    features = np.random.default_rng(0).normal(size=(200, 5)) @ np.diag([1, 50, 3, 1, 0.1])
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    _, _, rows = np.linalg.svd(standard, full_matrices=False)
    raw = torch.from_numpy((standard @ rows[:2].T).astype(np.float32))
    low, high = torch.quantile(raw, torch.tensor([0.01, 0.99]), dim=0)
    expected = ((raw - (low + high) / 2) / ((high - low) / 2)).clamp(-1, 1).numpy()
    found = points(features, dim=2)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4)


@pytest.mark.parametrize("dim", [0, 4])
def test_more_components_than_there_are_are_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=rf"have 1 to 3 principal components, dim asks for {dim}"):
        points(np.random.default_rng(0).normal(size=(9, 3)), dim=dim)


def test_a_catalogue_without_features_is_refused(maze_log: Log) -> None:
    bare = replace(maze_log, action_set=ActionSet(maze_log.action_set.ids))
    with pytest.raises(ValueError, match=r"need an action set with features \[A, F\]"):
        fit("external", bare, seed=0)


def test_a_log_adds_nothing_to_its_catalogue(maze_log: Log) -> None:
    features = actuator_motions(4).astype(np.float32)
    log = replace(maze_log, action_set=replace(maze_log.action_set, features=features))
    seen = torch.from_numpy(log.observations[:3])
    direct = external_points(log.action_set, observation_size=3)
    assert torch.equal(fit("external", log, seed=5).table(seen), direct.table(seen))
    assert direct.config()["settings"] == {"dim": None}


@pytest.fixture(scope="module")
def motions() -> tuple[ActionSet, torch.Tensor, torch.Tensor]:
    """256 motions of which many are alike, wanted points, and distances written out."""
    action_set = Maze(1, actuators=8).action_set
    made = external_points(action_set, observation_size=3)
    draws = torch.rand((300, 2), generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    corners = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [0.0, 0.0]])
    wanted = torch.cat([draws.clamp(-1, 1), corners])
    table = made.table(torch.zeros(1, 3))[0]
    return action_set, wanted, (table - wanted[:, None]).abs().sum(dim=2)


def test_of_actions_that_share_a_point_the_first_is_taken(
    motions: tuple[ActionSet, torch.Tensor, torch.Tensor],
) -> None:
    action_set, wanted, distance = motions
    made = external_points(action_set, observation_size=3)
    assert len(made.points.unique(dim=0)) < len(action_set)
    actions, gap = made.nearest(torch.zeros(len(wanted), 3), wanted)
    assert torch.equal(actions, distance.argmin(dim=1))
    torch.testing.assert_close(gap, distance.min(dim=1).values)


def test_a_twin_steps_in_for_the_first_where_that_is_forbidden(
    motions: tuple[ActionSet, torch.Tensor, torch.Tensor],
) -> None:
    action_set, wanted, distance = motions
    made = external_points(action_set, observation_size=3)
    free, gap = made.nearest(torch.zeros(len(wanted), 3), wanted)
    mask = np.ones((len(wanted), len(action_set)), bool)
    mask[np.arange(len(wanted)), free.numpy()] = False
    allowed = AllowedActions.of_mask(mask)
    second, second_gap = made.nearest(torch.zeros(len(wanted), 3), wanted, allowed)
    left = distance.masked_fill(~torch.from_numpy(mask), torch.inf)
    assert torch.equal(second, left.argmin(dim=1))
    assert torch.isclose(second_gap, gap).any() and (second_gap >= gap - 1e-6).all()
