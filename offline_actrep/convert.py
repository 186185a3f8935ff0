"""Any log, of any size -> a checked store, or canonical parquet; what is broken goes beside it.

sources -> rows by the mapping -> partitions of whole keys -> episodes -> rules -> kept or refused.

Beside the result, under its name with `.work`, lie what the job is (`job.json`), how the log falls
into partitions, the buckets of a log that is in no order, and what was refused so far; and under
its name with `.draft` what was kept. The same command again takes up both. They go when all is
done. What others keep in folders of these names stops the job, and stays.
"""

import errno
import hashlib
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from offline_actrep.convert_report import Source, columns_of, report_of, write_reports
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.progress import OnStep
from offline_actrep.files.alone import hold
from offline_actrep.files.artifact import digest, read_json, sha256, write_json
from offline_actrep.files.faults import Labels, refusal
from offline_actrep.files.mapping import FIELDS, LogMapping, read_mapping
from offline_actrep.files.outputs import OUTPUTS
from offline_actrep.files.parquet import read_action_table
from offline_actrep.files.partitions import (
    BATCH_ROWS,
    SOURCE_FILE,
    Layout,
    Reader,
    about_rows,
    bucket,
    spill,
    stretches,
    survey,
)
from offline_actrep.files.parts import PARTS_DRAFT, check_ours
from offline_actrep.files.place import JOURNAL, STORE_DRAFT, told
from offline_actrep.files.rules import RULES
from offline_actrep.files.sift import Note, Sieve, Sifted
from offline_actrep.files.sources import (
    SOURCE_ROW,
    SourceFile,
    check_there,
    find_sources,
    reading,
)
from offline_actrep.files.table import NAMES_KEY
from offline_actrep.files.types import Schema

Quarantine = Literal["keep", "fail"]
Format = Literal["store", "parquet"]

PARTITION_BYTES = 32 << 20
"""Mapped rows that a partition should take in memory."""
LEAST_ROWS, MOST_ROWS = 1 << 10, 1 << 19
"""Of a partition."""
BATCH_BYTES = 16 << 20
"""Mapped rows that are read at once."""
FIRST_ROWS = 256
"""Rows that are looked at to learn how large a row is."""
AHEAD = 2
"""Partitions that are sifted while another one is appended."""
QUARANTINE = "quarantine.parquet"
JOB, NOTES, BUCKETS, REFUSED = "job.json", "notes.json", "buckets", "refused"
"""What lies in the work folder."""
_JSON = (JOB, NOTES, "layout.json")
_WORK = {*_JSON, *(f"{name}.tmp" for name in _JSON), "bounds.parquet", BUCKETS, REFUSED, "figures"}
"""All that lies there, but for the lock."""
_DRAFT = STORE_DRAFT | PARTS_DRAFT
"""All that lies in a draft, of either format."""


@dataclass(frozen=True)
class Conversion:
    """What became of a log.

    Attributes:
        folder: the store; of parquet, the folder whose folder `rows` holds the log.
        rows: that were kept.
        episodes: that they make.
        refused_rows: that went to quarantine.
        refused_episodes: that they make.
        rules: rows that break each rule, for those that were broken; warnings and notes too.
        seconds: that this run took.
        rows_read: that this run read; fewer than all where it took up another's work.
    """

    folder: Path
    rows: int
    episodes: int
    refused_rows: int
    refused_episodes: int
    rules: Mapping[str, int]
    seconds: float
    rows_read: int

    @property
    def rows_a_second(self) -> float:
        """Of this run."""
        return self.rows_read / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self),
            "folder": str(self.folder),
            "rules": dict(self.rules),
            "rows_a_second": self.rows_a_second,
        }


