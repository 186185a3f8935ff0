"""Logs as d3rlpy reads them, and d3rlpy without its notice about `gym`.

d3rlpy infers an action space from the first episode's values and an action size from the largest
id, and drops the last row of every episode that did not terminate. Here space and size are stated,
and a truncated episode whose last next state is known carries it as one more row (point 0, reward
0), which d3rlpy drops instead: no transition is lost.
"""

import contextlib
import io

import numpy as np
from jaxtyping import Float32

from offline_actrep.core.log import Log

with contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice when it is imported
    import d3rlpy
    from d3rlpy.constants import ActionSpace
    from d3rlpy.dataset import MDPDataset


def mdp_dataset(log: Log, points: Float32[np.ndarray, "N E"] | None = None) -> MDPDataset:
    """The log as an `MDPDataset`: of points if given, else of dense action indices.

    Raises:
        ValueError: points of another length than the log.
    """
    if points is not None and len(points) != len(log):
        raise ValueError(f"the log has {len(log)} rows, the points have {len(points)}")
    actions = log.actions[:, None] if points is None else points
    tails = np.flatnonzero(log.truncated & log.has_next) + 1
    timeouts = np.insert(log.truncated & ~log.has_next, tails, True)
    return MDPDataset(
        observations=np.insert(log.observations, tails, log.next_observations[tails - 1], axis=0),
        actions=np.insert(actions, tails, 0, axis=0),
        rewards=np.insert(log.rewards, tails, 0.0)[:, None],
        terminals=np.insert(log.terminated, tails, False).astype(np.float32),
        timeouts=timeouts.astype(np.float32),
        action_space=ActionSpace.DISCRETE if points is None else ActionSpace.CONTINUOUS,
        action_size=len(log.action_set) if points is None else points.shape[1],
    )


VERSION = d3rlpy.__version__
"""Of the installed d3rlpy, for a run's record."""
