"""Parquet files -> one arrow table of canonical columns, each in its one form."""

import difflib
import glob
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from offline_actrep.files.faults import Labels, Origin, label, refusal
from offline_actrep.files.forms import (
    FORMS,
    NUMBER,
    VECTOR,
    VECTORS,
    cast,
    is_number,
    join_scalars,
)

SCHEMA_VERSION = 1
VERSION_KEY = b"offline_actrep.schema_version"
NAMES_KEY = b"offline_actrep.observation_names"


def list_files(sources: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that sources stand for, each once, in the order of their paths.

    Raises:
        ValueError: a source that stands for no file.
    """
    files: set[Path] = set()
    for source in [sources] if isinstance(sources, str | Path) else sources:
        path = Path(source)
        if path.is_file():
            files.add(path)
            continue
        pattern = f"{glob.escape(str(path))}/*.parquet" if path.is_dir() else str(path)
        found = [Path(one) for one in glob.glob(pattern, recursive=True)]
        if not found:
            raise ValueError(
                "expected a parquet file, a folder of *.parquet or a glob, got "
                f"{str(source)!r}, which stands for no file (searched from {Path.cwd()})"
            )
        files.update(found)
    if not files:
        raise ValueError("expected at least one parquet file, got an empty list")
    return sorted(files)


def load(file: Path, choose: Callable[[pa.Schema], list[str]]) -> pa.Table:
    """The columns that `choose` picks from the schema of a file.

    Raises:
        ValueError: the file is not parquet, is damaged, or was written by a later version of
            the package; or as `choose` does.
    """
    try:
        with pq.ParquetFile(file) as opened:
            check_version(file, opened.schema_arrow)
            return opened.read(columns=choose(opened.schema_arrow))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read as a parquet file: {error}") from error


def read_table(
    files: list[Path], wanted: Labels, may_lack: frozenset[str]
) -> tuple[pa.Table, Labels, Origin]:
    """The files below one another, under canonical names.

    Args:
        files: read in this order.
        wanted: canonical column -> the user's.
        may_lack: canonical columns that are left out where the files lack them.

    Returns:
        The table, with the names of the observations in its metadata; the user's names of the
        columns it has; where its rows come from.

    Raises:
        ValueError: a column is missing or of a type that does not fit, files do not agree on
            their columns, or there is no row.
    """
    parts, labels = [], {}
    for file in files:
        part, present = _read_file(file, wanted, may_lack)
        parts.append(part)
        labels |= present
        _check_alike(file, part, files[0], parts[0], wanted)
    starts = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
    if starts[-1] == 0:
        raise ValueError(f"expected at least one row, got none in {', '.join(map(str, files))}")
    table = pa.concat_tables(parts, promote_options="default")
    return table, labels, Origin(tuple(files), starts)


def observation_names(table: pa.Table) -> tuple[str, ...]:
    """The names that `read_table` found."""
    return tuple(json.loads(table.schema.metadata[NAMES_KEY]))


def _read_file(
    file: Path, wanted: Labels, may_lack: frozenset[str]
) -> tuple[pa.Table, dict[str, str | list[str]]]:
    present: dict[str, str | list[str]] = {}

    def choose(schema: pa.Schema) -> list[str]:
        present.update(_present(file, schema, wanted, may_lack))
        return list(dict.fromkeys(name for names in present.values() for name in _listed(names)))

    table = load(file, choose)
    columns = {field: _canonical(file, table, field, names) for field, names in present.items()}
    _check_kinds(file, columns, present)
    names = _names_of(file, table.schema, present["observation"])
    return pa.table(columns).replace_schema_metadata({NAMES_KEY: json.dumps(names)}), present


def _present(
    file: Path, schema: pa.Schema, wanted: Labels, may_lack: frozenset[str]
) -> Mapping[str, str | list[str]]:
    """The wanted columns that the file has."""
    present = {}
    for field, names in wanted.items():
        missing = [name for name in _listed(names) if name not in schema.names]
        if not missing:
            present[field] = names
        elif field not in may_lack:
            near = difflib.get_close_matches(missing[0], schema.names, n=1, cutoff=0.6)
            hint = f" (is it {near[0]!r}?)" if near else ""
            raise refusal(
                file,
                missing[0],
                f"a column of that name for {field}",
                f"the columns {', '.join(schema.names)}{hint}",
                f"name the column that holds it in the column mapping: {field} = "
                f'"{near[0] if near else "..."}"',
            )
    return present


def _canonical(file: Path, table: pa.Table, field: str, names: str | list[str]) -> pa.ChunkedArray:
    """A field's column in its form; scalar columns of observations side by side as lists."""
    vector = FORMS[field] is VECTORS
    types = [table[name].type for name in _listed(names)]
    if field == "next_observation" and all(pa.types.is_null(one) for one in types):
        return pa.chunked_array([pa.nulls(len(table), VECTOR)])
    if vector and (not isinstance(names, str) or is_number(types[0])):
        return join_scalars([cast(file, name, table[name], NUMBER) for name in _listed(names)])
    return cast(file, label(names), table[label(names)], FORMS[field])


def _check_kinds(file: Path, columns: dict[str, pa.ChunkedArray], present: Labels) -> None:
    if "allowed_actions" in columns:
        kind, element = columns["action"].type, columns["allowed_actions"].type.value_type
        if kind != element:
            raise refusal(
                file,
                label(present["allowed_actions"]),
                f"lists of {kind}, as {label(present['action'])!r} is",
                f"lists of {element}",
                "cast one to the type of the other",
            )


def _check_alike(
    file: Path, part: pa.Table, first: Path, example: pa.Table, wanted: Labels
) -> None:
    """Refuses files of other columns or types; a next observation alone may come and go."""
    here, there = set(part.column_names), set(example.column_names)
    for field in sorted((here ^ there) - {"next_observation"}):
        lacking, having = (file, first) if field in there else (first, file)
        raise refusal(
            lacking,
            label(wanted[field]),
            f"the column, as {having} has it",
            "none",
            "write it to all files or to none",
        )
    for field in sorted(here & there):
        if part[field].type != example[field].type:
            raise refusal(
                file,
                label(wanted[field]),
                f"{example[field].type}, as {first} has",
                str(part[field].type),
                "cast one to the type of the other",
            )
    if observation_names(part) != observation_names(example):
        raise refusal(
            file,
            label(wanted["observation"]),
            f"the observation names {observation_names(example)}, as {first} has",
            str(observation_names(part)),
            "read the two logs apart, or write them anew with the same columns",
        )


def check_version(file: Path, schema: pa.Schema) -> None:
    version = (schema.metadata or {}).get(VERSION_KEY, b"1").decode()
    if not version.isdecimal() or not 1 <= int(version) <= SCHEMA_VERSION:
        raise ValueError(
            f"{file}: expected schema version {SCHEMA_VERSION} or earlier, got {version!r}. "
            "To mend it: install a later offline_actrep, or write the file anew with this one."
        )


def _names_of(file: Path, schema: pa.Schema, observation: str | list[str]) -> list[str]:
    """The observations' names: the scalar columns', else those in the file's metadata."""
    if not isinstance(observation, str):
        return observation
    if is_number(schema.field(observation).type):
        return [observation]
    written = (schema.metadata or {}).get(NAMES_KEY, b"[]")
    try:
        names = json.loads(written)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{file}, metadata {NAMES_KEY.decode()}: expected a JSON list of strings, "
            f"got {written!r}. To mend it: write the file anew, or without this key."
        )
    return names


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names