@dataclass(frozen=True)
class Outlook:
    """What a conversion would do, without doing it.

    Attributes:
        files: of the log.
        size: of all of them, in bytes.
        rows: of all of them.
        in_order: whether whole episodes follow one another; else rows go to buckets on the disk.
        partitions: that are worked on one after another.
    """

    files: int
    size: int
    rows: int
    in_order: bool
    partitions: int

    def __str__(self) -> str:
        order = (
            "in order: rows are read once more and appended"
            if self.in_order
            else "in no order: rows are gathered on the disk first, in as many bytes again"
        )
        return (
            f"{self.files:,} files, {self.size:,} bytes, {self.rows:,} rows\n{order}\n"
            f"{self.partitions:,} partitions"
        )


def convert(
    sources: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    mapping: LogMapping | str | Path | None = None,
    action_table: str | Path | None = None,
    quarantine: Quarantine = "keep",
    format: Format = "store",
    resume: bool = True,
    on_step: OnStep | None = None,
) -> Conversion:
    """A log as a store, or as canonical parquet; checked, reported, and resumable.

    Args:
        sources: files, globs, folders, URLs; see `files/sources.py`.
        out: the folder to be. Beside the log it gets `report.json`, `report.html` and, where
            something was refused, `quarantine.parquet`.
        mapping: what the columns mean, or a TOML file that says it; None for canonical names.
        action_table: parquet file with the catalogue; otherwise it is the ids that were kept.
        quarantine: "fail" raises at the first row that breaks a rule of severity `error`, also
            where an earlier run put it aside; what that run made is left as it is.
        format: "parquet" writes `rows/part-*.parquet` and `actions.parquet`.
        resume: whether to take up what a run that was cut short left behind, and to leave what is
            finished as it is. Otherwise all is made anew and a result that is there is replaced.
        on_step: is told rows done, rows in all, and the rows a second.

    Raises:
        ValueError: a source that cannot be read, vanishes, changes or differs from the others in
            its columns; no episode that can be kept; something else in the place of `out`, or of
            the folders beside it; a full disk. Says what, where, what was expected, how to mend
            it.
    """
    started = time.monotonic()
    target = Path(os.path.realpath(out))
    job = _Job.of(sources, target, mapping, action_table, format)
    clock = _Clock(started, on_step)
    with _working(target) as work:
        return job.run(work, fail=quarantine == "fail", resume=resume, clock=clock)


def explain(
    sources: str | Path | Sequence[str | Path],
    *,
    mapping: LogMapping | str | Path | None = None,
) -> str:
    """What a mapping takes a log for, shown on its first rows.

    Raises:
        ValueError: as `convert` does for its sources and its mapping.
    """
    return _mapping(mapping).explain(sources)


def dry_run(
    sources: str | Path | Sequence[str | Path],
    *,
    mapping: LogMapping | str | Path | None = None,
    on_step: OnStep | None = None,
) -> Outlook:
    """Looks through all keys of a log and says what `convert` would do; writes nothing.

    Raises:
        ValueError: as `convert` does for its sources and its mapping.
    """
    found, understood = find_sources(sources), _mapping(mapping)
    reader = _reader(found, understood.agreed_schema(found), understood)
    clock = _Clock(time.monotonic(), on_step)
    layout = survey(reader, _partition_rows(reader), clock.survey)
    size = sum(one.size for one in found)
    return Outlook(len(found), size, layout.rows, not layout.by_buckets, layout.partitions)


def _mapping(given: LogMapping | str | Path | None) -> LogMapping:
    if given is None:
        return LogMapping()
    return given if isinstance(given, LogMapping) else read_mapping(given)


