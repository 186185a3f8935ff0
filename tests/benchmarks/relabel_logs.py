"""Logs and encoders that the benchmarks of re-labelling share."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.files.columns import Ids
from offline_actrep.files.store import Piece, StoreDraft
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.representations.merlion import Merlion, MerlionConfig
from offline_actrep.representations.point_table import PointTable

ACTIONS, SIZE, DIM, STEPS = 4096, 16, 10, 16
BLOCK = 1 << 16


def encoder(depth: int, hidden: int, embedding: int) -> AbstractRepresentation:
    """MERLION as it is after a fit, with weights that were drawn."""
    torch.manual_seed(0)
    config = MerlionConfig(dim=DIM, hidden=hidden, embedding=embedding, depth=depth)
    features = ObservationFeatures(SIZE, FeatureConfig())
    return Merlion(ActionSet.dense(ACTIONS), features, SIZE, config).requires_grad_(False)


def table() -> AbstractRepresentation:
    """A fixed point an action: next to nothing to compute."""
    points = torch.rand((ACTIONS, DIM), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return PointTable("random_table", {}, ActionSet.dense(ACTIONS), SIZE, points)


def columns(start: int, rows: int) -> dict[str, np.ndarray]:
    """Rows `start:start + rows` of a log of episodes of 16 steps; all cut off at the end."""
    draws = np.random.default_rng([7, start])
    numbers = np.arange(start, start + rows)
    return {
        "episode_id": numbers // STEPS,
        "step": numbers % STEPS,
        "observation": draws.standard_normal((rows, SIZE), np.float32),
        "action": draws.integers(ACTIONS, size=rows),
        "reward": draws.standard_normal(rows, np.float32),
        "terminated": np.zeros(rows, bool),
        "truncated": numbers % STEPS == STEPS - 1,
        "action_probability": draws.uniform(0.1, 1, rows),
    }


def write_parquet(path: Path, rows: int) -> None:
    """As the canonical schema wants it, in blocks."""
    writer = None
    for start in range(0, rows, BLOCK):
        block = columns(start, min(BLOCK, rows - start))
        seen = block.pop("observation")
        lists = pa.FixedSizeListArray.from_arrays(pa.array(seen.ravel()), SIZE)
        part = pa.table({"observation": lists, **block})
        writer = writer or pq.ParquetWriter(path, part.schema, use_dictionary=["episode_id"])
        writer.write_table(part)
    assert writer is not None
    writer.close()


def write_store(path: Path, rows: int) -> None:
    """The same log as a store; `rows` is a multiple of the length of an episode."""
    draft = StoreDraft.open(path, {"rows": rows}, action_set=ActionSet.dense(ACTIONS))
    for start in range(0, rows, BLOCK):
        block = columns(start, min(BLOCK, rows - start))
        seen, ends = block["observation"], block["truncated"]
        following = np.where(ends[:, None], seen, np.roll(seen, -1, axis=0))
        draft.append(
            Piece(
                observations=seen,
                actions=Ids(block["action"], np.arange(ACTIONS)),
                rewards=block["reward"],
                terminated=block["terminated"],
                truncated=ends,
                next_observations=following,
                has_next=~ends,
                episode_lengths=np.full(len(seen) // STEPS, STEPS),
                episode_ids=block["episode_id"][::STEPS],
                action_probabilities=block["action_probability"],
            ),
            {},
        )
    draft.finish({})


WRITERS: dict[str, Callable[[Path, int], None]] = {"parquet": write_parquet, "store": write_store}


def in_child(work: Callable[[], None]) -> int:
    """The id of a forked process that does the work and ends; 0 is its exit status if it could."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def wait_for(child: int) -> int:
    """How a child ended: 0, or what went wrong."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
