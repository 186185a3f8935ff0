"""The log as parquet: canonical columns, version 1. `datasets/README.md` tells it to people."""

import difflib
import glob
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32
from pydantic import BaseModel, ConfigDict, Field

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.files.checks import (
    Columns,
    Labels,
    Origin,
    action_faults,
    aligned,
    find_faults,
    finite_faults,
    label,
    null_faults,
    refusal,
    refuse,
    row_faults,
    value_faults,
    vector_faults,
)
from offline_actrep.files.forms import (
    FORMS,
    ID,
    NUMBER,
    STRING,
    VECTORS,
    cast,
    is_number,
    join_scalars,
    load,
    to_array,
    to_ids,
    to_matrix,
)

SCHEMA_VERSION = 1

_VERSION_KEY = b"offline_actrep.schema_version"
_NAMES_KEY = b"offline_actrep.observation_names"
_ROWS_AT_ONCE = 1 << 16

Names = Annotated[list[str], Field(min_length=1)]


class ColumnMapping(BaseModel):
    """The user's name of every canonical column; the recipe's table `[log.columns]`.

    A column whose name has its default may be absent where it is optional; None leaves an optional
    column out even when the file has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    episode_id: str = Field("episode_id", description="id of the episode, integer or string")
    step: str = Field("step", description="number of the decision, rising by 1 in an episode")
    observation: str | Names = Field(
        "observation", description="column of lists, or the names of scalar columns"
    )
    action: str = Field("action", description="id of the action taken, integer or string")
    reward: str = Field("reward", description="reward of the action, a number")
    terminated: str = Field("terminated", description="the episode ended in a terminal state here")
    truncated: str | None = Field("truncated", description="the episode was cut off here")
    next_observation: str | Names | None = Field(
        "next_observation", description="what followed; a null means the next row's observation"
    )
    action_probability: str | None = Field(
        "action_probability", description="probability with which the action was drawn"
    )
    allowed_actions: str | None = Field(
        "allowed_actions", description="list of the ids that could be chosen"
    )
    timestamp: str | None = Field("timestamp", description="time of the decision, kept as logged")
    split: str | None = Field("split", description="name of the split that the row belongs to")


CANONICAL = ColumnMapping()
"""Every column under its canonical name."""

_OPTIONAL = frozenset(
    {
        "truncated",
        "next_observation",
        "action_probability",
        "allowed_actions",
        "timestamp",
        "split",
    }
)


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
    files = list_files(sources)
    table, labels, origin = _read_table(files, columns)
    refuse(value_faults(table, labels), origin)
    parsed = _to_columns(table, labels)
    refuse(row_faults(parsed), origin)
    action_set = _logged_actions(parsed) if action_table is None else read_action_table(action_table)
    refuse(action_faults(parsed, action_set), origin)
    return _to_log(parsed, action_set)


def list_files(sources: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that sources stand for, each once, in the order of their paths.

    Raises:
        ValueError: a source that stands for no file.
    """
    files: set[Path] = set()
    for source in [sources] if isinstance(sources, str | Path) else sources:
        path = Path(source)
        pattern = f"{glob.escape(str(path))}/*.parquet" if path.is_dir() else str(path)
        found = [path] if path.is_file() else [Path(one) for one in glob.glob(pattern, recursive=True)]
        if not found:
            raise ValueError(
                f"expected a parquet file, a folder with *.parquet in it or a glob, "
                f"got {str(source)!r}, which stands for no file in {Path.cwd()}"
            )
        files.update(found)
    if not files:
        raise ValueError("expected at least one parquet file, got an empty list")
    return sorted(files)


# File -> table of canonical columns.


def _read_table(files: list[Path], mapping: ColumnMapping) -> tuple[pa.Table, Labels, Origin]:
    """The files below one another, each column under its canonical name and in its one form."""
    parts, labels = [], {}
    for file in files:
        part, present = _read_file(file, mapping)
        parts.append(part)
        labels = {**labels, **present}
        _check_like(file, part, files[0], parts[0], labels)
    starts = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
    if starts[-1] == 0:
        raise ValueError(f"a log needs at least one row, got none in {', '.join(map(str, files))}")
    table = pa.concat_tables(parts, promote_options="default")
    return table, labels, Origin(tuple(files), starts)


def _read_file(file: Path, mapping: ColumnMapping) -> tuple[pa.Table, Labels]:
    labels: dict[str, str | list[str]] = {}

    def choose(schema: pa.Schema) -> list[str]:
        _check_version(file, schema)
        labels.update(_present(file, schema, mapping))
        return list(dict.fromkeys(name for names in labels.values() for name in _listed(names)))

    table = load(file, choose)
    cast_columns = {field: _canonical(file, table, field, names) for field, names in labels.items()}
    _check_kinds(file, cast_columns, labels)
    names = _observation_names(file, table.schema, labels["observation"])
    metadata = {_NAMES_KEY: json.dumps(names).encode()}
    return pa.table(cast_columns).replace_schema_metadata(metadata), labels