@dataclass(frozen=True, eq=False)
class _Clock:
    """Tells the caller where the work stands."""

    started: float
    on_step: OnStep | None

    def survey(self, rows: int, _: int) -> None:
        """Rows whose keys were read; nobody knows yet how many there are."""
        if self.on_step is not None:
            self.on_step(0, 1, {"rows seen": float(rows)})

    def rows(self, done: int, of: int, before: int = 0) -> None:
        """Rows done, of which others had done some before."""
        if self.on_step is not None:
            seconds = max(1e-9, time.monotonic() - self.started)
            self.on_step(done, of, {"rows/s": (done - before) / seconds})


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be done, before anything is done.

    Attributes:
        settings: all that decides what the result holds, but for the sources.
        key: of the settings and of the files as they lie there; while it is the same, nobody asks
            what is in the files.
    """

    sources: list[SourceFile]
    schema: Schema
    mapping: LogMapping
    action_set: ActionSet | None
    target: Path
    format: Format
    settings: dict[str, Any]
    key: str

    @staticmethod
    def of(
        sources: str | Path | Sequence[str | Path],
        target: Path,
        mapping: LogMapping | str | Path | None,
        action_table: str | Path | None,
        format: Format,
    ) -> "_Job":
        if format not in OUTPUTS:
            raise ValueError(f"expected a format of {', '.join(OUTPUTS)}, got {format!r}")
        found, understood = find_sources(sources), _mapping(mapping)
        action_set = None if action_table is None else read_action_table(action_table)
        settings = {
            "mapping": understood.model_dump(mode="json", by_alias=True),
            "action_table": None if action_table is None else sha256(Path(action_table)),
            "format": format,
            "partition_bytes": PARTITION_BYTES,
        }
        files = [(one.url, one.size, one.modified) for one in found]
        schema = understood.agreed_schema(found)
        key = digest(files, settings)
        return _Job(found, schema, understood, action_set, target, format, settings, key)

    @cached_property
    def reader(self) -> Reader:
        """Of all sources."""
        return _reader(self.sources, self.schema, self.mapping)

    def run(self, work: Path, *, fail: bool, resume: bool, clock: _Clock) -> Conversion:
        """Does what is not done yet."""
        check_ours(self._draft, _DRAFT)
        about = self._about(work, resume)
        found = OUTPUTS[self.format].about(self.target) if resume else None
        if found is not None and found != about:
            raise ValueError(
                f"{self.target}: expected no folder or an empty one, got a log that was made from "
                "something else or in another way. To mend it: name another folder, remove this "
                "one, or ask for it to be made anew (--no-resume)."
            )
        if found is None:
            try:
                read = self._sift_all(work, about, fail, clock)
            except ValueError as error:
                if not isinstance(error.__cause__, OSError):
                    self._forget(work)
                raise
        elif (work / NOTES).is_file() or not (self.target / "report.json").is_file():
            read = 0
        else:
            _clear(work)
            return self._conversion(read_json(self.target / "report.json"), 0, fail, clock)
        if not (work / NOTES).is_file():
            raise ValueError(
                f"{self.target}: expected report.json beside the log, got none. To mend it: "
                "convert anew (--no-resume)."
            )
        return self._conversion(self._report(work, about), read, fail, clock)

    @property
    def _draft(self) -> Path:
        return self.target.with_name(self.target.name + ".draft")

    def _forget(self, work: Path) -> None:
        """Leaves nothing of a log that is refused, unless parts of it are finished."""
        journal = self._draft / JOURNAL
        if not journal.is_file() or journal.read_bytes().count(b"\n") <= 1:
            _clear(work)
            with suppress(ValueError, OSError):  # the log is refused for a reason of its own
                self._drop()

    def _drop(self) -> None:
        """Removes the draft; a log that it was about to replace goes back to its place.

        Raises:
            ValueError: another process is writing it, or there is something else in it.
        """
        if not self._draft.is_dir():
            return
        check_ours(self._draft, _DRAFT)
        handle = hold(self._draft)
        try:
            old = self._draft / "old"
            if old.exists() and not self.target.exists():
                os.replace(old, self.target)
            shutil.rmtree(self._draft)
        finally:
            os.close(handle)

    def _about(self, work: Path, resume: bool) -> dict[str, Any]:
        """What goes into the result's manifest; the sources are hashed when they look new.

        What other work left goes, the draft with the work folder: neither is of use alone.
        """
        job = _content(work / JOB) if resume else {}
        if job.get("key") == self.key:
            return job["about"]
        hashed = [
            {"url": one.url, "bytes": one.size, "sha256": _sha256(one)} for one in self.sources
        ]
        about = {"sources": hashed, **self.settings}
        if job.get("about") != about:
            _clear(work)
            self._drop()
        write_json(work / JOB, {"key": self.key, "about": about})
        return about

    def _sift_all(self, work: Path, about: dict[str, Any], fail: bool, clock: _Clock) -> int:
        """Everything up to the log in its place. Returns the rows that this run read."""
        layout = Layout.load(work)
        if layout is None:
            layout = survey(self.reader, _partition_rows(self.reader), clock.survey)
            layout.save(work)
        sieve = self._sieve(layout)
        output = OUTPUTS[self.format](self.target, about, self.action_set, sieve.observation_names)
        notes = [Note.from_json(one) for note in output.notes for one in note["partitions"]]
        if fail and (broken := [note for note in notes if note.broken_rows]):
            raise sieve.refusal(broken[0])
        steps = layout.rows
        if layout.by_buckets:
            steps *= 2
            spill(self.reader, layout, work / BUCKETS, lambda n, _: clock.rows(n, steps))
        (work / REFUSED).mkdir(exist_ok=True)
        waiting: list[Note] = []
        before = at = sum(note.rows for note in notes)
        for number, sifted in self._sifted(work, layout, sieve, len(notes)):
            if sifted.broken is not None and fail:
                raise sieve.refusal(sifted.note)
            if sifted.broken is not None:
                _write_whole(sifted.broken, work / REFUSED / f"{number:06d}.parquet")
            waiting.append(sifted.note)
            if sifted.piece is not None:
                output.append(sifted.piece, {"partitions": [one.to_json() for one in waiting]})
                notes, waiting = notes + waiting, []
            at += sifted.note.rows
            clock.rows(steps - layout.rows + at, steps, before)
        for source in self.sources:
            check_there(source)
        note = reduce(Note.joined, notes + waiting)
        if not notes:
            raise _nothing_kept(note, sieve)
        self._remember(work, note, layout, sieve)
        output.finish({"refused_rows": note.broken_rows, "refused_episodes": note.broken_episodes})
        return at - before

    def _sifted(
        self, work: Path, layout: Layout, sieve: Sieve, first: int
    ) -> Iterator[tuple[int, Sifted]]:
        """Partitions from `first` on, sifted, in order, some ahead of who takes them."""

        def sift(rows: pl.DataFrame) -> Sifted:
            return sieve.sift(self.mapping.episodes(rows))

        def sift_bucket(number: int) -> Sifted:
            rows = bucket(work / BUCKETS, number)
            return Sifted(None, None, Note.nothing()) if rows is None else sift(rows)

        tasks: Iterator[Callable[[], Sifted]]
        if layout.by_buckets:
            tasks = (partial(sift_bucket, n) for n in range(first, layout.partitions))
        else:
            parts = stretches(self.reader, layout.counts, layout.cuts.tolist(), first)
            tasks = (partial(sift, rows) for rows in parts)
        return enumerate(_ahead(tasks), start=first)

    def _sieve(self, layout: Layout) -> Sieve:
        raw = pl.LazyFrame(schema={**self.schema, SOURCE_ROW: pl.Int64, SOURCE_FILE: pl.Int32})
        mapped = self.mapping.episodes(self.mapping.rows(raw).collect())
        _check_kinds(mapped.schema, self.action_set)
        kind = mapped.schema["observation"]
        size = kind.size if isinstance(kind, pl.Array) else _usual_length(self.reader)
        names = self.mapping.observation_names(self.schema) or _names_in(self.sources)
        if len(names) != size:
            names = ()
        return Sieve(
            labels=_labels(self.mapping, names, mapped.columns),
            observation_names=names,
            observation_size=size,
            action_set=self.action_set,
            urls=tuple(one.url for one in self.sources),
            starts=layout.starts,
        )

    def _remember(self, work: Path, note: Note, layout: Layout, sieve: Sieve) -> None:
        """What the report needs, for when the draft is gone."""
        order = {"in_order": layout.in_order, "partitions": layout.partitions}
        names = list(sieve.observation_names)
        write_json(work / NOTES, {"note": note.to_json(), "order": order, "names": names})

    def _report(self, work: Path, about: dict[str, Any]) -> dict[str, Any]:
        """Writes what is told of the result into it; then the work is done."""
        found, output = read_json(work / NOTES), OUTPUTS[self.format]
        note = Note.from_json(found["note"])
        action_set, counts = output.actions(self.target)
        report = report_of(
            note,
            sources=[Source(**one) for one in about["sources"]],
            settings=self.settings,
            order=found["order"],
            columns=columns_of(output.statistics(self.target), found["names"]),
            action_set=action_set,
            action_counts=counts,
        )
        parts = sorted((work / REFUSED).glob("*.parquet"))
        (self.target / QUARANTINE).unlink(missing_ok=True)
        if parts:
            _join(parts, self.target / QUARANTINE)
        write_reports(self.target, report, note, counts, work)
        _clear(work)
        return report

    def _conversion(
        self, report: Mapping[str, Any], read: int, fail: bool, clock: _Clock
    ) -> Conversion:
        kept, refused = report["kept"], report["refused"]
        if fail and refused["rows"]:
            raise _put_aside(report, self.target)
        broken = {name: one["rows"] for name, one in report["rules"].items() if one["rows"]}
        return Conversion(
            folder=self.target,
            rows=kept["rows"],
            episodes=kept["episodes"],
            refused_rows=refused["rows"],
            refused_episodes=refused["episodes"],
            rules=broken,
            seconds=time.monotonic() - clock.started,
            rows_read=read,
        )


def _ahead(tasks: Iterator[Callable[[], Sifted]]) -> Iterator[Sifted]:
    """What the tasks give, in order: while one is taken, some are at work and one is read."""
    waiting: deque[Future[Sifted]] = deque()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(AHEAD) as pool:
        following = reader.submit(next, tasks, None)
        while (task := following.result()) is not None:
            following = reader.submit(next, tasks, None)
            waiting.append(pool.submit(task))
            del task  # holds the rows
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


# --- what is known of a log before its rows are read


def _reader(sources: Sequence[SourceFile], schema: Schema, mapping: LogMapping) -> Reader:
    """Reads so many rows at once that they take some megabytes."""
    reader = Reader(sources, schema, mapping, FIRST_ROWS)
    return replace(reader, batch_rows=min(BATCH_ROWS, max(1, BATCH_BYTES // _row_bytes(reader))))


def _row_bytes(reader: Reader) -> int:
    """Bytes of a mapped row, from the first that there are."""
    for number in range(len(reader.sources)):
        for frame in reader.batches(number):
            if len(frame):
                return about_rows(frame)
    return 1


def _partition_rows(reader: Reader) -> int:
    rows = PARTITION_BYTES // _row_bytes(replace(reader, batch_rows=FIRST_ROWS))
    return min(MOST_ROWS, max(LEAST_ROWS, rows))


def _check_kinds(schema: Schema, action_set: ActionSet | None) -> None:
    """Refuses ids of actions that are numbers here and text there."""
    others = {}
    if "allowed_actions" in schema:
        others["the allowed actions"] = schema["allowed_actions"].inner == pl.String
    if action_set is not None:
        others["the action table"] = action_set.ids.dtype.kind == "U"
    is_text = schema["action"] == pl.String
    for name, other in others.items():
        if other != is_text:
            words = {True: "text", False: "whole numbers"}
            raise ValueError(
                f"action: expected {words[other]}, as ids are in {name}, got {words[is_text]}. "
                'To mend it: declare the column in [types] of the mapping, as "string" or '
                '"int64", or write the ids alike.'
            )


def _usual_length(reader: Reader) -> int:
    """The commonest length of the observations in the first rows."""
    for number in range(len(reader.sources)):
        for frame in reader.batches(number, wanted=["observation"]):
            lengths = frame["observation"].list.len().drop_nulls().to_numpy()
            if len(lengths):
                return max(1, int(np.bincount(lengths).argmax()))
    return 1


def _names_in(sources: Sequence[SourceFile]) -> tuple[str, ...]:
    """The observations' names that `write_log` left in parquet files, where all say the same."""
    found = set()
    for source in sources:
        if source.format != "parquet":
            return ()
        check_there(source)
        with reading([source]), source.open() as stream:
            metadata = pq.read_schema(stream).metadata or {}
        found.add(metadata.get(NAMES_KEY, b"[]"))
    try:
        names = json.loads(found.pop()) if len(found) == 1 else []
    except ValueError:
        return ()
    fits = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if fits else ()


