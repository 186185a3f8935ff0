"""A log with points beside its ids."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.files.parquet import read_log, read_points
from offline_actrep.relabel import Relabelled, relabel
from offline_actrep.representations.catalog import fit


@pytest.fixture
def log(maze_log: Log) -> Log:
    """Ids with holes, as logs have them."""
    return replace(maze_log, action_set=ActionSet(np.arange(16) * 10 + 3))


@pytest.fixture
def merlion(log: Log) -> AbstractRepresentation:
    return fit("merlion", log, seed=0, dim=3, steps=10, behaviour_steps=5, hidden=8, batch_size=32)


def test_every_row_gets_its_actions_point(log: Log, merlion: AbstractRepresentation) -> None:
    found = relabel(log, merlion)
    table = merlion.table(torch.from_numpy(log.observations)).numpy()
    assert found.log is log and found.representation is merlion
    np.testing.assert_allclose(found.points, table[np.arange(len(log)), log.actions], atol=1e-5)
    assert np.abs(found.points).max() <= 1.0


def test_the_points_do_not_depend_on_how_many_rows_go_at_once(
    log: Log, merlion: AbstractRepresentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = relabel(log, merlion)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(importlib.import_module("offline_actrep.relabel"), "ROWS_AT_ONCE", 50)
    parts = relabel(log, merlion, on_step=lambda row, rows, _: told.append((row, rows)))
    np.testing.assert_allclose(parts.points, whole.points, atol=1e-6)
    assert told[0] == (50, len(log)) and told[-1] == (len(log), len(log))
    assert len(told) == -(-len(log) // 50)


def test_parquet_brings_back_ids_and_points(
    log: Log, merlion: AbstractRepresentation, tmp_path: Path
) -> None:
    found = relabel(log, merlion)
    found.write_parquet(tmp_path / "points.parquet")
    points = read_points(tmp_path / "points.parquet")
    again = read_log(tmp_path / "points.parquet")
    assert points is not None and np.array_equal(points, found.points)
    assert np.array_equal(
        again.action_set.decode(again.actions), log.action_set.decode(log.actions)
    )
    assert np.array_equal(again.rewards, log.rewards)


def test_for_d3rlpy_the_actions_are_the_points(log: Log, merlion: AbstractRepresentation) -> None:
    found = relabel(log, merlion)
    dataset = found.to_d3rlpy()
    assert dataset.dataset_info.action_size == 3
    starts = log.episode_offsets
    for m, episode in enumerate(dataset.episodes):
        rows = found.points[starts[m] : starts[m + 1]]
        assert np.array_equal(episode.actions[: len(rows)], rows)


def test_another_catalogue_is_refused(log: Log, merlion: AbstractRepresentation) -> None:
    other = replace(log, action_set=ActionSet.dense(16))
    with pytest.raises(ValueError, match="knows 16 actions, the log has 16, and they are not"):
        relabel(other, merlion)


def test_another_observation_size_is_refused(log: Log, merlion: AbstractRepresentation) -> None:
    narrow = replace(
        log,
        observations=log.observations[:, :2],
        next_observations=log.next_observations[:, :2],
        observation_names=("x", "y"),
    )
    with pytest.raises(ValueError, match="observations of 3 columns, the log has 2"):
        relabel(narrow, merlion)


def test_points_of_another_shape_are_refused(log: Log, merlion: AbstractRepresentation) -> None:
    points = relabel(log, merlion).points
    for wrong in (points[1:], points[:, :2]):
        with pytest.raises(ValueError, match=r"points must be \(\d+, 3\), got"):
            Relabelled(log, merlion, wrong)


def test_it_says_what_it_is(log: Log, merlion: AbstractRepresentation) -> None:
    assert repr(relabel(log, merlion)).endswith("points of 3 coordinates)")
