"""A log of any size, a block of rows at a time: a store, or parquet files in the canonical schema.

Memory stays flat. Of a store's mapped columns the pages are given back after each block. Parquet
is read without pyarrow's own read-ahead, which keeps what it has read (60 MB a million rows).
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int64

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks
from offline_actrep.files.artifact import sha256
from offline_actrep.files.checks import null_faults, vector_faults
from offline_actrep.files.columns import to_ids, to_matrix, usual_length
from offline_actrep.files.faults import Origin, label, refusal, refuse
from offline_actrep.files.forms import ID, NUMBER, VECTORS, cast, is_number, join_scalars
from offline_actrep.files.manifest import MANIFEST, is_store
from offline_actrep.files.parquet import ColumnMapping
from offline_actrep.files.rows import ROWS_AT_ONCE, given_next, to_rows
from offline_actrep.files.store import open_store
from offline_actrep.files.table import (
    NAMES_KEY,
    SCHEMA_VERSION,
    VERSION_KEY,
    check_version,
    list_files,
)

_BUFFER = 1 << 20
"""Bytes that are read ahead of a column."""


@dataclass(frozen=True)
class Part:
    """Rows that go into one file of what is written.

    Attributes:
        file: where they lie.
        start: the first of them, counted within the file.
        rows: how many.
        groups: the row groups of a parquet file that hold them.
    """

    file: Path
    start: int
    rows: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of a part.

    Attributes:
        observations: `[R, S]`.
        actions: `[R]` dense indices.
        table: all columns as they are written, or None where they were not asked for.
    """

    observations: Float32[np.ndarray, "R S"]
    actions: Int64[np.ndarray, " R"]
    table: pa.Table | None


class AbstractStream(ABC):
    """A log as parts of blocks; parts and blocks are always cut in the same places.

    Attributes:
        parts: in order.
        about: what log this is, as JSON can say it.
        changed: when its files last changed, as JSON can say it.
    """

    parts: tuple[Part, ...]
    about: dict[str, Any]
    changed: dict[str, Any]

    @property
    def rows(self) -> int:
        """N."""
        return sum(part.rows for part in self.parts)

    @abstractmethod
    def blocks(self, part: Part, *, tables: bool) -> Iterator[Block]:
        """The rows of a part, with all their columns or without.

        Raises:
            ValueError: a row that cannot be taken; says file, column, row, what was expected,
                what there is, how to mend it.
        """


@final
class StoreStream(AbstractStream):
    """A store's rows.

    Args:
        folder: of the store.
        rows_a_part: at most.

    Attributes:
        log: the store, opened.
    """

    def __init__(self, folder: Path, rows_a_part: int) -> None:
        self.log: Log = open_store(folder)
        manifest = folder / MANIFEST
        self.parts = tuple(
            Part(folder, rows.start, rows.stop - rows.start)
            for rows in blocks(len(self.log), rows_a_part)
        )
        self.about = {"store": sha256(manifest), "rows": len(self.log)}
        self.changed = {}

    def blocks(self, part: Part, *, tables: bool) -> Iterator[Block]:
        log = self.log
        names = json.dumps(list(log.observation_names))
        metadata = {VERSION_KEY: str(SCHEMA_VERSION), NAMES_KEY: names}
        for within in blocks(part.rows, ROWS_AT_ONCE):
            rows = slice(part.start + within.start, part.start + within.stop)
            table = None
            if tables:
                table = to_rows(log, rows, given_next(log, rows), None)
                table = table.replace_schema_metadata(metadata)
            yield Block(log.observations[rows], log.actions[rows], table)
            log.release()


