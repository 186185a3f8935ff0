"""One partition: episodes that keep every rule become a piece, the others go to quarantine."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int64

from offline_actrep.core.actions import ActionSet
from offline_actrep.files.checks import action_faults, row_faults, value_faults
from offline_actrep.files.columns import Columns, logged_actions, to_columns
from offline_actrep.files.faults import Fault, Labels, find_faults, label, refusal
from offline_actrep.files.forms import FORMS, cast
from offline_actrep.files.manifest import LONGEST_STRING
from offline_actrep.files.partitions import SOURCE_FILE, scattered
from offline_actrep.files.rules import RULES
from offline_actrep.files.sources import SOURCE_ROW
from offline_actrep.files.store import Piece
from offline_actrep.files.table import NAMES_KEY
from offline_actrep.files.tally import Columns as Checksums
from offline_actrep.files.tally import Extreme, Histogram, Tally

_SHOWN = 80


@dataclass(frozen=True)
class Place:
    """The first row that breaks a rule, in words.

    Attributes:
        file: number of the source.
        row: within it, from 0.
    """

    file: int
    row: int
    column: str
    expected: str
    found: str
    mend: str


@dataclass(frozen=True)
class Count:
    """How often a rule was broken.

    Attributes:
        rows: that break it.
        episodes: that hold such a row.
        first: the first of the rows.
    """

    rows: int
    episodes: int
    first: Place

    def joined(self, other: "Count") -> "Count":
        """Of both parts, this one first."""
        return Count(self.rows + other.rows, self.episodes + other.episodes, self.first)

    def to_json(self) -> dict[str, Any]:
        """For the note of a piece."""
        return {"rows": self.rows, "episodes": self.episodes, "first": vars(self.first)}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Count":
        """What `to_json` wrote."""
        return Count(found["rows"], found["episodes"], Place(**found["first"]))


@dataclass(frozen=True)
class Note:
    """What is told of a partition.

    Attributes:
        rows: that went in.
        broken_rows: that went to quarantine.
        broken_episodes: that they make.
        rules: those that were broken, and those that warn or tell.
        tally: of the rows that were kept.
    """

    rows: int
    broken_rows: int
    broken_episodes: int
    rules: Mapping[str, Count]
    tally: Tally

    @staticmethod
    def nothing() -> "Note":
        """Of no rows."""
        return Note(0, 0, 0, {}, Tally({}))

    def joined(self, other: "Note") -> "Note":
        """Of both parts, this one first."""
        rules = dict(self.rules)
        for name, count in other.rules.items():
            rules[name] = rules[name].joined(count) if name in rules else count
        return Note(
            self.rows + other.rows,
            self.broken_rows + other.broken_rows,
            self.broken_episodes + other.broken_episodes,
            rules,
            self.tally.joined(other.tally),
        )

    def to_json(self) -> dict[str, Any]:
        """For the note of a piece."""
        rules = {name: count.to_json() for name, count in self.rules.items()}
        return {**vars(self), "rules": rules, "tally": self.tally.to_json()}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Note":
        """What `to_json` wrote."""
        rules = {name: Count.from_json(one) for name, one in found["rules"].items()}
        return Note(**{**found, "rules": rules, "tally": Tally.from_json(found["tally"])})


@dataclass(frozen=True, eq=False)
class Sifted:
    """A partition, divided.

    Attributes:
        piece: the episodes that keep every rule, or None where there is none.
        broken: the rows of the others: what is wrong with each and where it stood, then the
            canonical columns; or None where there is none.
        note: what is told of it.
    """

    piece: Piece | None
    broken: pl.DataFrame | None
    note: Note


@dataclass(frozen=True, eq=False)
class Sieve:
    """What every partition of a log is held against.

    Attributes:
        labels: canonical column -> the user's, for those that the log has.
        observation_names: a name a number of the observation, or none.
        observation_size: how many numbers it has.
        action_set: the catalogue, or None for whatever is logged.
        urls: of the sources, for the quarantine.
        starts: `[F + 1]` the number of every file's first row, all files one after another.
    """

    labels: Labels
    observation_names: tuple[str, ...]
    observation_size: int
    action_set: ActionSet | None
    urls: tuple[str, ...]
    starts: Int64[np.ndarray, " F_plus_1"]

    def sift(self, part: pl.DataFrame) -> Sifted:
        """Divides the episodes of a partition.

        Args:
            part: whole episodes in order, in canonical columns, with `source_file`,
                `source_row`, `cast_failed` and `cast_found`.
        """
        episode = part["episode_id"].rle_id().to_numpy().astype(np.int64)
        table = self._table(part)
        faults = [*self._cast_faults(part), *self._text_faults(table)]
        kept = _unbroken(episode, np.arange(len(part)), faults)
        columns = None
        if len(kept):
            found = value_faults(_take(table, kept), self.labels, self.observation_size)
            faults += (found := [_moved(fault, kept) for fault in found])
            kept = _unbroken(episode, kept, found)
        if len(kept):
            columns = self._columns(table, kept)
            faults += (found := [_moved(fault, kept) for fault in self._row_faults(columns)])
            if found:
                kept = _unbroken(episode, kept, found)
                columns = self._columns(table, kept) if len(kept) else None
        told = [*self._odd(columns, kept), *self._disorder(part, episode)]
        broken = np.ones(len(part), bool)
        broken[kept] = False
        note = self._note(part, episode, broken, faults + told)
        if columns is None:
            return Sifted(None, self._broken(part, broken, faults), note)
        note = replace(note, tally=_tally(columns, part, kept))
        rest = self._broken(part, broken, faults) if faults else None
        return Sifted(_piece(columns), rest, note)

    # --- rules

    def _table(self, part: pl.DataFrame) -> pa.Table:
        """The canonical columns in their forms."""
        arrow = part.select(name for name in FORMS if name in part.columns).to_arrow()
        names = json.dumps(list(self.observation_names))
        columns = {
            name: cast(Path("-"), label(self.labels[name]), arrow[name], FORMS[name])
            for name in arrow.column_names
        }
        return pa.table(columns).replace_schema_metadata({NAMES_KEY: names})

    def _columns(self, table: pa.Table, kept: Int64[np.ndarray, " K"]) -> Columns:
        return to_columns(_take(table, kept), self.labels, Path("-"))

    def _cast_faults(self, part: pl.DataFrame) -> Iterator[Fault]:
        """Values that their column cannot hold; the mapping made nulls of them."""
        rows = np.flatnonzero(part["cast_failed"].is_not_null().to_numpy())
        if not len(rows):
            return
        names = part["cast_failed"].gather(rows).list.first().to_list()
        values = part["cast_found"].gather(rows).list.first().to_list()
        for name in sorted(set(names)):
            mine = [place for place, one in enumerate(names) if one == name]
            yield Fault(
                "value_type",
                self._label(name),
                rows[mine],
                "a value that its column can hold",
                str(values[mine[0]]),
                RULES["value_type"].mend,
            )

    def _label(self, field: str) -> str:
        """What the user calls a column that the mapping names."""
        return label(self.labels[field]) if field in self.labels else field

    def _text_faults(self, table: pa.Table) -> Iterator[Fault]:
        """Text that a store cannot hold, and would change."""
        for name in table.column_names:
            kind = table[name].type
            lists = pa.types.is_large_list(kind)
            if not pa.types.is_large_string(kind.value_type if lists else kind):
                continue
            column = table[name].combine_chunks()
            text = column.flatten() if lists else column
            long = pc.greater(pc.utf8_length(text), LONGEST_STRING)  # type: ignore[attr-defined]
            ends = pc.ends_with(text, pattern="\0")  # type: ignore[attr-defined]
            bad = pc.or_(long, ends).fill_null(False)  # type: ignore[attr-defined]
            bad = bad.to_numpy(zero_copy_only=False)
            if not bad.any():
                continue
            rows = np.flatnonzero(bad)
            found = repr(text[int(rows[0])].as_py())
            if lists:
                lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
                rows = np.unique(np.repeat(np.arange(len(column)), lengths)[rows])
            yield Fault(
                "text",
                label(self.labels[name]),
                rows,
                f"at most {LONGEST_STRING} characters, the last of them not zero",
                found[:_SHOWN],
                RULES["text"].mend,
            )

    def _row_faults(self, columns: Columns) -> Iterator[Fault]:
        yield from row_faults(columns)
        if self.action_set is not None or columns.allowed is not None:
            yield from action_faults(columns, self.action_set or logged_actions(columns))

    def _odd(self, columns: Columns | None, kept: Int64[np.ndarray, " K"]) -> Iterator[Fault]:
        """What is kept, and warned of."""
        if columns is None or columns.timestamps is None or columns.timestamps.dtype.kind == "U":
            return
        times = columns.timestamps
        for fault in find_faults(
            "time_disorder",
            label(self.labels["timestamp"]),
            np.append(False, times[1:] < times[:-1]) & ~columns.firsts,
            lambda n: (f"a time not before {times[n - 1]}", str(times[n])),
            RULES["time_disorder"].mend,
        ):
            yield _moved(fault, kept)

    def _disorder(self, part: pl.DataFrame, episode: Int64[np.ndarray, " N"]) -> Iterator[Fault]:
        """What was sorted, and what was gathered."""
        firsts = np.append(True, episode[1:] != episode[:-1])
        back, apart = scattered(self._numbers(part), firsts)
        for rule, rows, found in (
            ("rows_sorted", back, "an earlier row of the input"),
            ("rows_gathered", apart, "a later row, with others between them"),
        ):
            if len(rows):
                name, expected = self._label("episode_id"), "the row below the one it follows"
                yield Fault(rule, name, rows, expected, found, RULES[rule].mend)

    def _numbers(self, part: pl.DataFrame) -> Int64[np.ndarray, " N"]:
        """Of every row in the input, all files one after another."""
        return self.starts[part[SOURCE_FILE].to_numpy()] + part[SOURCE_ROW].to_numpy()

    # --- what is told

    def _note(
        self,
        part: pl.DataFrame,
        episode: Int64[np.ndarray, " N"],
        broken: Bool[np.ndarray, " N"],
        faults: Sequence[Fault],
    ) -> Note:
        """What is told of the partition, but for what was kept."""
        by_rule: dict[str, list[Fault]] = {}
        for fault in faults:
            by_rule.setdefault(fault.rule, []).append(fault)
        rules = {}
        for name, several in by_rule.items():
            rows = np.unique(np.concatenate([fault.rows for fault in several]))
            episodes = len(np.unique(episode[rows]))
            rules[name] = Count(len(rows), episodes, self._place(part, several))
        return Note(
            rows=len(part),
            broken_rows=int(broken.sum()),
            broken_episodes=len(np.unique(episode[broken])),
            rules=rules,
            tally=Tally({}),
        )

    def _place(self, part: pl.DataFrame, faults: Sequence[Fault]) -> Place:
        """Of the first of the faults, as the input has them."""
        numbers = self._numbers(part)
        fault = min(faults, key=lambda one: int(numbers[one.rows[0]]))
        row = int(fault.rows[0])
        file, within = int(part[SOURCE_FILE][row]), int(part[SOURCE_ROW][row])
        return Place(file, within, fault.column, fault.expected, fault.found, fault.mend)

    def _broken(
        self, part: pl.DataFrame, marked: Bool[np.ndarray, " N"], faults: Sequence[Fault]
    ) -> pl.DataFrame:
        """The rows of broken episodes, each with the first rule that it breaks, if any."""
        place = np.cumsum(marked) - 1
        part = part.filter(marked)
        n = len(part)
        which = np.full(n, -1)
        for number in reversed(range(len(faults))):
            which[place[faults[number].rows]] = number
        fields = {name: field for field, names in self.labels.items() for name in _each(names)}
        fields |= {label(names): field for field, names in self.labels.items()}
        values: list[str | None] = [None] * n
        for number, fault in enumerate(faults):
            rows = np.flatnonzero(which == number)
            if len(rows):
                told = _values(part, fields.get(fault.column, ""), fault, rows)
                for row, value in zip(rows.tolist(), told, strict=True):
                    values[row] = value

        def of(what: str) -> pl.Series:
            entries = [_told(fault, what) for fault in faults]
            return pl.Series(what, [*entries, None], pl.String).gather(
                np.where(which < 0, len(entries), which)
            )

        urls = pl.Series("file", self.urls, pl.String).gather(part[SOURCE_FILE])
        front = [
            of("rule"),
            urls,
            part[SOURCE_ROW].alias("row"),
            of("column"),
            pl.Series("value", values, pl.String),
            of("expected"),
            of("mend"),
        ]
        return pl.DataFrame(front).hstack(
            part.select(name for name in FORMS if name in part.columns)
        )

    def refusal(self, note: Note) -> ValueError:
        """The error for the first row of the input that breaks a rule."""
        errors = [c.first for name, c in note.rules.items() if RULES[name].severity == "error"]
        first = min(errors, key=lambda place: (place.file, place.row))
        rows = sum(c.rows for name, c in note.rules.items() if RULES[name].severity == "error")
        more = f" ({rows} broken rows among the {note.rows} read with it)" if rows > 1 else ""
        return refusal(
            Path(self.urls[first.file]),
            first.column,
            first.expected,
            first.found + more,
            first.mend,
            first.row,
        )


def _each(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def _told(fault: Fault, what: str) -> str:
    if what in ("expected", "mend"):
        rule = RULES[fault.rule]
        return rule.text if what == "expected" else rule.mend
    return getattr(fault, what)


def _values(
    part: pl.DataFrame, field: str, fault: Fault, rows: Int64[np.ndarray, " K"]
) -> list[str | None]:
    """What the broken rows hold, as text."""
    if fault.rule == "value_type":
        return part["cast_found"].gather(rows).list.first().to_list()
    if field not in part.columns:
        return [None] * len(rows)
    column = part[field].gather(rows)
    if column.dtype.is_nested():
        lists = pl.element().cast(pl.String).fill_null("null")
        many = column.cast(pl.List(column.dtype.inner))  # type: ignore[attr-defined]
        shown = many.list.head(64).list.eval(lists).list.join(", ")
        column = pl.select(pl.format("[{}]", shown)).to_series()
    return column.cast(pl.String).str.slice(0, 4 * _SHOWN).to_list()


def _take(table: pa.Table, kept: Int64[np.ndarray, " K"]) -> pa.Table:
    return table if len(kept) == len(table) else table.take(pa.array(kept))


def _unbroken(
    episode: Int64[np.ndarray, " N"], kept: Int64[np.ndarray, " K"], faults: Sequence[Fault]
) -> Int64[np.ndarray, " L"]:
    """Of the rows those whose episodes have no fault."""
    if not faults:
        return kept
    broken = np.zeros(int(episode[-1]) + 1, bool)
    for fault in faults:
        broken[episode[fault.rows]] = True
    return kept[~broken[episode[kept]]]


def _moved(fault: Fault, kept: Int64[np.ndarray, " K"]) -> Fault:
    """The fault with rows counted as before others were taken out."""
    return Fault(
        fault.rule, fault.column, kept[fault.rows], fault.expected, fault.found, fault.mend
    )


def _piece(columns: Columns) -> Piece:
    own, given = columns.observations, columns.next_given
    following = np.empty_like(own)
    following[:-1] = own[1:]
    lasts = np.flatnonzero(columns.lasts)
    following[lasts] = own[lasts]
    if given.any():
        following[given] = columns.next_observations[given]
    starts = np.flatnonzero(columns.firsts)
    ids = columns.episode_ids
    return Piece(
        observations=own,
        actions=columns.actions,
        rewards=columns.rewards,
        terminated=columns.terminated,
        truncated=columns.truncated,
        next_observations=following,
        has_next=given | ~columns.lasts,
        episode_lengths=np.diff(starts, append=len(own)),
        episode_ids=ids.vocabulary[ids.codes[starts]],
        action_probabilities=columns.action_probabilities,
        allowed=columns.allowed,
        timestamps=columns.timestamps,
        splits=columns.splits,
    )


def _tally(columns: Columns, part: pl.DataFrame, kept: Int64[np.ndarray, " K"]) -> Tally:
    starts = np.flatnonzero(columns.firsts)
    rewards, p = columns.rewards, columns.action_probabilities
    given = np.flatnonzero(columns.next_given)
    stated = columns.next_observations[given]
    copied = (stated == columns.observations[given]).all(axis=1)

    def extreme(n: int) -> Extreme:
        row = int(kept[n])
        return Extreme(float(rewards[n]), int(part[SOURCE_FILE][row]), int(part[SOURCE_ROW][row]))

    return Tally(
        counts={
            "rows": len(rewards),
            "episodes": len(starts),
            "terminated": int(columns.terminated.sum()),
            "truncated": int(columns.truncated.sum()),
            "stated_next": len(given),
            "copied_next": int(copied.sum()),
        },
        rewards=Histogram.of(rewards),
        returns=Histogram.of(np.add.reduceat(rewards.astype(np.float64), starts)),
        lengths=Histogram.of(np.diff(starts, append=len(rewards))),
        propensities=Histogram({}) if p is None else Histogram.of(p),
        inverse=(0.0, 0.0) if p is None else _inverse(p),
        least=extreme(int(rewards.argmin())),
        most=extreme(int(rewards.argmax())),
        columns=Checksums.of(columns.observations, columns.lasts),
    )


def _inverse(p: Float64[np.ndarray, " N"]) -> tuple[float, float]:
    """Sums of 1/p and of 1/p^2, with p of at least 1e-12 so that they stay finite."""
    weights = 1 / np.maximum(p, 1e-12)
    return float(weights.sum()), float((weights**2).sum())
