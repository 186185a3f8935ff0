"""What a log is worth: its headroom, its coverage, and the card that says so.

Headroom: is there anything to gain that imitation would not give? Coverage: are the pieces of a
better policy in the log at all, and how far do its propensities reach?
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from offline_actrep.behaviour import Expert, make_behaviour
from offline_actrep.core.estimate import Estimate, mean_estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy
from offline_actrep.core.progress import OnStep
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.evaluate import evaluate
from offline_actrep.files.artifact import write_text
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.offline.train import train
from offline_actrep.report import Table, markdown_table

CELLS = 64
"""Groups of states that count as one when support is measured."""
CELL_ROWS = 20_000
"""Most rows that the groups are fitted on."""
TOO_EASY = 0.9
"""Cloning that reaches this share of what there is to gain makes a log no test."""


@dataclass(frozen=True)
class Headroom:
    """Mean undiscounted returns.

    Attributes:
        random: uniform actions.
        behaviour: the log's own episodes.
        cloning: behaviour cloning on ids.
        best: the best policy known.
        best_by: who that is.
    """

    random: Estimate
    behaviour: Estimate
    cloning: Estimate
    best: Estimate
    best_by: str

    @property
    def cloned(self) -> float:
        """Share of the way from random to best known that cloning goes."""
        gain = self.best.value - self.random.value
        return (self.cloning.value - self.random.value) / gain if gain > 0 else float("nan")

    def rows(self) -> list[tuple[str, Estimate]]:
        """Name and return, from the least to the most that is hoped for."""
        return [
            ("random", self.random),
            ("behaviour", self.behaviour),
            ("behaviour cloning", self.cloning),
            (f"best known ({self.best_by})", self.best),
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        named = {k: getattr(self, k).as_dict() for k in ("random", "behaviour", "cloning", "best")}
        return named | {"best_by": self.best_by, "cloned": self.cloned}


def headroom(
    log: Log,
    world: AbstractSimulator,
    *,
    seed: int,
    episodes: int = 1000,
    steps: int | None = None,
    features: FeatureConfig = FeatureConfig(),  # noqa: B008
    candidates: Mapping[str, AbstractPolicy] | None = None,
    on_step: OnStep | None = None,
) -> Headroom:
    """Plays random actions, a clone of the log, and all that may be the best policy known.

    Args:
        log: from the world.
        world: where everything is played.
        seed: of the cloning; the worlds of the evaluation are seeded with the next number.
        episodes: of each evaluation.
        steps: gradient steps of the cloning; None for its default.
        features: what the clone sees of an observation.
        candidates: policies beside the world's scripted expert that may be the best known.
        on_step: is told where the cloning stands.
    """

    def played(policy: Any) -> Estimate:
        return evaluate(policy, world, episodes=episodes, seed=seed + 1)

    changes: dict[str, Any] = {} if steps is None else {"steps": steps}
    cloned = train(log, "discrete_bc", seed=seed, features=features, on_step=on_step, **changes)
    best = {"scripted": played(Expert(world))}
    best |= {name: played(policy) for name, policy in (candidates or {}).items()}
    best_by = max(best, key=lambda name: best[name].value)
    return Headroom(
        random=played(make_behaviour("uniform", world.action_set)),
        behaviour=mean_estimate(log.returns, seed=seed),
        cloning=played(cloned),
        best=best[best_by],
        best_by=best_by,
    )


@dataclass(frozen=True)
class Coverage:
    """How much of what could be done the log did.

    Attributes:
        actions_seen: share of the catalogue that was taken at all.
        rows_an_action: median number of rows of the actions that were taken.
        actions_a_cell: median, over groups of similar states, of the share of the catalogue taken.
        least_propensity: the smallest probability of a logged action.
        median_propensity: the middle one.
        meant: share of rows whose action was at least ten times as probable as a uniform one.
    """

    actions_seen: float
    rows_an_action: float
    actions_a_cell: float
    least_propensity: float
    median_propensity: float
    meant: float


def coverage(log: Log, *, seed: int = 0) -> Coverage:
    """Counts it; groups of states are k-means cells of the standardised observations.

    Raises:
        ValueError: the log has no propensities.
    """
    propensities = log.action_probabilities
    if propensities is None:
        raise ValueError("coverage needs logged propensities: this log has none")
    n_actions = len(log.action_set)
    choices = n_actions if log.allowed is None else log.allowed.counts
    counts = np.bincount(log.actions, minlength=n_actions)
    cells = _cells(log, seed)
    seen = np.unique(cells * n_actions + log.actions)
    return Coverage(
        actions_seen=float((counts > 0).mean()),
        rows_an_action=float(np.median(counts[counts > 0])),
        actions_a_cell=float(np.median(np.bincount(seen // n_actions)) / n_actions),
        least_propensity=float(propensities.min()),
        median_propensity=float(np.median(propensities)),
        meant=float((propensities * choices >= 10).mean()),
    )


def _cells(log: Log, seed: int) -> np.ndarray:
    deviation = log.observations.std(axis=0)
    scaled = log.observations / np.where(deviation > 0, deviation, 1.0)
    rows = np.random.default_rng(seed).permutation(len(scaled))[:CELL_ROWS]
    distinct = len(np.unique(scaled[rows], axis=0))
    means = MiniBatchKMeans(min(CELLS, distinct), random_state=seed, n_init="auto")
    means.fit(scaled[rows])
    return np.asarray(means.predict(scaled), np.int64)


def headroom_table(found: Headroom) -> Table:
    """A row a policy."""
    return Table(
        ("policy", "mean return", "95 % interval"),
        [
            [name, f"{each.value:.1f}", f"{each.low:.1f} to {each.high:.1f}"]
            for name, each in found.rows()
        ],
    )


def coverage_table(found: Coverage, n_actions: int) -> Table:
    """A row a measure."""
    return Table(
        ("coverage", "value"),
        [
            ["actions taken at all", f"{found.actions_seen:.1%}"],
            ["rows an action taken (median)", f"{found.rows_an_action:.0f}"],
            [
                f"actions taken in one of {CELLS} groups of states (median)",
                f"{found.actions_a_cell:.1%}",
            ],
            [
                "least propensity, times the number of actions",
                f"{found.least_propensity * n_actions:.2g}",
            ],
            [
                "rows whose action was meant (propensity at least ten times uniform)",
                f"{found.meant:.1%}",
            ],
        ],
    )


def write_card(path: Path, log: Log, found: Headroom, covered: Coverage, *, made_by: str) -> None:
    """The card of a single log as Markdown."""
    write_text(
        path,
        f"# A log of {len(log):,} rows\n\n"
        f"Made by `offline-actrep {made_by}`: {log.n_episodes:,} episodes, "
        f"{len(log.action_set):,} actions, observation ({', '.join(log.observation_names)}), "
        f"exact propensities. Columns: see `datasets/README.md`.\n\n"
        f"## Headroom\n\n{markdown_table(headroom_table(found))}\n\n"
        f"{markdown_table(coverage_table(covered, len(log.action_set)))}\n",
    )