@final
class ParquetStream(AbstractStream):
    """The rows of parquet files.

    Args:
        sources: a file, a folder (its `*.parquet`), a glob, or several of them.
        action_set: the actions that may be taken.
        observation_size: S.
        columns: what the files call the observation and the action.
        rows_a_part: at most, where row groups are not larger; no part has rows of two files.

    Raises:
        ValueError: a file that cannot be read, without these columns, or of other columns than
            the first; or there is no row.
    """

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        action_set: ActionSet,
        observation_size: int,
        columns: ColumnMapping,
        rows_a_part: int,
    ) -> None:
        self._actions, self._size = action_set, observation_size
        self._observation, self._action = columns.observation, columns.action
        files = list_files(sources)
        parts: list[Part] = []
        found: list[dict[str, Any]] = []
        first: pa.Schema | None = None
        for file in files:
            with _reading(file), pq.ParquetFile(file) as opened:
                schema, metadata = opened.schema_arrow, opened.metadata
            check_version(file, schema)
            first = first or schema
            self._check_schema(file, schema, files[0], first)
            parts += _parts(file, metadata, rows_a_part)
            found.append({"name": file.name, "rows": metadata.num_rows, **_ends(file)})
        if not parts:
            raise ValueError(f"expected at least one row, got none in {', '.join(map(str, files))}")
        self.parts = tuple(parts)
        self.about = {"files": found, "observation": self._observation, "action": self._action}
        self.changed = {"ns": [file.stat().st_mtime_ns for file in files]}

    def blocks(self, part: Part, *, tables: bool) -> Iterator[Block]:
        start = part.start
        for table in _batches(part, None if tables else self._needed):
            origin = Origin((part.file,), np.array([-start, 1 << 62]))
            observations = self._observations(part.file, table, origin)
            actions = self._indices(part.file, table, start, origin)
            yield Block(observations, actions, table if tables else None)
            start += len(table)

    @property
    def _needed(self) -> list[str]:
        """The columns that a point is made from."""
        seen = [self._observation] if isinstance(self._observation, str) else self._observation
        return [*seen, self._action]

    def _check_schema(self, file: Path, schema: pa.Schema, first: Path, example: pa.Schema) -> None:
        for name in self._needed:
            if schema.names.count(name) != 1:
                raise refusal(
                    file,
                    name,
                    "one column of that name",
                    f"the columns {', '.join(schema.names)}",
                    "name the columns of observation and action in the column mapping",
                )
        pairs = {(field.name, field.type) for field in schema}
        pairs ^= {(field.name, field.type) for field in example}
        odd = sorted(name for name, _ in pairs if name not in _MAY_DIFFER)
        if odd:
            raise refusal(
                file,
                odd[0],
                f"the column as {first} has it",
                "none, or one of another type" if odd[0] in schema.names else "none",
                "write all files with the same columns of the same types",
            )

    def _observations(
        self, file: Path, table: pa.Table, origin: Origin
    ) -> Float32[np.ndarray, "R {self._size}"]:
        names, size = self._observation, self._size
        if isinstance(names, str) and not is_number(table[names].type):
            column = cast(file, names, table[names], VECTORS)
        else:
            listed = [names] if isinstance(names, str) else names
            column = join_scalars([cast(file, name, table[name], NUMBER) for name in listed])
        refuse(null_faults(label(names), column), origin)
        if usual_length(column) != size:
            raise refusal(
                file,
                label(names),
                f"observations of {size} numbers, as the representation takes them",
                f"{usual_length(column)}",
                "take the representation that was made from this log",
            )
        refuse(vector_faults(names, column, size), origin)
        return to_matrix(column, size)

    def _indices(
        self, file: Path, table: pa.Table, start: int, origin: Origin
    ) -> Int64[np.ndarray, " R"]:
        column = cast(file, self._action, table[self._action], ID)
        refuse(null_faults(self._action, column), origin)
        indices, known = _encode(column, self._actions)
        if not known.all():
            row = int(np.argmin(known))
            raise refusal(
                file,
                self._action,
                f"one of the {len(self._actions)} actions that the representation knows",
                repr(column[row].as_py()),
                "take the representation that was made from this log, or leave the episode out",
                start + row,
            )
        return indices


_MAY_DIFFER = ("next_observation", "point")


def open_stream(
    source: str | Path | Sequence[str | Path],
    action_set: ActionSet,
    observation_size: int,
    columns: ColumnMapping,
    rows_a_part: int,
) -> AbstractStream:
    """A store, or parquet files.

    Raises:
        ValueError: it cannot be read, or has other actions or observations.
    """
    if isinstance(source, str | Path) and is_store(source):
        return StoreStream(Path(source), rows_a_part)
    return ParquetStream(source, action_set, observation_size, columns, rows_a_part)


def _encode(
    column: pa.ChunkedArray, action_set: ActionSet
) -> tuple[Int64[np.ndarray, " R"], Bool[np.ndarray, " R"]]:
    """Dense indices, and which ids are known; each distinct id is looked up once."""
    if not pa.types.is_integer(column.type):
        return to_ids(column).encode(action_set)
    coded = column.combine_chunks().dictionary_encode()
    indices, known = action_set.find(coded.dictionary.to_numpy())
    codes = coded.indices.to_numpy()
    return indices[codes], known[codes]


def _parts(file: Path, metadata: pq.FileMetaData, most: int) -> Iterator[Part]:
    """Row groups of one file together, as many as are not too many rows."""
    groups, start, rows = [], 0, 0
    for group in range(metadata.num_row_groups):
        more = metadata.row_group(group).num_rows
        if rows and rows + more > most:
            yield Part(file, start, rows, tuple(groups))
            groups, start, rows = [], start + rows, 0
        groups.append(group)
        rows += more
    if rows:
        yield Part(file, start, rows, tuple(groups))


def _batches(part: Part, columns: list[str] | None) -> Iterator[pa.Table]:
    with (
        _reading(part.file),
        pq.ParquetFile(part.file, pre_buffer=False, buffer_size=_BUFFER) as opened,
    ):
        batches = opened.iter_batches(ROWS_AT_ONCE, row_groups=list(part.groups), columns=columns)
        for batch in batches:
            yield pa.Table.from_batches([batch])


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read as a parquet file: {error}") from error


def _ends(file: Path) -> dict[str, Any]:
    """Size of a parquet file, and SHA-256 of its footer."""
    with file.open("rb") as stream:
        size = stream.seek(-8, 2) + 8
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(-8 - length, 2)
        return {"bytes": size, "footer": hashlib.sha256(stream.read(length)).hexdigest()}
