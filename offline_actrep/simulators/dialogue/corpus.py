"""What a dialogue world is made from: tables, a goal model, and combinations of acts by frequency.

`invented_corpus` makes them up. `read_corpus` reads those of MultiWOZ (Budzianowski et al. 2018)
from a folder of the user's own:

- `multiwoz_db/<table>.parquet`, or `<table>_db.json` as published, for the six tables;
- `multiwoz_goal_model.json`, ConvLab's goal model as JSON: `slot_prob` and `slot_value_prob`
  (domain, then `info`, `reqt`, `book`, then slot), `book_prob`, and `domain_ordering_prob` as a
  list of pairs of domains and probability;
- `multiwoz_system_act_counts.parquet`, columns `act_string` and `count`: how often the system said
  each combination of acts, e.g. `Hotel-Inform[Name;Area;];general-reqmore[none;];`.
"""

import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from offline_actrep.simulators.dialogue.database import TABLES, Database, Row, database
from offline_actrep.simulators.dialogue.goals import DomainModel, GoalModel, Weighted
from offline_actrep.simulators.dialogue.ontology import DOMAINS, SEMI_SLOTS
from offline_actrep.simulators.dialogue.speech import combinations
from offline_actrep.simulators.dialogue.town import town_goals, town_tables
from offline_actrep.simulators.dialogue.vocabulary import Skeleton, parse

TABLE_FOLDER = "multiwoz_db"
GOAL_MODEL = "multiwoz_goal_model.json"
ACT_COUNTS = "multiwoz_system_act_counts.parquet"


@dataclass(frozen=True, eq=False)
class Corpus:
    """What a dialogue world is made from.

    Attributes:
        tables: what the system looks into.
        goals: what users want.
        combinations: acts in normal form, the most frequent first.
    """

    tables: Database
    goals: GoalModel
    combinations: tuple[Skeleton, ...]


@cache
def invented_corpus(seed: int) -> Corpus:
    """A town that the seed makes up."""
    chance = random.Random(seed)
    tables = town_tables(chance)
    goals = town_goals(tables)
    return Corpus(tables, goals, combinations(chance, tables, goals))


@cache
def read_corpus(folder: Path) -> Corpus:
    """MultiWOZ's own, from a folder.

    Raises:
        ValueError: a file that is absent, a table without a slot of its domain, a goal model
            without a key, counts without a column.
    """
    tables = database({name: _rows(folder / TABLE_FOLDER, name) for name in TABLES})
    counts = pl.read_parquet(_present(folder / ACT_COUNTS))
    if not {"act_string", "count"} <= set(counts.columns):
        raise ValueError(
            f"{folder / ACT_COUNTS} needs the columns act_string and count; it has "
            f"{', '.join(counts.columns)}"
        )
    ranked = counts.sort("count", descending=True, maintain_order=True)["act_string"]
    goals = _goal_model(_present(folder / GOAL_MODEL), tables)
    return Corpus(tables, goals, tuple(found for text in ranked if (found := parse(text))))


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(
            f"there is no {path}: a folder of MultiWOZ data holds {TABLE_FOLDER}/, {GOAL_MODEL} "
            f"and {ACT_COUNTS}; leave `data` out for a town that is made up"
        )
    return path


def _rows(folder: Path, name: str) -> list[Row]:
    published = folder / f"{name}_db.json"
    if published.is_file():
        path, raw = published, json.loads(published.read_text(encoding="utf-8"))
    else:
        path = _present(folder / f"{name}.parquet")
        raw = pl.read_parquet(path).to_dicts()
    held = {slot for row in raw for slot in row}
    lacking = [slot for slot in SEMI_SLOTS[name] if slot not in held]
    if lacking or not raw:
        raise ValueError(
            f"{path} has {len(raw)} rows and lacks {', '.join(lacking) or 'no slot'}; expected at "
            f"least one row, with {', '.join(SEMI_SLOTS[name]) or 'any slots'}"
        )
    return [{slot: str(value) for slot, value in row.items() if value is not None} for row in raw]


def _goal_model(path: Path, tables: Database) -> GoalModel:
    model: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    try:
        orderings = {tuple(domains): p for domains, p in model["domain_ordering_prob"]}
        return GoalModel(orderings, {d: _domain_model(model, d) for d in DOMAINS}, tables)
    except KeyError as missing:
        raise ValueError(f"{path} is no goal model: it lacks the key {missing}") from missing


def _domain_model(model: dict[str, Any], domain: str) -> DomainModel:
    probabilities, values = model["slot_prob"][domain], model["slot_value_prob"][domain]
    return DomainModel(
        _weights(probabilities.get("info", {})),
        _weights(probabilities.get("reqt", {})),
        _weights(probabilities.get("book", {})),
        float(model["book_prob"][domain]),
        {
            slot: Weighted(_weights(weights))
            for kind in ("info", "book")
            for slot, weights in values.get(kind, {}).items()
        },
    )


def _weights(read: dict[str, float | int]) -> dict[str, float]:
    return {key: float(weight) for key, weight in read.items()}
