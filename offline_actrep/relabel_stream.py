"""A log of any size with a point beside each action id: `relabel_files(source, ..., out)`.

Part by part at constant memory. A kill costs the part that was being written; the same command
again goes on behind the last finished one, and the bytes are those of a run that was not cut.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from offline_actrep.core.progress import OnStep
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.files.artifact import DONE, is_whole, read_json, sha256
from offline_actrep.files.forms import is_list
from offline_actrep.files.growing import Grown
from offline_actrep.files.parquet import CANONICAL, ColumnMapping
from offline_actrep.files.parts import Parts
from offline_actrep.files.place import told
from offline_actrep.files.stream import AbstractStream, Block, Part, StoreStream, open_stream
from offline_actrep.relabel import check_fits, embed_rows

ROWS_A_PART = 1 << 19
KIND = "relabelled"
POINTS = "points.npy"


@final
@dataclass(frozen=True)
class RelabelledFiles:
    """A folder that `relabel_files` wrote.

    Attributes:
        folder: `part-*.parquet`, or `points.npy`; and `artifact.json`.
        rows: N.
        dim: E.
        kept: parts that an earlier run had finished.
        parts: all parts.
    """

    folder: Path
    rows: int
    dim: int
    kept: int
    parts: int


def relabel_files(
    source: str | Path | Sequence[str | Path],
    representation: AbstractRepresentation,
    out: str | Path,
    *,
    columns: ColumnMapping = CANONICAL,
    sidecar: bool = False,
    resume: bool = True,
    rows_a_part: int = ROWS_A_PART,
    on_step: OnStep | None = None,
) -> RelabelledFiles:
    """Writes the point of every logged action in its state.

    Args:
        source: a store; or parquet files in the canonical schema: a file, a folder, a glob, or
            several of them. Of parquet the rows are taken as they are: nothing but observation
            and action is looked at.
        representation: gives the points.
        out: a folder, which appears when all is written. It gets the columns that the source has
            and `point`, as `part-00000.parquet` and so on; a `point` that is there already is
            replaced.
        columns: what parquet files call the observation and the action.
        sidecar: write the points alone, in the order of the rows, as one array `points.npy`
            `[N, E]` of float32 (`open_points`).
        resume: go on where an earlier run of the same work ended, and do nothing where it did
            not end early. Otherwise begin anew, and replace what an earlier run wrote.
        rows_a_part: rows that a kill may cost; also the most rows of a file, where a row group of
            the source is not larger.
        on_step: is told rows done and rows in all.

    Raises:
        ValueError: the source cannot be read or does not fit the representation, the folder holds
            something else, another process is writing it, or the disk is full.
    """
    stream = open_stream(
        source, representation.action_set, representation.observation_size, columns, rows_a_part
    )
    if isinstance(stream, StoreStream):
        check_fits(representation, stream.log)
    about = {
        "source": stream.about,
        "representation": _fingerprint(representation),
        "form": "points" if sidecar else "parquet",
        "rows": stream.rows,
        "dim": representation.dim,
        "rows_a_part": rows_a_part,
    }
    target = Path(os.path.abspath(out))
    with told(target):
        parts = Parts(target, KIND, about, sources=stream.changed, resume=resume)
        kept = len(stream.parts)
        if not parts.whole:
            write = _write_points if sidecar else _write_parquet
            kept = write(stream, representation, parts, on_step)
    return RelabelledFiles(target, stream.rows, representation.dim, kept, len(stream.parts))


def open_points(folder: str | Path) -> Float32[np.ndarray, "N E"]:
    """The points of a sidecar, memory-mapped; row n belongs to row n of the source.

    Raises:
        ValueError: the folder holds no finished sidecar, or its file is not as it was written.
    """
    place = Path(folder)
    about = read_json(place / DONE).get("about", {}) if is_whole(place) else {}
    if about.get("form") != "points":
        raise ValueError(f"{place} holds no finished sidecar of points")
    points = np.load(place / POINTS, mmap_mode="r", allow_pickle=False)
    expected = (about["rows"], about["dim"])
    if points.shape != expected or points.dtype != np.float32:
        raise ValueError(
            f"{place / POINTS}: expected float32 of shape {expected}, got {points.dtype} of "
            f"shape {points.shape}. To mend it: remove the folder and write it anew."
        )
    return points


def _write_parquet(
    stream: AbstractStream,
    representation: AbstractRepresentation,
    parts: Parts,
    on_step: OnStep | None,
) -> int:
    """The parts as parquet files; how many were there."""
    kept = 0
    for note in parts.done:
        file = parts.folder / note["file"]
        if not file.is_file() or sha256(file) != note["sha256"]:
            parts.drop(kept)
            break
        kept += 1
    digits = max(5, len(str(len(stream.parts) - 1)))
    rows = sum(part.rows for part in stream.parts[:kept])
    for number, part in enumerate(stream.parts[kept:], kept):
        name = f"part-{number:0{digits}}.parquet"
        unfinished = parts.folder / f".{name}.unfinished"
        tables = _tables(stream, part, representation, rows, on_step)
        first = next(tables)
        with pq.ParquetWriter(unfinished, first.schema, **_form(first.schema)) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        _sync(unfinished)
        os.replace(unfinished, parts.folder / name)
        rows += part.rows
        parts.add({"file": name, "rows": part.rows, "sha256": sha256(parts.folder / name)})
    parts.finish({note["file"]: {k: note[k] for k in ("rows", "sha256")} for note in parts.done})
    return kept


def _tables(
    stream: AbstractStream,
    part: Part,
    representation: AbstractRepresentation,
    rows: int,
    on_step: OnStep | None,
) -> Iterator[pa.Table]:
    """The blocks of a part with their points, `rows` rows having been written before."""
    for block in stream.blocks(part, tables=True):
        points = _points(representation, block)
        table = block.table
        assert table is not None
        if "point" in table.column_names:
            table = table.drop_columns("point")
        column = pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), points.shape[1])
        yield table.append_column("point", column)
        rows += len(points)
        if on_step is not None:
            on_step(rows, stream.rows, {})


def _write_points(
    stream: AbstractStream,
    representation: AbstractRepresentation,
    parts: Parts,
    on_step: OnStep | None,
) -> int:
    """The points as one array that grows by the parts; how many parts were there."""
    file = parts.folder / POINTS
    kept = len(parts.done)
    last = parts.done[-1] if kept else None
    grown = Grown.take_up(file, last["bytes"], last["sha256"]) if last else None
    if grown is None:
        parts.drop(0)
        kept = 0
        shape = (stream.rows, representation.dim)
        grown = Grown.nothing().grow(file, np.frombuffer(_header(shape), np.uint8))
    rows = sum(part.rows for part in stream.parts[:kept])
    for part in stream.parts[kept:]:
        points, filled = np.empty((part.rows, representation.dim), np.float32), 0
        for block in stream.blocks(part, tables=False):
            points[filled : filled + len(block.actions)] = _points(representation, block)
            filled += len(block.actions)
            if on_step is not None:
                on_step(rows + filled, stream.rows, {})
        grown = grown.grow(file, points)
        rows += part.rows
        parts.add({"rows": part.rows, "bytes": grown.size, "sha256": grown.sha256})
    parts.finish({POINTS: {"rows": stream.rows, "sha256": grown.sha256}})
    return kept


def _points(representation: AbstractRepresentation, block: Block) -> Float32[np.ndarray, "R E"]:
    points = embed_rows(representation, block.observations, block.actions)
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise ValueError(
            f"expected finite points, got {points[row].tolist()} for the observation "
            f"{block.observations[row].tolist()}"
        )
    return points


def _header(shape: tuple[int, int]) -> bytes:
    """What numpy writes before the numbers of an array."""
    stream = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def _form(schema: pa.Schema) -> dict[str, Any]:
    """How columns are written: floats without dictionaries, lists of them packed lightly.

    A dictionary of floats costs three times the work and makes the file larger; zstd saves a
    tenth of their bytes and costs half as much again.
    """
    codecs: dict[str, str] = {}
    repeated: list[str] = []
    for field in schema:
        listed = is_list(field.type)
        path = f"{field.name}.list.element" if listed else field.name
        leaf = field.type.value_type if listed else field.type
        codecs[path] = "lz4" if listed and pa.types.is_floating(leaf) else "zstd"
        if not pa.types.is_floating(leaf) and not pa.types.is_boolean(leaf):
            repeated.append(path)
    return {"compression": codecs, "use_dictionary": repeated or False}


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fingerprint(representation: AbstractRepresentation) -> str:
    """SHA-256 of all that decides a representation's points."""
    digest = hashlib.sha256(json.dumps(representation.config(), sort_keys=True).encode())
    for name, tensor in sorted(representation.tensors().items()):
        values = np.ascontiguousarray(tensor.numpy())
        digest.update(f"{name}:{values.dtype}:{values.shape}".encode())
        digest.update(values.tobytes())
    ids = representation.action_set.ids
    digest.update(f"ids:{ids.dtype}:{ids.shape}".encode())
    digest.update(ids.tobytes())
    return digest.hexdigest()
