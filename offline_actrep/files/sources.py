"""Where a log lies: files, globs, folders, hive partitions, URLs -> lazy frames of raw columns.

Four formats: parquet, Arrow IPC (file and stream), csv, JSONL. Nothing is held whole, and no type
is guessed while reading: `check_same_schema` settles them beforehand, for csv and JSONL by
looking at every value.
"""

import csv
import errno
import glob
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import fsspec
import polars as pl
import pyarrow as pa
from pyarrow import fs

from offline_actrep.files.containers import scan_batches, typed_schema
from offline_actrep.files.faults import refusal
from offline_actrep.files.text import csv_schema, json_schema, scan_csv, scan_json, too_long
from offline_actrep.files.types import Kind, Schema, common_type, named, without_categories

Format = Literal["parquet", "ipc", "csv", "jsonl"]

FORMATS: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".arrows": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""The format that a file's name says."""

SOURCE_ROW = "source_row"
"""Column of every scan: the row within its file, from 0."""

SOURCE_FILE = "source_file"
"""Column that whoever scans several files adds: the number of the file."""

_TEXT: frozenset[Format] = frozenset({"csv", "jsonl"})
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_MAGIC = re.compile(r"[*?\[]")
_SETTLE = "let nothing write there while the job runs, then start it anew"
_PERMIT = "see that the file is there and that you may read it"


@dataclass(frozen=True)
class SourceFile:
    """A file of a log, as it was when it was listed.

    Attributes:
        path: as its filesystem names it.
        url: as messages name it: near to what the user wrote.
        format: what its name says that it holds.
        size: in bytes.
        modified: in seconds since 1970, or None where the filesystem does not say.
        hive: the `key=value` folders on its way, as the user wrote it and below.
    """

    path: str
    url: str
    format: Format
    size: int
    modified: float | None
    hive: tuple[tuple[str, str], ...]

    @property
    def is_local(self) -> bool:
        """Whether it lies in this machine's own tree of files."""
        return _is_local(self.url)

    def open(self) -> pa.NativeFile:
        """Its bytes, for random access.

        Raises:
            OSError: it is gone, or may not be read.
        """
        return _filesystem(self.url)[0].open_input_file(self.path)


def find_sources(sources: str | Path | Sequence[str | Path]) -> list[SourceFile]:
    """The files that sources stand for, each once, in the order of their paths.

    Args:
        sources: one or several of: a file; a folder, which stands for all files of a known format
            anywhere below it, but for those with a name that begins with "." or "_", or in such a
            folder; a glob (`**` goes deeper); any of them as a URL that pyarrow or fsspec opens.

    Raises:
        ValueError: a source that stands for no file, is of no known format, or cannot be looked
            into.
    """
    found: dict[tuple[str, str], SourceFile] = {}
    for source in [sources] if isinstance(sources, str | Path) else sources:
        text = str(source)
        try:
            listed = _list_local(text) if _is_local(text) else _list_remote(text)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{text!r} cannot be looked into: {error}") from error
        if not listed:
            raise ValueError(
                f"expected a file, a folder or a glob of {', '.join(FORMATS)}, got {text!r}, which "
                "stands for no such file"
                + (f" (searched from {Path.cwd()})" if _is_local(text) else "")
                + ". To mend it: name the folder that holds the log, or write its URL in full."
            )
        for one in listed:
            scheme = "" if one.is_local else urlsplit(one.url).scheme
            found.setdefault((scheme, one.path), one)
    if not found:
        raise ValueError("expected at least one source, got an empty list")
    return [found[key] for key in sorted(found)]


def check_there(source: SourceFile) -> None:
    """That a file still is what was listed.

    Raises:
        ValueError: it vanished, changed, cannot be read, or holds nothing.
    """
    try:
        info = _filesystem(source.url)[0].get_file_info(source.path)
        if info.type == fs.FileType.File:
            source.open().close()
    except (OSError, pa.ArrowException) as error:
        raise _broken(source, "a file that can be read", str(error), _PERMIT) from error
    listed = f"the file of {source.size} bytes that was listed"
    if info.type != fs.FileType.File:
        raise _broken(source, listed, "no file: it vanished", _SETTLE)
    if (info.size, _modified(info)) != (source.size, source.modified):
        raise _broken(source, listed, f"{info.size} bytes, written since", _SETTLE)
    if source.size == 0:
        raise _broken(source, "rows", "a file of zero bytes", "write it anew, or remove it")


