"""The numbers behind a bench's tables and figures, from its rows alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from offline_actrep.bench.plan import BEHAVIOUR, Cell, Sweep
from offline_actrep.bench.scores import Scores, Value, chosen, last
from offline_actrep.bench.selection import Selection, selection
from offline_actrep.bench.statistics import (
    Profile,
    decline,
    decline_gap,
    improvements,
    iqms,
    profiles,
)
from offline_actrep.bench.verdicts import Verdict, on_a_log, on_a_sweep
from offline_actrep.core.estimate import Estimate

THRESHOLDS = 101


@dataclass(frozen=True)
class Improvement:
    """How probably a run of one method is better than one of another.

    Attributes:
        found: a mean over logs.
        logs: those that both methods have.
    """

    found: Estimate
    logs: Sequence[str]


@dataclass(frozen=True)
class Together:
    """The logs of one tier taken together, in the worlds that are for all methods.

    Attributes:
        logs: their names.
        overall: interquartile means over all of them, for methods that were run on each.
        improvement: of a method over another.
        profiles: of the headline methods among those with more than one seed on each log.
    """

    logs: Sequence[str]
    overall: Mapping[str, Estimate]
    improvement: Mapping[tuple[str, str], Improvement]
    profiles: Mapping[str, Profile]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; profiles are left out, being drawn."""
        return {
            "logs": list(self.logs),
            "iqm": _by_method(self.overall),
            "probability_of_improvement": [
                {"of": one, "over": other, "logs": list(each.logs)} | _finite(each.found)
                for (one, other), each in self.improvement.items()
            ],
        }


@dataclass(frozen=True)
class Declines:
    """What is lost a doubling of the actions, in one sweep.

    Attributes:
        of: by method, where it was run at every value.
        gaps: how much more the first of a pair loses than the second; of pairs in a claim.
    """

    of: Mapping[str, Estimate]
    gaps: Mapping[tuple[str, str], Estimate]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "a_doubling": _by_method(self.of),
            "differences": [
                {"of": one, "over": other} | _finite(each)
                for (one, other), each in self.gaps.items()
            ],
        }


@dataclass(frozen=True)
class Findings:
    """All statistics of a bench.

    Attributes:
        last: interquartile mean of the normalised return of the last checkpoint, by log and method.
        chosen: that of the checkpoint that FQE chose.
        selection: what FQE is worth, by log.
        behaviour: normalised return of each log's own episodes.
        together: by tier.
        declines: by sweep.
        verdicts: on the claims.
    """

    last: Mapping[Cell, Mapping[str, Estimate]]
    chosen: Mapping[Cell, Mapping[str, Estimate]]
    selection: Mapping[Cell, Selection]
    behaviour: Mapping[Cell, Estimate]
    together: Mapping[str, Together]
    declines: Mapping[str, Declines]
    verdicts: Sequence[Verdict]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "iqm": {cell.name: _by_method(found) for cell, found in self.last.items()},
            "iqm_of_chosen_by_fqe": {
                cell.name: _by_method(found) for cell, found in self.chosen.items()
            },
            "fqe": {cell.name: each.as_dict() for cell, each in self.selection.items()},
            "behaviour": {cell.name: _finite(each) for cell, each in self.behaviour.items()},
            "together": {tier: each.as_dict() for tier, each in self.together.items()},
            "declines": {sweep: each.as_dict() for sweep, each in self.declines.items()},
            "verdicts": [vars(each) | {"verdict": each.verdict} for each in self.verdicts],
        }


def find(scores: Scores) -> Findings:
    """Everything, from rows that are as the bench says."""
    plain, swept = scores.cells(), scores.swept()
    found = _iqms(scores, [*plain, *swept], last)
    behaviour = {cell: _behaviour(scores, cell) for cell in (*plain, *swept)}
    declines = {
        sweep.name: made for sweep in scores.bench.sweeps if (made := _declines(scores, sweep))
    }
    return Findings(
        last=found,
        chosen=_iqms(scores, plain, chosen),
        selection={
            cell: made
            for cell in plain
            if (made := selection([row for row in scores.rows if row.cell == cell]))
        },
        behaviour=behaviour,
        together={tier: _together(scores, cells) for tier, cells in scores.tiers().items()},
        declines=declines,
        verdicts=_verdicts(scores, found, behaviour, declines),
    )


