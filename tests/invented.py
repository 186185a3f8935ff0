"""Rows of a bench that nobody ran, for the tests of what is made from rows."""

from collections.abc import Callable, Mapping

import numpy as np

from offline_actrep.bench.plan import BenchRecipe, Cell
from offline_actrep.bench.rows import Key, Row
from offline_actrep.bench.setup import Setup

Score = Callable[[str, Cell, int], float]
"""A normalised return of (method, log, seed)."""


def a_row(method: str, cell: Cell, seed: int, score: float, **changes: object) -> Row:
    """A row with this normalised return, where random earns -10 and the best 90."""
    steps = [1000, 2000, 3000, 4000]
    given: dict = {
        "method": method, "world": cell.world, "tier": cell.tier, "setting": cell.setting,
        "seed": seed, "learner": "cql", "representation": "merlion", "actions": 16, "steps": 4000,
        "tuning": "untuned default", "learner_settings": "{}", "points_settings": "{}",
        "mean_return": -10 + 100 * score, "normalised": score, "episodes": 200,
        "discounted_return": 40 * score, "fqe": 38 * score, "fqe_low": 30 * score,
        "fqe_high": 46 * score, "chosen_step": 3000, "chosen_return": -10 + 100 * score,
        "chosen_normalised": score, "curve_steps": steps,
        "curve_returns": [-10 + 100 * score * step / 4000 for step in steps],
        "random_return": -10.0, "best_return": 90.0, "best_by": "scripted",
        "behaviour_return": 10.0, "behaviour_low": 9.0, "behaviour_high": 11.0,
        "fit_seconds": 30.0, "fit_peak_mb": 900.0, "relabel_seconds": 2.0,
        "relabel_peak_mb": 800.0, "train_seconds": 60.0, "train_peak_mb": 950.0,
        "decide_seconds": 1e-5, "effect_r2": 0.9, "neighbour_ratio": 0.1, "config_hash": "c",
        "data_hash": "d", "git_revision": "r", "machine": "m",
    }  # fmt: skip
    return Row(**{**given, **changes})


def rows_of(
    bench: BenchRecipe, setups: Mapping[Key, Setup], score: Score, actions: Mapping[Cell, int]
) -> list[Row]:
    """One for everything that the bench asks for; `actions` says how many a log has."""
    draws, rows = np.random.default_rng(0), []
    for (method, cell, seed), wanted in setups.items():
        each = bench.method(method)
        about: dict = {
            "learner": each.learner,
            "representation": each.representation or "",
            "config_hash": wanted.hash,
            "fqe_hash": wanted.fqe_hash,
            "actions": actions.get(cell, 16),
            "train_seconds": float(20 + 200 * draws.random()),
        }
        if each.representation is None:
            about |= dict.fromkeys(("fit_seconds", "relabel_seconds", "effect_r2"))
        rows.append(a_row(method, cell, seed, score(method, cell, seed), **about))
    return rows