def check_readable(source: SourceFile, as_text: Collection[str] = ()) -> Schema:
    """The columns of a file and, after them, of its hive folders, with their types.

    A column of csv or JSONL is of the narrowest type that holds every value of the file as it is
    written: whole numbers without leading zeros that fit 64 bits, then numbers, then true and
    false, then text. Categories count as text.

    Args:
        source: as found.
        as_text: columns of csv and JSONL that are left as text.

    Raises:
        ValueError: the file vanished or changed since it was listed, holds nothing, is truncated
            or of another format than its name says, has a column name twice, or row groups that
            no memory holds; says what is wrong and how to mend it.
    """
    check_there(source)
    with reading([source]):
        if source.format == "csv":
            schema = csv_schema(source.url, source.open, _local_path(source), as_text)
        elif source.format == "jsonl":
            schema = json_schema(source.url, source.open, as_text)
        else:
            schema = typed_schema(source.url, source.format, source.open)
    names = list(schema) + [key for key, _ in source.hive]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            found = f"{names.count(name)}" + (
                ", counting the key=value folders" if name in dict(source.hive) else ""
            )
            mend = "rename or drop all but one"
            raise refusal(Path(source.url), name, "one column of that name", found, mend)
    for name in (SOURCE_FILE, SOURCE_ROW):
        if name in names:
            mend = "rename the column: it would hide where rows come from"
            raise refusal(Path(source.url), name, "no column of that name", "one", mend)
    hive = {key: _hive_type(value) for key, value in source.hive}
    return pl.Schema({name: without_categories(kind) for name, kind in schema.items()} | hive)


def check_same_schema(
    sources: Sequence[SourceFile],
    used: Collection[str] | None = None,
    as_text: Collection[str] = (),
) -> Schema:
    """The one schema in which `scan` reads all files.

    Whole numbers of several widths become the widest, float32 beside float64 becomes float64, and
    what csv, JSONL and key=value folders hold becomes the narrowest type that holds all of it.
    Any other difference is refused. A column that is empty everywhere is text.

    Args:
        sources: as found; each goes through `check_readable`.
        used: the columns that have to agree; of others, those are left out that do not. None for
            all columns.
        as_text: as in `check_readable`.

    Raises:
        ValueError: two files differ; names both and the column. Or as `check_readable` does.
    """
    schemas = [check_readable(source, as_text) for source in sources]
    common: dict[str, Kind] = {}
    for name in dict.fromkeys(name for schema in schemas for name in schema):
        try:
            common[name] = _agreed(name, list(zip(sources, schemas, strict=True)))
        except ValueError:
            if used is None or name in used:
                raise
    return pl.Schema({n: pl.String() if kind == pl.Null else kind for n, kind in common.items()})


def scan(source: SourceFile, schema: Schema | None = None) -> pl.LazyFrame:
    """The raw columns of a file, then those of its hive folders, then `source_row` (Int64).

    Args:
        source: as found.
        schema: what `check_same_schema` agreed on; None for the file's own.

    Raises:
        ValueError: without a schema, as `check_readable` does. What goes wrong later, when the
            frame is collected, becomes a ValueError inside `with reading(sources)`.
    """
    schema = check_same_schema([source]) if schema is None else schema
    hive = dict(source.hive)
    own = pl.Schema({name: kind for name, kind in schema.items() if name not in hive})
    local = _local_path(source)
    if source.format == "csv":
        frame = scan_csv(source.url, source.open, local, own, SOURCE_ROW)
    elif source.format == "jsonl":
        frame = scan_json(source.url, source.open, own, SOURCE_ROW)
    elif source.format == "parquet" and local is not None:
        frame = pl.scan_parquet(
            local, glob=False, hive_partitioning=False, row_index_name=SOURCE_ROW
        )
    else:
        frame = scan_batches(source.format, source.open, own, SOURCE_ROW)
    folders = [
        pl.lit(None if hive[name] == _HIVE_NULL else hive[name]).cast(kind).alias(name)
        for name, kind in schema.items()
        if name in hive
    ]
    return frame.select(
        *(pl.col(name).cast(kind) for name, kind in own.items()),
        *folders,
        pl.col(SOURCE_ROW).cast(pl.Int64),
    )


