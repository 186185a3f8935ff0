"""Rows as the statistics want them: seeds by tasks, a matrix a method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from offline_actrep.bench.plan import BenchRecipe, Cell
from offline_actrep.bench.rows import Row

Value = Callable[[Row], float | None]


def last(row: Row) -> float:
    """The normalised return of the last checkpoint."""
    return row.normalised


def chosen(row: Row) -> float | None:
    """That of the checkpoint that FQE chose."""
    return row.chosen_normalised


@dataclass(frozen=True)
class Scores:
    """The rows of a bench that are as its TOML says.

    Attributes:
        bench: the bench.
        rows: those that count.
    """

    bench: BenchRecipe
    rows: Sequence[Row]

    def of(self, method: str, cell: Cell) -> list[Row]:
        """A method's rows on one log, by seed."""
        found = [row for row in self.rows if row.method == method and row.cell == cell]
        return sorted(found, key=lambda row: row.seed)

    def methods(self, cell: Cell) -> list[str]:
        """Those that have a row on the log, in the bench's order of methods."""
        return [each.name for each in self.bench.methods if self.of(each.name, cell)]

    def cells(self) -> list[Cell]:
        """Logs that have rows, as they are."""
        return [cell for cell in self._there() if not cell.setting]

    def swept(self) -> list[Cell]:
        """Logs that have rows, in sweeps."""
        return [cell for cell in self._there() if cell.setting]

    def tiers(self) -> dict[str, list[Cell]]:
        """Of the logs as they are those of worlds that are for all methods, tier by tier."""
        found: dict[str, list[Cell]] = {}
        for cell in self.cells():
            if self.bench.world(cell.world).methods is None:
                found.setdefault(cell.tier, []).append(cell)
        return found

    def groups(self) -> dict[str, list[Cell]]:
        """The logs as they are, by what stands in one figure: a tier, or a world of its own."""
        tiers = self.tiers()
        shared = {cell for cells in tiers.values() for cell in cells}
        return tiers | {cell.name: [cell] for cell in self.cells() if cell not in shared}

    def _there(self) -> list[Cell]:
        there = {row.cell for row in self.rows}
        return [cell for cell in self.bench.cells() if cell in there]

    def matrix(
        self, method: str, cells: Sequence[Cell], value: Value = last
    ) -> Float64[np.ndarray, "R T"] | None:
        """Seeds by logs, the seeds that every one of these logs has; None where there is none."""
        found = [
            {row.seed: score for row in self.of(method, cell) if (score := value(row)) is not None}
            for cell in cells
        ]
        shared = sorted(set.intersection(*map(set, found))) if found else []
        if not shared:
            return None
        return np.array([[by_seed[seed] for by_seed in found] for seed in shared], np.float64)

    def behaviour(self, cell: Cell) -> tuple[float, float, float]:
        """Normalised return of the log's own episodes, with its interval."""
        row = next(row for row in self.rows if row.cell == cell)
        ends = row.behaviour_return, row.behaviour_low, row.behaviour_high
        value, low, high = row.normalise(np.array(ends, np.float64)).tolist()
        return value, low, high
