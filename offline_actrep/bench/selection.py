"""What FQE is worth on each log: held against what was earned, and what its choice brings.

FQE's word is of the last policy, from the log alone, and stands against the discounted return that
the world paid. Its choice is the one among the last few policies that it thinks best of (a policy
may be chosen this way where there is no world); what that brings is the return of the chosen one
less that of the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import stats

from offline_actrep.bench.rows import Row

SAME = 0.01
"""Normalised returns that differ by less are counted as the same."""


@dataclass(frozen=True, eq=False)
class Selection:
    """FQE on the rows of one log, `[K]` each.

    Attributes:
        methods: of each row.
        earned: discounted return of the last policy, in the log's unit of reward.
        thought: what FQE thinks of it.
        gains: normalised return of the policy that FQE chose, less that of the last.
    """

    methods: Sequence[str]
    earned: Float64[np.ndarray, " K"]
    thought: Float64[np.ndarray, " K"]
    gains: Float64[np.ndarray, " K"]

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's; None where all rows earned, or were thought to earn, the same."""
        if min(np.ptp(self.earned), np.ptp(self.thought)) == 0:
            return None
        return float(np.asarray(stats.spearmanr(self.earned, self.thought))[0])

    @property
    def error(self) -> float:
        """Median distance between thought and earned: a few estimates run away."""
        return float(np.median(np.abs(self.thought - self.earned)))

    @property
    def better(self) -> int:
        """Rows in which the choice earns more than the last policy."""
        return int((self.gains > SAME).sum())

    @property
    def worse(self) -> int:
        """Rows in which it earns less."""
        return int((self.gains < -SAME).sum())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rows": len(self.gains),
            "rank_correlation": self.rank_correlation,
            "median_error": self.error,
            "better": self.better,
            "worse": self.worse,
            "mean_gain": float(self.gains.mean()),
        }


def selection(rows: Sequence[Row]) -> Selection | None:
    """From the rows of one log that FQE judged; None where there are none."""
    found = [
        (row.method, (row.discounted_return, row.fqe, row.chosen_normalised - row.normalised))
        for row in rows
        if row.fqe is not None and row.chosen_normalised is not None
    ]
    if not found:
        return None
    methods, numbers = zip(*found, strict=True)
    return Selection(list(methods), *np.array(numbers, np.float64).T)
