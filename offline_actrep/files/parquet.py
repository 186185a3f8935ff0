"""The log as parquet: canonical columns, version 1. `datasets/README.md` tells it to people."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks
from offline_actrep.files.checks import (
    action_faults,
    finite_faults,
    null_faults,
    row_faults,
    value_faults,
    vector_faults,
)
from offline_actrep.files.columns import (
    Columns,
    logged_actions,
    to_array,
    to_columns,
    to_ids,
    to_log,
    to_matrix,
    usual_length,
)
from offline_actrep.files.faults import Origin, find_faults, refusal, refuse
from offline_actrep.files.forms import (
    ID,
    NUMBER,
    STRING,
    VECTORS,
    cast,
)
from offline_actrep.files.rows import ROWS_AT_ONCE, check_writable, given_next, to_rows
from offline_actrep.files.table import (
    NAMES_KEY,
    SCHEMA_VERSION,
    VERSION_KEY,
    list_files,
    load,
    read_table,
)

Names = Annotated[list[str], Field(min_length=1)]


class ColumnMapping(BaseModel):
    """The user's name of every canonical column; the recipe's table `[log.columns]`.

    An optional column may be absent under its default name, but not under one of the user's; None
    leaves it out even when the file has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    episode_id: str = Field(
        default="episode_id", description="id of the episode, integer or string"
    )
    step: str = Field(
        default="step", description="number of the decision, rising by 1 in an episode"
    )
    observation: str | Names = Field(
        default="observation", description="column of lists, or the names of scalar columns"
    )
    action: str = Field(default="action", description="id of the action taken, integer or string")
    reward: str = Field(default="reward", description="reward of the action, a number")
    terminated: str = Field(
        default="terminated", description="the episode ended in a terminal state here"
    )
    truncated: str | None = Field(default="truncated", description="the episode was cut off here")
    next_observation: str | Names | None = Field(
        default="next_observation",
        description="what followed; a null means the next row's observation",
    )
    action_probability: str | None = Field(
        default="action_probability", description="probability with which the action was drawn"
    )
    allowed_actions: str | None = Field(
        default="allowed_actions", description="list of the ids that could be chosen"
    )
    timestamp: str | None = Field(
        default="timestamp", description="time of the decision, kept as logged"
    )
    split: str | None = Field(
        default="split", description="name of the split that the row belongs to"
    )


CANONICAL = ColumnMapping()
"""Every column under its canonical name."""

OPTIONAL = frozenset(
    {
        "truncated",
        "next_observation",
        "action_probability",
        "allowed_actions",
        "timestamp",
        "split",
    }
)
"""Canonical columns that a log may lack."""


def read_log(
    sources: str | Path | Sequence[str | Path],
    *,
    columns: ColumnMapping = CANONICAL,
    action_table: str | Path | None = None,
) -> Log:
    """A log from parquet files, checked whole.

    Args:
        sources: a file, a folder (its `*.parquet`), a glob, or several of them. The files are
            read in the order of their paths; an episode may run on into the next file.
        columns: what the files call the canonical columns.
        action_table: parquet file with the catalogue; otherwise it is the distinct ids logged.

    Raises:
        ValueError: the first rule broken; says file, column, row within the file (from 0), what
            was expected, what there is, how to mend it.
    """
    parsed, origin = _read_columns(list_files(sources), columns)
    pa.default_memory_pool().release_unused()  # it would keep what the table took
    refuse(row_faults(parsed), origin)
    actions = logged_actions(parsed) if action_table is None else read_action_table(action_table)
    refuse(action_faults(parsed, actions), origin)
    return to_log(parsed, actions)


def _read_columns(files: list[Path], columns: ColumnMapping) -> tuple[Columns, Origin]:
    """Free of value faults, and where the rows come from; the table itself is let go."""
    wanted = {field: names for field, names in columns if names is not None}
    may_lack = frozenset(
        field for field in OPTIONAL if getattr(columns, field) == getattr(CANONICAL, field)
    )
    table, labels, origin = read_table(files, wanted, may_lack)
    refuse(value_faults(table, labels), origin)
    return to_columns(table, labels, origin.files[0]), origin


