"""Logs as RLlib's offline data: parquet with one row a transition, in RLlib's own column names.

What `AlgorithmConfig.offline_data(input_=[folder], input_read_method="read_parquet")` of the new
API stack reads, without a schema or a custom reader: RLlib makes an episode of one step of every
row. Columns that it does not know become model outputs, and those must be numbers, so all that is
not a number stands under `infos`.

RLlib has no word for an unknown next observation. Where the log does not know it, the row's own
observation stands in, and `infos.next_known` is false; `terminateds` and `truncateds` are the
log's, so no row is lost.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks
from offline_actrep.files.parquet import whole_file
from offline_actrep.files.rows import ROWS_AT_ONCE


def write_rllib(
    log: Log, path: str | Path, points: Float32[np.ndarray, "N E"] | None = None
) -> None:
    """The log as one parquet file, which appears whole or not at all.

    Columns: `eps_id` (as a string), `t`, `obs`, `actions`, `rewards`, `new_obs`, `terminateds`,
    `truncateds`, `infos` with `action_id` as logged and `next_known`, and `action_prob` where the
    log has propensities. The action space to state is `Box(-1, 1, (E,))`, or `Discrete(A)`.

    Args:
        log: the rows; N of them, also as a store that is larger than memory.
        path: its folder is made where there is none.
        points: the actions, in [-1, 1]^E; without them the actions are dense indices.

    Raises:
        ValueError: points of another number than the rows, or outside the cube.
    """
    if points is not None and len(points) != len(log):
        raise ValueError(f"the log has {len(log)} rows, the points have {len(points)}")
    schema = _rows(log, slice(0, 1), points).schema
    form: Any = {"compression": "zstd", "use_dictionary": ["eps_id", "t", "infos.action_id"]}
    with (
        whole_file(Path(path)) as unfinished,
        pq.ParquetWriter(unfinished, schema, **form) as writer,
    ):
        for rows in blocks(len(log), ROWS_AT_ONCE):
            writer.write_table(_rows(log, rows, points))
            log.release()


def _rows(log: Log, rows: slice, points: Float32[np.ndarray, "N E"] | None) -> pa.Table:
    numbers = np.arange(rows.start, rows.stop)
    episodes = np.searchsorted(log.episode_offsets, numbers, side="right") - 1
    known = log.has_next[rows, None]
    columns = {
        "eps_id": pa.array(log.episode_ids[episodes]).cast(pa.string()),
        "t": pa.array(numbers - log.episode_offsets[episodes]),
        "obs": _lists(log.observations[rows]),
        "actions": pa.array(log.actions[rows]) if points is None else _points(points, rows),
        "rewards": pa.array(log.rewards[rows]),
        "new_obs": _lists(np.where(known, log.next_observations[rows], log.observations[rows])),
        "terminateds": pa.array(log.terminated[rows]),
        "truncateds": pa.array(log.truncated[rows]),
        "infos": pa.StructArray.from_arrays(
            [
                pa.array(log.action_set.decode(log.actions[rows])),
                pa.array(log.has_next[rows]),
            ],
            names=["action_id", "next_known"],
        ),
    }
    if log.action_probabilities is not None:
        columns["action_prob"] = pa.array(log.action_probabilities[rows])
    return pa.table(columns)


def _points(points: Float32[np.ndarray, "N E"], rows: slice) -> pa.ListArray:
    part = points[rows]
    outside = ~(np.abs(part) <= 1).all(axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(
            f"row {rows.start + row}: point {part[row].tolist()} does not lie in the cube "
            f"[-1, 1]^{points.shape[1]}"
        )
    return _lists(part)


def _lists(matrix: Float32[np.ndarray, "R S"]) -> pa.ListArray:
    cuts = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(cuts), pa.array(np.ascontiguousarray(matrix).ravel()))