def at_every_value(scores: Scores, sweep: Sweep, methods: Sequence[str]) -> dict[str, np.ndarray]:
    """Of each method that was run at every value: seeds by values."""
    cells = sweep.cells()
    found = {name: scores.matrix(name, cells) for name in methods}
    return {name: matrix for name, matrix in found.items() if matrix is not None}


def actions_of(scores: Scores, cells: Sequence[Cell]) -> np.ndarray:
    """How many actions there are on each log."""
    by_cell = {row.cell: row.actions for row in scores.rows}
    return np.array([by_cell[cell] for cell in cells], np.float64)


def _iqms(scores: Scores, cells: Sequence[Cell], value: Value) -> dict[Cell, dict[str, Estimate]]:
    """Of methods that have the value in every row: one of fewer seeds is not to be held against."""
    matrices = {
        (cell, name): matrix
        for cell in cells
        for name in scores.methods(cell)
        if (matrix := scores.matrix(name, [cell], value)) is not None
        and len(matrix) == len(scores.of(name, cell))
    }
    found: dict[Cell, dict[str, Estimate]] = {cell: {} for cell in cells}
    for (cell, name), each in iqms(matrices).items():
        found[cell][name] = each
    return found


def _behaviour(scores: Scores, cell: Cell) -> Estimate:
    value, low, high = scores.behaviour(cell)
    return Estimate(value, low, high, 1)


def _together(scores: Scores, cells: Sequence[Cell]) -> Together:
    whole = {
        each.name: matrix
        for each in scores.bench.methods
        if (matrix := scores.matrix(each.name, cells)) is not None
    }
    headline = {
        name: whole[name]
        for name in scores.bench.figures.headline
        if name in whole and len(whole[name]) > 1
    }
    return Together(
        logs=[cell.name for cell in cells],
        overall=iqms(whole),
        improvement=_improvements(scores, cells),
        profiles=_profiles(headline) if headline else {},
    )


def _improvements(scores: Scores, cells: Sequence[Cell]) -> dict[tuple[str, str], Improvement]:
    pairs, logs = {}, {}
    for other in scores.bench.figures.over:
        for each in scores.bench.methods:
            shared = [
                cell for cell in cells if scores.of(each.name, cell) and scores.of(other, cell)
            ]
            one, two = scores.matrix(each.name, shared), scores.matrix(other, shared)
            if each.name != other and one is not None and two is not None:
                pairs[each.name, other] = (one, two)
                logs[each.name, other] = [cell.name for cell in shared]
    return {pair: Improvement(found, logs[pair]) for pair, found in improvements(pairs).items()}


def _declines(scores: Scores, sweep: Sweep) -> Declines | None:
    """None where no method was run at every value."""
    runs = at_every_value(scores, sweep, sweep.methods)
    if not runs:
        return None
    places = np.log2(actions_of(scores, sweep.cells()))
    pairs = {
        (worse, better)
        for claim in scores.bench.claims
        if claim.falls_less
        for worse in claim.than
        for better in claim.better
        if worse in runs and better in runs
    }
    return Declines(
        of={name: decline(run, places) for name, run in runs.items()},
        gaps={
            (worse, better): decline_gap(runs[worse], runs[better], places)
            for worse, better in sorted(pairs)
        },
    )


def _profiles(headline: Mapping[str, np.ndarray]) -> dict[str, Profile]:
    low = min(0.0, *(matrix.min() for matrix in headline.values()))
    high = max(1.0, *(matrix.max() for matrix in headline.values()))
    return profiles(headline, np.linspace(low, high, THRESHOLDS))


def _verdicts(
    scores: Scores,
    found: Mapping[Cell, Mapping[str, Estimate]],
    behaviour: Mapping[Cell, Estimate],
    declines: Mapping[str, Declines],
) -> list[Verdict]:
    said = []
    for claim in scores.bench.claims:
        if claim.falls_less:
            for sweep, each in declines.items():
                said += on_a_sweep(claim, sweep, each.of, each.gaps)
        for cell in found:
            if cell.tier == claim.tier and not cell.setting:
                known = dict(found[cell]) | {BEHAVIOUR: behaviour[cell]}
                asked = {BEHAVIOUR, *(each.name for each in scores.bench.methods_in(cell))}
                said += on_a_log(claim, cell.name, known, asked)
    return said


def _by_method(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: _finite(each) for name, each in found.items()}


def _finite(each: Estimate) -> dict[str, Any]:
    """JSON knows no infinity: an end that is not known is null."""
    return {key: value if np.isfinite(value) else None for key, value in each.as_dict().items()}
