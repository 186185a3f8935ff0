"""The rows of a bench: one a method, log and seed, in a small parquet file that nobody edits.

Every row carries a digest of its own content, which is verified when the file is read; figures and
tables are made from the rows alone.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from offline_actrep.bench.plan import Cell
from offline_actrep.files.artifact import digest

Key = tuple[str, Cell, int]
"""Method, log and seed: there is one row of each."""


@dataclass(frozen=True)
class Row:
    """What one method came to on one log with one seed.

    Returns are undiscounted means over episodes, in the log's unit of reward, unless they say
    otherwise; `normalised` is 0 for random actions and 1 for the best policy known.
    """

    method: str
    world: str
    tier: str
    setting: str
    seed: int
    learner: str
    representation: str
    """Empty for learners of ids."""
    actions: int
    steps: int
    tuning: str
    """`tuned`, or `untuned default`."""
    learner_settings: str
    """JSON: what differs from the defaults of `LearnerConfig`."""
    points_settings: str
    """JSON: the same of the representation."""
    mean_return: float
    normalised: float
    episodes: int
    discounted_return: float
    fqe: float | None
    """From the log alone; hold it against the discounted return."""
    fqe_low: float | None
    fqe_high: float | None
    chosen_step: int | None
    """Of the policy that FQE chose among the last ones."""
    chosen_return: float | None
    chosen_normalised: float | None
    curve_steps: list[int]
    curve_returns: list[float]
    random_return: float
    best_return: float
    best_by: str
    behaviour_return: float
    behaviour_low: float
    behaviour_high: float
    fit_seconds: float | None
    fit_peak_mb: float | None
    relabel_seconds: float | None
    relabel_peak_mb: float | None
    train_seconds: float
    train_peak_mb: float | None
    decide_seconds: float
    """A decision, in a batch of 512."""
    effect_r2: float | None
    """Of the points: how much of the true effect a linear map reads off them."""
    neighbour_ratio: float | None
    """Of the points: how much nearest ones differ in true effect; 0 is perfect, 1 is noise."""
    config_hash: str
    """Of all that the TOML says about this row, but for FQE."""
    data_hash: str
    """The log's fingerprint."""
    git_revision: str
    """Of the code that trained the policy."""
    machine: str
    """On which it was trained."""
    # later than the others: rows of before have none, and are as good
    distinct_actions: int | None = None
    """How many of the actions were chosen in its episodes."""
    largest_share: float | None = None
    """The commonest action's share of all decisions."""
    repeated: float | None = None
    """Share of decisions that chose the action of the decision before."""
    fqe_hash: str | None = None
    """Of what the TOML said about FQE when it judged."""

    @property
    def cell(self) -> Cell:
        """The log."""
        return Cell(self.world, self.tier, self.setting)

    @property
    def key(self) -> Key:
        """What it is the row of."""
        return self.method, self.cell, self.seed

    def normalise(self, returned: np.ndarray) -> np.ndarray:
        """Returns on its log as shares of the way from random to the best known."""
        return (returned - self.random_return) / (self.best_return - self.random_return)

    @property
    def seconds(self) -> float:
        """From the log to a policy: fit, re-label and train."""
        return (self.fit_seconds or 0.0) + (self.relabel_seconds or 0.0) + self.train_seconds

    def without_fqe(self) -> "Row":
        """What it earned, and nothing of what FQE thought or chose."""
        return replace(self, **dict.fromkeys(FQE))  # type: ignore[arg-type]

    def digest(self) -> str:
        """Of everything that it says; what came later and is not known says nothing."""
        content = asdict(self)
        return digest("row", {k: v for k, v in content.items() if k not in LATER or v is not None})


FQE = (
    "fqe", "fqe_low", "fqe_high", "chosen_step", "chosen_return", "chosen_normalised", "fqe_hash",
)  # fmt: skip
"""What hangs on FQE's settings, and on nothing else of a row does."""
LATER = tuple(field.name for field in fields(Row) if field.default is not MISSING)
"""What rows of before may lack."""
DIGEST = "row_digest"
_TYPES: dict[Any, Any] = {
    str: pl.String,
    str | None: pl.String,
    int: pl.Int64,
    float: pl.Float64,
    float | None: pl.Float64,
    int | None: pl.Int64,
    list[int]: pl.List(pl.Int64),
    list[float]: pl.List(pl.Float64),
}
SCHEMA: dict[str, Any] = {field.name: _TYPES[field.type] for field in fields(Row)} | {
    DIGEST: pl.String
}


def read_rows(file: Path) -> dict[Key, Row]:
    """All rows; none where there is no file.

    Raises:
        ValueError: the file is no table of rows, or a row was changed after it was written.
    """
    if not file.is_file():
        return {}
    table = pl.read_parquet(file)
    wrong = set(SCHEMA) - set(LATER) - set(table.columns)
    wrong |= {name for name, kind in table.schema.items() if SCHEMA.get(name) != kind}
    if wrong:
        raise ValueError(
            f"{file} is no table of rows of this version (column {min(wrong)!r}): move it away and "
            "run the bench again"
        )
    rows = {}
    for number, content in enumerate(table.iter_rows(named=True)):
        stated = content.pop(DIGEST)
        row = Row(**content)
        if row.digest() != stated:
            raise ValueError(
                f"{file}, row {number} ({row.method}, {row.cell.name}, seed {row.seed}) was "
                "changed after it was written: rows are never edited; remove the file and run the "
                "bench again"
            )
        rows[row.key] = row
    return rows


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Whole or not at all, in the order of worlds, methods and seeds."""
    ordered = sorted(rows, key=lambda row: (row.cell, row.method, row.seed))
    content = [asdict(row) | {DIGEST: row.digest()} for row in ordered]
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(file.name + ".tmp")
    pl.DataFrame(content, schema=SCHEMA).write_parquet(draft)
    os.replace(draft, file)


def words(settings: dict[str, Any]) -> str:
    """Settings as JSON, keys sorted."""
    return json.dumps(settings, sort_keys=True)