def _labels(mapping: LogMapping, names: Sequence[str], columns: Sequence[str]) -> Labels:
    """What the user calls the canonical columns that there are."""
    labels: dict[str, str | list[str]] = {}
    for field in FIELDS:
        if field in columns:
            labels[field] = getattr(mapping.columns, field) or field
    if mapping.observation:
        labels["observation"] = list(names)
    return labels


def _sha256(source: SourceFile) -> str:
    check_there(source)
    found = hashlib.sha256()
    with reading([source]), source.open() as stream:
        while part := stream.read(1 << 22):
            found.update(part)
    return found.hexdigest()


def _nothing_kept(note: Note, sieve: Sieve) -> ValueError:
    """The error for a log of which every episode was refused."""
    errors = {n: c for n, c in note.rules.items() if RULES[n].severity == "error"}
    name = max(errors, key=lambda rule: errors[rule].rows)
    place = errors[name].first
    several = ", ".join(f"{n} ({c.rows:,} rows)" for n, c in errors.items())
    return refusal(
        Path(sieve.urls[place.file]),
        place.column,
        f"{place.expected}, and at least one episode without a fault",
        f"{place.found}, and of {note.rows:,} rows none that could be kept: {several}",
        place.mend,
        place.row,
    )


def _put_aside(report: Mapping[str, Any], target: Path) -> ValueError:
    """The error for a log that is finished, and of which something was refused."""
    place = {source["url"]: number for number, source in enumerate(report["sources"])}
    rules = [one for one in report["rules"].values() if one["severity"] == "error" and one["rows"]]
    first = min((one["first"] for one in rules), key=lambda one: (place[one["file"]], one["row"]))
    rows = sum(one["rows"] for one in rules)
    more = f" (broken rows in all: {rows:,}; {target} was made without their episodes)"
    return refusal(
        Path(first["file"]),
        first["column"],
        first["expected"],
        first["found"] + more,
        first["mend"],
        first["row"],
    )


