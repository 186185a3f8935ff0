"""Logs as RLlib's offline data: the file, and what RLlib itself makes of it.

RLlib wants another gymnasium than d3rlpy. Where it lies in an environment of its own, name that
environment's Python in `OFFLINE_ACTREP_RAY_PYTHON`, and the last test runs there.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.rllib import write_rllib


def log_of(ids: list[int] | list[str]) -> Log:
    """Four episodes of 2, 1, 3 and 1 rows, ending in all four ways; the fourth id is not taken."""
    rows = np.arange(7)
    observations = np.stack([rows, -rows], axis=1).astype(np.float32)
    has_next = np.isin(rows, [0, 2, 3, 4, 6])
    return Log(
        action_set=ActionSet(np.array(ids)),
        observations=observations,
        actions=np.array([0, 2, 1, 1, 0, 2, 0]),
        rewards=np.array([0.5, -1, 2, 0, 0.25, 3, 7], np.float32),
        terminated=np.isin(rows, [1, 6]),
        truncated=np.isin(rows, [2, 5]),
        next_observations=observations + 100 * has_next[:, None].astype(np.float32),
        has_next=has_next,
        episode_offsets=np.array([0, 2, 3, 6, 7]),
        episode_ids=np.array(["one", "two", "three", "vier"]),
        action_probabilities=np.linspace(0.1, 0.7, 7),
    )


LOG = log_of([7, 40, 1000, 5_000_000])
POINTS = np.random.default_rng(0).uniform(-1, 1, (7, 3)).astype(np.float32)
EPISODES = ["one", "one", "two", "three", "three", "three", "vier"]


@pytest.mark.parametrize("points", [None, POINTS], ids=["ids", "points"])
def test_a_row_a_transition_by_rllibs_names(tmp_path: Path, points: np.ndarray | None) -> None:
    write_rllib(LOG, tmp_path / "log.parquet", points)
    found = pq.read_table(tmp_path / "log.parquet").to_pydict()
    actions = found.pop("actions")
    assert actions == (LOG.actions if points is None else points).tolist()
    assert found == {
        "eps_id": EPISODES,
        "t": [0, 1, 0, 0, 1, 2, 0],
        "obs": LOG.observations.tolist(),
        "new_obs": LOG.next_observations.tolist(),
        "rewards": LOG.rewards.tolist(),
        "terminateds": LOG.terminated.tolist(),
        "truncateds": LOG.truncated.tolist(),
        "infos": [
            {"action_id": action, "next_known": known}
            for action, known in zip(
                [7, 1000, 40, 40, 7, 1000, 7], LOG.has_next.tolist(), strict=True
            )
        ],
        "action_prob": np.linspace(0.1, 0.7, 7).tolist(),
    }


def test_a_log_without_propensities_invents_none(tmp_path: Path) -> None:
    write_rllib(replace(LOG, action_probabilities=None), tmp_path / "log.parquet")
    assert "action_prob" not in pq.read_schema(tmp_path / "log.parquet").names


def test_points_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the log has 7 rows, the points have 6"):
        write_rllib(LOG, tmp_path / "log.parquet", POINTS[1:])
    outside = POINTS.copy()
    outside[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"row 4: point .* cube \[-1, 1\]\^3"):
        write_rllib(LOG, tmp_path / "log.parquet", outside)
    assert list(tmp_path.iterdir()) == []


RAY_PYTHON = os.environ.get(
    "OFFLINE_ACTREP_RAY_PYTHON", sys.executable if importlib.util.find_spec("ray") else ""
)


@pytest.mark.skipif(not RAY_PYTHON, reason="no Python with RLlib is known")
@pytest.mark.parametrize("ids", [[7, 40, 1000, 5_000_000], ["tea", "käse", "牛乳", "mate"]])
@pytest.mark.parametrize("points", [None, POINTS], ids=["ids", "points"])
def test_rllib_reads_every_row_and_trains_on_them(
    tmp_path: Path, ids: list[int] | list[str], points: np.ndarray | None
) -> None:
    log = log_of(ids)
    write_rllib(log, tmp_path / "log.parquet", points)
    reader = Path(__file__).with_name("read_with_ray.py")
    sizes = [2, len(log.action_set), 0 if points is None else points.shape[1]]
    subprocess.run(
        [RAY_PYTHON, reader, tmp_path / "log.parquet", tmp_path / "found.json", *map(str, sizes)],
        check=True,
        timeout=300,
        capture_output=True,
        env={"RAY_AUTH_MODE": "disabled", **os.environ},
    )
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    rows = sorted(found["episodes"], key=lambda row: row["obs"][0])
    assert [row["id"] for row in rows] == EPISODES
    assert [row["obs"][0] for row in rows] == log.observations.tolist()
    assert [row["obs"][1] for row in rows] == log.next_observations.tolist()
    assert [row["action"] for row in rows] == (log.actions if points is None else points).tolist()
    assert [row["reward"] for row in rows] == log.rewards.tolist()
    assert [row["terminated"] for row in rows] == log.terminated.tolist()
    assert [row["truncated"] for row in rows] == log.truncated.tolist()
    logged = log.action_set.decode(log.actions).tolist()
    assert [row["infos"]["action_id"] for row in rows] == logged
    assert [row["infos"]["next_known"] for row in rows] == log.has_next.tolist()
    assert log.action_probabilities is not None
    assert [row["extra"]["action_prob"] for row in rows] == log.action_probabilities.tolist()
    assert found["trained"]["num_module_steps_trained"] > 0
    assert np.isfinite(found["trained"]["policy_loss"])