def read_points(
    sources: str | Path | Sequence[str | Path],
) -> Float32[np.ndarray, "N E"] | None:
    """The points written beside the rows of a log, or None where the files have none.

    Raises:
        ValueError: some of the files have points and others not, or as `read_log` does.
    """
    files = list_files(sources)
    parts = [load(file, lambda schema: [n for n in schema.names if n == "point"]) for file in files]
    having = [file for file, part in zip(files, parts, strict=True) if part.num_columns]
    if not having:
        return None
    points = []
    for file, part in zip(files, parts, strict=True):
        if not part.num_columns:
            mend = "write the points to all files or to none"
            raise refusal(file, "point", f"the column, as {having[0]} has it", "none", mend)
        points.append(cast(file, "point", part["point"], VECTORS))
    column = pa.chunked_array([chunk for part in points for chunk in part.chunks], points[0].type)
    starts = np.cumsum([0, *(len(part) for part in points)]).astype(np.int64)
    refuse(null_faults("point", column), Origin(tuple(files), starts))
    refuse(vector_faults("point", column), Origin(tuple(files), starts))
    return to_matrix(column, usual_length(column))


def write_log(
    log: Log, path: str | Path, *, points: Float32[np.ndarray, "N E"] | None = None
) -> None:
    """A log as one parquet file, which appears whole or not at all.

    Args:
        log: read again with the same action table, it is equal. Steps are numbered from 0.
        path: its folder is made where there is none.
        points: a point a row, written beside the actions.

    Raises:
        ValueError: the log or the points hold what no reader would take.
    """
    given = np.concatenate([given_next(log, rows) for rows in blocks(len(log))])
    check_writable(log, given, points)
    names = json.dumps(list(log.observation_names))
    metadata = {VERSION_KEY: str(SCHEMA_VERSION), NAMES_KEY: names}
    any_given = bool(given.any())

    def part(rows: slice) -> pa.Table:
        table = to_rows(
            log, rows, given[rows] if any_given else None, None if points is None else points[rows]
        )
        return table.replace_schema_metadata(metadata)

    with (
        whole_file(Path(path)) as unfinished,
        pq.ParquetWriter(unfinished, part(slice(0, 1)).schema, compression="zstd") as writer,
    ):
        for rows in blocks(len(log), ROWS_AT_ONCE):
            writer.write_table(part(rows))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to, put in the place of `path` when all went well, removed when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_action_table(action_set: ActionSet, path: str | Path) -> None:
    """A catalogue as parquet: `action`, `name` where there are names, one column a feature.

    Features without names are called `feature_0`, `feature_1`, ...

    Raises:
        ValueError: feature names that clash.
    """
    columns: dict[str, np.ndarray | list[str]] = {"action": action_set.ids}
    if action_set.names:
        columns["name"] = list(action_set.names)
    if action_set.features is not None:
        features = action_set.features
        names = action_set.feature_names or tuple(f"feature_{i}" for i in range(features.shape[1]))
        if len({"action", "name", *names}) != 2 + features.shape[1]:
            raise ValueError(
                f"expected {features.shape[1]} different feature names, none of them 'action' "
                f"or 'name', got {names}"
            )
        columns |= {name: features[:, i] for i, name in enumerate(names)}
    table = pa.table(columns).replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION)})
    with whole_file(Path(path)) as unfinished:
        pq.write_table(table, unfinished, compression="zstd")


def read_action_table(path: str | Path) -> ActionSet:
    """The catalogue of a parquet file: ids, names if there are, all other columns as features.

    Raises:
        ValueError: no `action` column, no row, an id twice, a null, a feature that is not
            finite; says file, column, row, what was expected, what there is, how to mend it.
    """
    file = Path(path)
    table = load(file, lambda schema: schema.names)
    if "action" not in table.column_names or not len(table):
        found = f"{len(table)} rows of the columns {', '.join(table.column_names)}"
        raise refusal(file, "action", "a column of action ids", found, "list one action a row")
    forms = dict.fromkeys(table.column_names, NUMBER) | {"action": ID, "name": STRING}
    columns = {name: cast(file, name, table[name], forms[name]) for name in table.column_names}
    origin = Origin((file,), np.array([0, len(table)]))
    for name, column in columns.items():
        refuse(null_faults(name, column), origin)
        if forms[name] is NUMBER:
            refuse(finite_faults(name, column), origin)
    ids = to_ids(columns["action"])
    twice = np.ones(len(table), bool)
    twice[np.unique(ids.codes, return_index=True)[1]] = False

    def tell(row: int) -> tuple[str, str]:
        return "every id once", f"{ids.show(row)} again"

    refuse(find_faults("catalogue", "action", twice, tell, "keep one row an action"), origin)
    features = tuple(name for name in columns if forms[name] is NUMBER)
    return ActionSet(
        ids=to_array(columns["action"]),
        names=tuple(columns["name"].to_pylist()) if "name" in columns else (),
        features=np.stack([to_array(columns[name]) for name in features], 1) if features else None,
        feature_names=features,
    )