@contextmanager
def reading(sources: Sequence[SourceFile]) -> Iterator[None]:
    """Whatever goes wrong while these files are read, as an error that says which and why.

    Raises:
        ValueError: a file vanished or changed, or cannot be understood. A full disk stays an
            OSError.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, RecursionError) as error:
        raise _blame(sources, error) from error
    except (pa.ArrowException, OSError, MemoryError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _blame(sources, error) from error


def _blame(sources: Sequence[SourceFile], error: BaseException) -> ValueError:
    for source in sources:
        check_there(source)
    said = str(error).strip().splitlines() or [type(error).__name__]
    if sources[0].format == "csv" and len(sources) == 1:
        said = _ragged(sources[0]) or said
    more = f" (one of {len(sources)} files)" if len(sources) > 1 else ""
    return ValueError(
        f"{sources[0].url}{more}: expected rows that can be read as "
        f"{', '.join(sorted({source.format for source in sources}))}, got: "
        f"{' '.join(said)[:400]}. To mend it: write the file anew, or leave it out."
    )


def _ragged(source: SourceFile) -> list[str]:
    try:
        found = too_long(source.url, source.open)
    except (OSError, ValueError, csv.Error):
        return []
    return [found] if found else []


def _broken(source: SourceFile, expected: str, found: str, mend: str) -> ValueError:
    return ValueError(f"{source.url}: expected {expected}, got {found}. To mend it: {mend}.")


def _agreed(name: str, files: list[tuple[SourceFile, Schema]]) -> Kind:
    """The type that holds a column of all files; those that know their types come first."""
    for source, schema in files:
        if name not in schema:
            having = next(other.url for other, columns in files if name in columns)
            mend = "write it to all files or to none"
            expected = f"the column, as {having} has it"
            raise refusal(Path(source.url), name, expected, "none", mend)
    lax = [source.format in _TEXT or name in dict(source.hive) for source, _ in files]
    order = sorted(range(len(files)), key=lambda n: lax[n])
    source, schema = files[order[0]]
    kind = schema[name]
    for n in order[1:]:
        other, columns = files[n]
        both = common_type(kind, columns[name], lax=lax[n])
        if both is None:
            raise refusal(
                Path(other.url),
                name,
                f"{named(kind)}, as {source.url} has",
                named(columns[name]),
                "cast one to the type of the other",
            )
        if both != kind:
            source, kind = other, both
    return kind


def _hive_type(value: str) -> Kind:
    if value == _HIVE_NULL:
        return pl.Null()
    whole = re.fullmatch(r"0|-?[1-9]\d{0,18}", value) and -(2**63) <= int(value) < 2**63
    return pl.Int64() if whole else pl.String()


# Looking for files.


def _is_local(text: str) -> bool:
    return "://" not in text or text.startswith("file://")


def _local_path(source: SourceFile) -> Path | None:
    return Path(source.path) if source.is_local else None


def _format(name: str) -> Format | None:
    return FORMATS.get(os.path.splitext(name)[1].lower())


def _hive(url: str) -> tuple[tuple[str, str], ...]:
    path = urlsplit(url).path if "://" in url else url
    parts = [part.partition("=") for part in path.split("/")[:-1] if "=" in part[1:]]
    return tuple((unquote(key), unquote(value)) for key, _, value in parts)


def _modified(info: fs.FileInfo) -> float | None:
    return None if info.mtime_ns is None else info.mtime_ns / 1e9


def _source(url: str, info: fs.FileInfo) -> SourceFile:
    kind = _format(info.path)
    if kind is None:
        near = "; name a file of JSON lines .jsonl" if info.path.endswith(".json") else ""
        packed = re.search(r"\.(gz|bz2|zip|zst|xz)$", info.path)
        mend = "unpack it" if packed else f"rename it after what it holds{near}"
        raise ValueError(
            f"{url}: expected a name that ends in one of {', '.join(FORMATS)}, got "
            f"{os.path.basename(info.path)!r}. To mend it: {mend}."
        )
    return SourceFile(info.path, url, kind, info.size, _modified(info), _hive(url))


def _is_plain(below: str) -> bool:
    """Whether a file is meant by the folder it lies below: known, and not hidden on its way."""
    return _format(below) is not None and not any(
        part.startswith((".", "_")) for part in below.split("/")
    )


def _list_local(text: str) -> list[SourceFile]:
    base = unquote(urlsplit(text).path) if text.startswith("file://") else text
    system = fs.LocalFileSystem()

    def one(path: str) -> SourceFile:
        url = f"file://{path}" if text.startswith("file://") else path
        return _source(url, system.get_file_info(os.path.abspath(path)))

    if os.path.isfile(base):
        return [one(base)]
    roots = [base] if os.path.isdir(base) else sorted(glob.glob(base, recursive=True))
    files = {root for root in roots if os.path.isfile(root) and (root == base or _format(root))}
    for root in (root for root in roots if os.path.isdir(root)):
        for folder, _, names in os.walk(root, onerror=_raise):
            paths = [os.path.join(folder, name) for name in names]
            files |= {path for path in paths if _is_plain(os.path.relpath(path, root))}
    return [one(path) for path in sorted(files)]


def _raise(error: OSError) -> None:
    raise error


def _list_remote(text: str) -> list[SourceFile]:
    """What lies at a URL, or below its part that holds no `*` and is matched by the rest."""
    scheme, _, place = text.partition("://")
    place, mark, query = place.partition("?")
    parts = place.split("/")
    plain = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    system, root = _filesystem(f"{scheme}://{'/'.join(parts[:plain])}{mark}{query}")

    def one(info: fs.FileInfo) -> SourceFile:
        rest = info.path.strip("/").removeprefix(root.strip("/")).strip("/")
        path = "/".join([*parts[:plain], *([rest] if rest else [])])
        return _source(f"{scheme}://{path}{mark}{query}", info)

    info = system.get_file_info(root)
    if info.type == fs.FileType.File:
        return [one(info)]
    if info.type == fs.FileType.NotFound:
        return []
    pattern = _glob("/".join(parts[plain:]).rstrip("/"))
    listed = system.get_file_info(fs.FileSelector(root, recursive=True))
    files = [info for info in listed if info.type == fs.FileType.File]
    below = [info.path.strip("/").removeprefix(root.strip("/")).strip("/") for info in files]
    return [one(f) for f, name in zip(files, below, strict=True) if _is_meant(name, pattern)]


def _is_meant(below: str, pattern: re.Pattern[str]) -> bool:
    """Whether the pattern takes the file itself, or a folder that it lies in and is meant by."""
    parts = below.split("/")
    return any(
        pattern.fullmatch("/".join(parts[:n]))
        and (_format(below) is not None if n == len(parts) else _is_plain("/".join(parts[n:])))
        for n in range(len(parts) + 1)
    )


def _glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression; `*` stays within a folder, `**` does not."""
    told = re.escape(pattern)
    told = told.replace(r"\*\*/", "(?:[^/]+/)*").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    told = re.sub(r"\\\[(!|\\\^)?(.*?)\\\]", lambda m: f"[{'^' if m[1] else ''}{m[2]}]", told)
    return re.compile(told)


@lru_cache(maxsize=4096)
def _filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of a URL, and the path in it.

    Raises:
        ValueError: nobody knows such URLs, or a package is missing that does.
    """
    if _is_local(url):
        path = unquote(urlsplit(url).path) if url.startswith("file://") else url
        return fs.LocalFileSystem(), os.path.abspath(path)
    try:
        return fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid:
        pass
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"{url}: expected a URL that pyarrow or fsspec can open, got one of which fsspec says: "
            f"{error}. To mend it: install the package it names, or copy the log to this machine."
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path