# --- files


@contextmanager
def _working(target: Path) -> Iterator[Path]:
    """The work folder beside the target, held against other processes; gone when it is empty.

    Raises:
        ValueError: another process has it, there is something else in it, or the disk is full.
    """
    work = target.with_name(target.name + ".work")
    with told(target):
        check_ours(work, _WORK | {"lock"})
        work.mkdir(parents=True, exist_ok=True)
        handle = hold(work)
        try:
            with _removed_if_empty(work):
                yield work
        except pl.exceptions.PolarsError as error:
            if "No space left" not in str(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work)) from error
        finally:
            os.close(handle)


@contextmanager
def _removed_if_empty(work: Path) -> Iterator[None]:
    """Removes the work folder at the end where nothing is left in it."""
    try:
        yield
    finally:
        if not (work / JOB).exists():
            _clear(work)
            if {one.name for one in work.iterdir()} <= {"lock"}:
                shutil.rmtree(work)


def _clear(work: Path) -> None:
    """Removes what the work left, the job itself first."""
    for name in (JOB, *sorted(_WORK - {JOB})):
        part = work / name
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def _content(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _write_whole(frame: pl.DataFrame, path: Path) -> None:
    draft = path.with_name(path.name + ".tmp")
    frame.write_parquet(draft, compression="zstd")
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)


def _join(parts: Sequence[Path], path: Path) -> None:
    """Files of one schema below one another, a file at a time in memory."""
    schema = pq.read_schema(parts[0])
    draft = path.with_name(path.name + ".tmp")
    with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(schema))
    os.replace(draft, path)
