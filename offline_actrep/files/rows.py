"""A log -> rows of a parquet file: the way back from `columns`."""

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32

from offline_actrep.core.log import Log
from offline_actrep.files.checks import aligned

ROWS_AT_ONCE = 1 << 16
"""Rows held in memory while a log is written; also the size of a row group."""


def given_next(log: Log, rows: slice) -> Bool[np.ndarray, " R"]:
    """Of some rows, those whose next observation cannot be taken from the row below.

    It must be written, then.
    """
    given = np.array(log.has_next[rows])
    above = slice(rows.start, min(rows.stop, len(log) - 1))
    below = log.observations[above.start + 1 : above.stop + 1]
    same = (log.next_observations[above] == below).all(axis=1)
    ends = log.terminated[above] | log.truncated[above]
    given[: len(same)] &= ~(same & ~ends)
    return given


def check_writable(
    log: Log, given: Bool[np.ndarray, " N"], points: Float32[np.ndarray, "P E"] | None
) -> None:
    """Refuses what a file cannot hold or a reader would refuse."""
    inside = ~log.ends
    lost = np.flatnonzero(inside & ~log.has_next)
    if len(lost):
        raise ValueError(
            f"row {lost[0]}: expected a known next observation inside an episode, got none"
        )
    stated = np.flatnonzero(inside & given)
    apart = ~aligned(log.next_observations[stated], log.observations[stated + 1])
    if apart.any():
        raise ValueError(
            f"row {stated[apart][0]}: expected the next row's observation as next observation "
            "inside an episode, got another"
        )
    distinct, counts = np.unique(log.episode_ids, return_counts=True)
    if len(distinct) < log.n_episodes:
        raise ValueError(
            f"expected every episode id once, got {distinct[counts > 1][0].item()!r} "
            "more than once; give the copies ids of their own"
        )
    if log.observation_size == 0:
        raise ValueError("expected observations of at least one number, got none")
    if log.timestamps is not None:
        _check_timestamps(log.timestamps)
    if points is not None and len(points) != len(log):
        raise ValueError(f"expected a point a row, {len(log)} of them, got {len(points)}")
    if points is not None and not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise ValueError(f"row {row}: expected a finite point, got {points[row]}")


def _check_timestamps(timestamps: np.ndarray) -> None:
    unit = np.datetime_data(timestamps.dtype)[0] if timestamps.dtype.kind == "M" else "ms"
    if timestamps.dtype.kind not in "iufUM" or unit not in ("D", "ms", "us", "ns"):
        raise ValueError(
            "expected timestamps of integers, floats, strings or datetime64[D, ms, us, ns], "
            f"got {timestamps.dtype}; cast them with astype"
        )
    unknown = np.flatnonzero(timestamps != timestamps)
    if len(unknown):
        raise ValueError(f"row {unknown[0]}: expected a timestamp, got {timestamps[unknown[0]]}")


def to_rows(
    log: Log,
    rows: slice,
    given: Bool[np.ndarray, " R"] | None,
    points: Float32[np.ndarray, "R E"] | None,
) -> pa.Table:
    """Some rows of a log as a table of canonical columns.

    Args:
        log: the log.
        rows: which of its rows; R of them.
        given: whose next observation is written, or None for no such column.
        points: a point each, or None for no such column.
    """
    numbers = np.arange(rows.start, rows.stop)
    episodes = np.searchsorted(log.episode_offsets, numbers, side="right") - 1
    decode = log.action_set.decode
    columns = {
        "episode_id": pa.array(log.episode_ids[episodes]),
        "step": pa.array(numbers - log.episode_offsets[episodes]),
        "observation": _vectors(log.observations[rows]),
        "action": pa.array(decode(log.actions[rows])),
        "reward": pa.array(log.rewards[rows]),
        "terminated": pa.array(log.terminated[rows]),
        "truncated": pa.array(log.truncated[rows]),
    }
    if given is not None:
        columns["next_observation"] = _vectors(log.next_observations[rows], ~given)
    if log.allowed is not None:
        cuts = log.allowed.offsets[rows.start : rows.stop + 1]
        held = pa.array(decode(log.allowed.indices[cuts[0] : cuts[-1]]))
        columns["allowed_actions"] = pa.LargeListArray.from_arrays(cuts - cuts[0], held)
    scalars = {
        "action_probability": log.action_probabilities,
        "timestamp": log.timestamps,
        "split": log.splits,
    }
    columns |= {name: pa.array(one[rows]) for name, one in scalars.items() if one is not None}
    if points is not None:
        columns["point"] = _vectors(points)
    return pa.table(columns)


def _vectors(
    matrix: Float32[np.ndarray, "N S"], nulls: Bool[np.ndarray, " N"] | None = None
) -> pa.FixedSizeListArray:
    mask = None if nulls is None else pa.array(nulls)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1], mask=mask
    )
