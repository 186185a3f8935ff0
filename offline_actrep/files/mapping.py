"""What the columns of any log mean, as TOML: how a row becomes a row of schema 1.

```toml
reward = "5 * bought + 0.1 * clicked"

[columns]
action = "item"

[derived]
hour = "EXTRACT(HOUR FROM time)"

[[observation]]
column = "hour"

[[observation]]
column = "country"
one_hot = ["de", "fr"]
other = true

[episodes]
key = "user"
order = "time"
gap = "30 min"

[ends]
last_row = "truncated"
```

Expressions are polars SQL of one row (`files/expressions.py`). They see the raw columns, those
declared in `[types]` in their declared type, and the derived ones above them.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from pydantic import Field, field_validator, model_validator

from offline_actrep.files.casting import (
    DECLARED,
    DOUBLE,
    ID,
    LOGGED_TIME,
    SINGLE,
    TEXT,
    TRUTH,
    WHOLE,
    Cast,
    Lost,
    Target,
    cast_list,
    cast_scalar,
    declared,
    told,
)
from offline_actrep.files.casting import ORDER as IN_ORDER
from offline_actrep.files.episodes import (
    ORDER,
    EndRule,
    SessionRule,
    cut_sessions,
    in_order,
    mark_ends,
)
from offline_actrep.files.explained import (
    FIRST,
    tell_ends,
    tell_field,
    tell_rows,
    tell_session,
    tell_sources,
)
from offline_actrep.files.expressions import names_of, row_expression
from offline_actrep.files.observing import Part, observe
from offline_actrep.files.parquet import CANONICAL, OPTIONAL, ColumnMapping
from offline_actrep.files.sources import (
    SourceFile,
    check_same_schema,
    find_sources,
    reading,
    scan,
)
from offline_actrep.files.toml import Strict, read_toml
from offline_actrep.files.types import Kind, Schema, element_type, named

SCALARS: dict[str, Target] = {
    "episode_id": ID,
    "step": WHOLE,
    "action": ID,
    "reward": SINGLE,
    "terminated": TRUTH,
    "truncated": TRUTH,
    "action_probability": DOUBLE,
    "timestamp": LOGGED_TIME,
    "split": TEXT,
}
"""What the fields of single values take."""

FIELDS = tuple(ColumnMapping.model_fields)
"""The canonical columns, in order."""

VECTORS = ("observation", "next_observation")
ENDS = ("terminated", "truncated")
_OWN = "_oar_"

KEPT = ("source_file", "source_row", "cast_failed", "cast_found")
"""What else a mapped row carries: where it comes from, and what could not be cast."""


class LogMapping(Strict):
    """What the columns of a log mean; by default what `read_log` takes them for."""

    columns: ColumnMapping = ColumnMapping()
    """`[columns]`: the files' names, or derived ones, of the canonical columns."""
    types: dict[str, str] = Field(default_factory=dict)
    """`[types]`: raw columns to read as bool, int64, float64, string, datetime, or datetime with
    a format ("datetime %d.%m.%Y"); values that do not fit become null and are named."""
    derived: dict[str, str] = Field(default_factory=dict)
    """`[derived]`: new columns, each a SQL expression of raw ones and of those above it."""
    observation: tuple[Part, ...] = ()
    """`[[observation]]`: the parts of an observation, instead of one in `[columns]`."""
    next_observation: tuple[Part, ...] = ()
    """`[[next_observation]]`: the same for what followed."""
    reward: str | None = None
    """SQL expression, instead of a column in `[columns]`."""
    session_rule: SessionRule | None = Field(default=None, alias="episodes")
    """`[episodes]`: sessions as episodes, where the log has no column of them."""
    ends: EndRule = EndRule()
    """`[ends]`: what ends an episode, where the columns do not say."""

    @field_validator("types")
    @classmethod
    def _known(cls, types: dict[str, str]) -> dict[str, str]:
        for column, form in types.items():
            word, _, pattern = form.partition(" ")
            if word not in DECLARED or (pattern and word != "datetime"):
                raise ValueError(
                    f"{column} = {form!r}; there are {', '.join(DECLARED)}, and 'datetime' with a "
                    "format such as 'datetime %d.%m.%Y'"
                )
        return types

    @model_validator(mode="after")
    def _consistent(self) -> "LogMapping":
        given = self.columns.model_fields_set
        clashes = [
            ("reward", self.reward is not None, "reward"),
            ("observation", bool(self.observation), "[[observation]]"),
            ("next_observation", bool(self.next_observation), "[[next_observation]]"),
            ("episode_id", self.session_rule is not None, "[episodes]"),
            ("step", self.session_rule is not None, "[episodes]"),
            ("terminated", self.ends.terminated is not None, "[ends] terminated"),
            ("truncated", self.ends.truncated is not None, "[ends] truncated"),
        ]
        for field, otherwise, table in clashes:
            if otherwise and field in given:
                raise ValueError(f"columns.{field} and {table} both say it; leave one out")
        if self.next_observation and not self.observation:
            raise ValueError("[[next_observation]] needs [[observation]] beside it")
        both = set(self.derived) & set(self.types)
        if both:
            raise ValueError(f"{both.pop()!r} is both in [types] and in [derived]; leave one out")
        self.expressions()
        return self

    def expressions(self) -> dict[str, pl.Expr]:
        """Every SQL expression of the mapping, by the name of the column that it becomes.

        Raises:
            ValueError: one that is not of a single row.
        """
        texts = {
            f"{_OWN}reward": ("reward", self.reward),
            f"{_OWN}terminated": ("ends.terminated", self.ends.terminated),
            f"{_OWN}truncated": ("ends.truncated", self.ends.truncated),
        }
        derived = {n: row_expression(text, f"derived.{n}") for n, text in self.derived.items()}
        return derived | {
            name: row_expression(text, place)
            for name, (place, text) in texts.items()
            if text is not None
        }

    def used(self) -> set[str]:
        """Every raw column that the mapping would look at, were it there."""
        fields = set(FIELDS) - _said_elsewhere(self)
        given = [getattr(self.columns, field) for field in fields]
        names = {n for one in given if one for n in ([one] if isinstance(one, str) else one)}
        names |= {name for one in self.expressions().values() for name in names_of(one)}
        names |= {part.column for part in self.observation + self.next_observation}
        names |= set(self.types)
        if self.session_rule is not None:
            names |= {self.session_rule.key, self.session_rule.order}
        return names - set(self.derived)

    def agreed_schema(self, sources: Sequence[SourceFile]) -> Schema:
        """The one schema in which `scan` reads all files, seen to be what the mapping needs.

        Raises:
            ValueError: as `check_same_schema` and `check` do.
        """
        schema = check_same_schema(sources, used=self.used(), as_text=set(self.types))
        self.check(schema)
        return schema

    def check(self, schema: Schema) -> None:
        """That raw columns of this schema can be mapped.

        Raises:
            ValueError: a column is missing (the near ones are named) or of a type that does not
                fit, or an expression cannot be computed.
        """
        plan(self, pl.LazyFrame(schema=schema))

    def observation_names(self, schema: Schema) -> tuple[str, ...]:
        """A name for every number of an observation of these raw columns; empty where they come
        as one list, whose numbers only its file may name."""
        return plan(self, pl.LazyFrame(schema=schema)).observation_names

    def rows(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Raw rows as rows of the canonical columns, each for itself, in any order.

        Returns:
            The canonical columns that there are, each in one type: ids Int64 or String, step
            Int64, observations `Array(Float32)` or `List(Float32)`, reward Float32, ends Boolean,
            probability Float64, allowed actions a list of ids, timestamp as logged, split String.
            Of a session rule: no `episode_id` and `step` yet, but `session_order`.
            `partition_key`, Int64 or String: rows alike in it must stay together, the episode's
            id or the session rule's key.
            `source_file` (Int32) where the frame has it, `source_row` (Int64).
            `cast_failed` and `cast_found`, lists of text, null in most rows: the fields whose
            value could not be cast and so is null, and the values as they stand in the file. A
            field is a canonical one, `observation.COLUMN`, `partition_key`, `session_order` (also
            where the log holds nothing there), or a column of `[types]`. A number beyond float32
            is no such thing: it becomes infinite.

        Raises:
            ValueError: as `check` does.
        """
        planned = plan(self, frame)
        failed, found = told(planned.lost)
        carried = [name for name in KEPT[:2] if name in planned.frame.collect_schema()]
        return planned.frame.select(
            *(values.alias(name) for name, values in planned.fields.items()),
            *(pl.col(n).cast(pl.Int32 if n == "source_file" else pl.Int64) for n in carried),
            failed.alias("cast_failed"),
            found.alias("cast_found"),
        )

    def episodes(self, part: pl.DataFrame) -> pl.DataFrame:
        """Mapped rows of whole keys as episodes of schema 1, one after the other.

        Rows are sorted by episode and step, or by the session rule's key and order; what is alike
        keeps the order of the files. A session rule gives ids and steps; without one the log's
        own stay, gaps and repetitions included. Ends are the log's own, where the rules of
        `[episodes]` and `[ends]` say nothing else.

        Args:
            part: what `rows` gave, of any files, with all rows of every `partition_key` in it.

        Returns:
            The canonical columns, and `source_file`, `source_row`, `cast_failed`, `cast_found`.
        """
        rule = self.session_rule
        rows = in_order(part, ["episode_id", "step"]) if rule is None else cut_sessions(part, rule)
        rows = mark_ends(rows, self.ends)
        return rows.select(name for name in (*FIELDS, *KEPT) if name in rows.columns)

    def explain(self, sources: str | Path | Sequence[str | Path]) -> str:
        """What the mapping takes these sources for, shown on their first rows; for people.

        Files of csv and JSONL say their types only to who reads them whole, so of these the first
        file speaks for all.

        Raises:
            ValueError: as `find_sources`, `check_same_schema` and `check` do.
        """
        found = find_sources(sources)
        typed = [one for one in found if one.format in ("parquet", "ipc")]
        shown = (typed or found)[0]
        schema = self.agreed_schema(typed or found[:1])
        with reading([shown]):
            before = scan(shown, schema).head(FIRST).collect()
            planned = plan(self, before.lazy())
            after = self.rows(before.lazy()).collect()
        lines = [
            *tell_sources(found, shown, schema),
            *self._tell_fields(planned, after),
            *self._tell_rules(planned, after),
            *tell_rows(shown.url, before, after),
        ]
        return "\n".join(lines) + "\n"

    def _tell_fields(self, planned: "Plan", after: pl.DataFrame) -> list[str]:
        lines = ["", "Columns of the log"]
        for field in FIELDS:
            if field in after.columns:
                lines.append(tell_field(field, after.schema[field], planned.sources[field]))
        for name, text in self.derived.items():
            lines.append(f"  derived {name} = {text}")
        if planned.observation_names:
            names = ", ".join(planned.observation_names)
            lines.append(f"  numbers of an observation ({len(planned.observation_names)}): {names}")
        made = {"episode_id", "step"} if self.session_rule is not None else set()
        ends = {"terminated", "truncated"}
        absent = [f for f in FIELDS if f not in after.columns and f not in made | ends]
        lines.append(f"  absent: {', '.join(absent) or 'none'}")
        return lines

    def _tell_rules(self, planned: "Plan", after: pl.DataFrame) -> list[str]:
        lines = ["", "Episodes"]
        if self.session_rule is None:
            lines.append(
                f"  rows alike in episode_id ({planned.sources['episode_id']}), in the order of "
                f"step ({planned.sources['step']})"
            )
        else:
            lines += tell_session(self.session_rule, after.schema[ORDER])
        return lines + tell_ends(self.ends, [n for n in ENDS if n in after.columns])


CANONICAL_MAPPING = LogMapping()
"""Every column under its canonical name, nothing derived."""


def read_mapping(path: str | Path) -> LogMapping:
    """A mapping from a TOML file; paths in it are relative to its folder.

    Raises:
        ValueError: no such file, broken TOML, an unknown key (with the near ones), a bad value.
    """
    vectors = [(table, "*", "vectors") for table in ("observation", "next_observation")]
    return read_toml(Path(path), LogMapping, vectors)


@dataclass(frozen=True)
class Plan:
    """A mapping laid over a schema.

    Attributes:
        frame: the raw rows with declared types, derived columns and codes of categories.
        fields: what to select of it, by name.
        sources: of which columns each comes, in words.
        lost: what does not fit.
        observation_names: see `LogMapping.observation_names`.
    """

    frame: pl.LazyFrame
    fields: dict[str, pl.Expr]
    sources: dict[str, str]
    lost: tuple[Lost, ...]
    observation_names: tuple[str, ...]


def plan(mapping: LogMapping, frame: pl.LazyFrame) -> Plan:
    """How to compute every column.

    Raises:
        ValueError: as `LogMapping.check` does.
    """
    raw = frame.collect_schema()
    _check_reserved(mapping, raw)
    frame, lost = _declare(frame, raw, mapping.types)
    frame = _derive(frame, mapping)
    schema = frame.collect_schema()
    where = _where(mapping, schema)
    casts = {f: cast_scalar(f, pl.col(n), schema[n], SCALARS[f]) for f, n in where.items()}
    sources = {field: _in_words(mapping, name) for field, name in where.items()}
    name = _single(mapping, "allowed_actions", schema)
    if name is not None:
        kind = TEXT if schema[where["action"]] == pl.String else WHOLE
        casts["allowed_actions"] = cast_list("allowed_actions", pl.col(name), schema[name], kind)
        sources["allowed_actions"] = _in_words(mapping, name)
    names: dict[str, tuple[str, ...]] = {}
    for field in VECTORS:
        of = _vector(mapping, field, schema)
        if isinstance(of, str):
            casts[field], sources[field] = _lists(field, of, schema[of]), _in_words(mapping, of)
        elif of:
            observed = observe(of, schema, field)
            frame = frame.with_columns(**observed.codes)
            casts[field], names[field] = observed.cast, observed.names
            if field == "next_observation":  # nothing at all: the row below tells
                some = pl.any_horizontal(pl.col(part.column).is_not_null() for part in of)
                values = pl.when(some).then(observed.cast.values)
                casts[field] = replace(observed.cast, values=values)
            sources[field] = ", ".join(_in_words(mapping, part.column) for part in of)
    fields = {field: casts[field].values for field in FIELDS if field in casts}
    if mapping.session_rule is None:
        fields["partition_key"] = fields["episode_id"]
    else:
        key, order = _session(mapping.session_rule, schema)
        casts |= {"partition_key": key, ORDER: order}
        fields |= {"partition_key": key.values, ORDER: order.values}
        mapping.session_rule.step(frame.select(order.values).collect_schema().dtypes()[0])
    lost += tuple(one for cast in casts.values() for one in cast.lost)
    return Plan(frame, fields, sources, lost, names.get("observation", ()))


def _declare(
    frame: pl.LazyFrame, raw: Schema, types: dict[str, str]
) -> tuple[pl.LazyFrame, tuple[Lost, ...]]:
    """The frame with its columns in their declared types, and what did not fit."""
    made: dict[str, pl.Expr] = {}
    lost: list[Lost] = []
    for column, form in types.items():
        _need(column, raw, "[types]")
        cast = cast_scalar(f"types.{column}", pl.col(column), raw[column], declared(form))
        made[column] = cast.values
        for one in cast.lost:
            rows, value = f"{_OWN}rows_{column}", f"{_OWN}value_{column}"
            made |= {rows: one.rows, value: one.value}
            lost.append(Lost(column, pl.col(rows), pl.col(value)))
    return frame.with_columns(**made), tuple(lost)


def _derive(frame: pl.LazyFrame, mapping: LogMapping) -> pl.LazyFrame:
    """The frame with a column for every expression."""
    for name, expression in mapping.expressions().items():
        schema, place = frame.collect_schema(), _in_words(mapping, name)
        if name in schema:
            raise ValueError(
                f"[derived] {name}: expected a new name, got that of a raw column. To mend it: "
                "give the derived column another."
            )
        for column in sorted(names_of(expression)):
            _need(column, schema, place)
        frame = frame.with_columns(expression.alias(name))
        try:  # a row of nulls, for the schema alone does not tell all that polars refuses
            pl.DataFrame(schema=schema).clear(1).select(expression)
        except pl.exceptions.PolarsError as error:
            said = str(error).split("Resolved plan")[0]
            kinds = ", ".join(f"{c} ({named(schema[c])})" for c in sorted(names_of(expression)))
            raise ValueError(
                f"{place}: expected an expression that fits {kinds}, got: "
                f"{' '.join(said.split())[:300]}. To mend it: declare their types in [types], or "
                "use TRY_CAST."
            ) from error
    return frame


def _where(mapping: LogMapping, schema: Schema) -> dict[str, str]:
    """The column of every field of single values that there is."""
    where: dict[str, str] = {}
    for field in SCALARS:
        name = _single(mapping, field, schema)
        if name is not None:
            where[field] = name
    rule = mapping.session_rule
    if rule is not None and "timestamp" not in where and mapping.columns.timestamp is not None:
        where["timestamp"] = _need(rule.order, schema, "[episodes] order")
    return where


def _single(mapping: LogMapping, field: str, schema: Schema) -> str | None:
    """The column that a field comes from, or None where it is absent and may be."""
    own = f"{_OWN}{field}"
    if own in schema:
        return own
    if field in _said_elsewhere(mapping):
        return None
    name = getattr(mapping.columns, field)
    ends = mapping.ends
    may_lack = field in OPTIONAL or (
        field == "terminated" and (ends.last_row is not None or ends.truncated is not None)
    )
    if name is None or (name not in schema and may_lack and name == getattr(CANONICAL, field)):
        return None
    return _need(name, schema, field)


def _vector(mapping: LogMapping, field: str, schema: Schema) -> tuple[Part, ...] | str | None:
    """The parts of an observation, the one column of its lists, or None where there is none."""
    parts: tuple[Part, ...] = getattr(mapping, field)
    names = getattr(mapping.columns, field)
    if not parts and (field in _said_elsewhere(mapping) or names is None):
        return None
    if not parts and isinstance(names, str):
        if field in OPTIONAL and names not in schema and names == getattr(CANONICAL, field):
            return None
        kind = schema[_need(names, schema, field)]
        if element_type(kind) is not None or kind in (pl.String, pl.Null):
            return names
    parts = parts or tuple(Part(column=n) for n in ([names] if isinstance(names, str) else names))
    for part in parts:
        _need(part.column, schema, field)
    return parts


def _lists(field: str, name: str, kind: Kind) -> Cast:
    """A column of lists as it is, in float32; in text a number alone is a list of it."""
    inner, column = element_type(kind), pl.col(name)
    if kind == pl.String:
        alone = column.cast(pl.Float64, strict=False).is_not_null()
        column = pl.when(alone).then(pl.format("[{}]", column)).otherwise(column)
    if inner is None or not inner.is_numeric():
        return cast_list(field, column, kind, SINGLE)
    size = kind.size if isinstance(kind, pl.Array) else None
    target = pl.List(pl.Float32) if size is None else pl.Array(pl.Float32, size)
    return Cast(pl.col(name).cast(target, strict=False))


def _session(rule: SessionRule, schema: Schema) -> tuple[Cast, Cast]:
    """The key and the order of sessions."""
    key = _need(rule.key, schema, "[episodes] key")
    order = _need(rule.order, schema, "[episodes] order")
    placed = cast_scalar(ORDER, pl.col(order), schema[order], IN_ORDER)
    nowhere = Lost(ORDER, placed.values.is_null(), pl.col(order).cast(pl.String, strict=False))
    return (
        cast_scalar("partition_key", pl.col(key), schema[key], ID),
        Cast(placed.values, (nowhere,)),
    )


def _said_elsewhere(mapping: LogMapping) -> set[str]:
    """The fields of which `[columns]` does not speak."""
    rule, parts = mapping.session_rule, bool(mapping.observation)
    explicit = "next_observation" in mapping.columns.model_fields_set
    said = {
        "episode_id": rule is not None,
        "step": rule is not None,
        "reward": mapping.reward is not None,
        "terminated": mapping.ends.terminated is not None,
        "truncated": mapping.ends.truncated is not None,
        "observation": parts,
        "next_observation": bool(mapping.next_observation) or (parts and not explicit),
    }
    return {field for field, elsewhere in said.items() if elsewhere}


def _need(name: str, schema: Schema, purpose: str) -> str:
    """The name, which must be a column.

    Raises:
        ValueError: it is none; names the near ones.
    """
    if name in schema:
        return name
    near = difflib.get_close_matches(name, list(schema), n=1, cutoff=0.6)
    field = purpose in FIELDS
    mend = f'{purpose} = "{near[0] if near else "..."}" in [columns]' if field else "its name"
    if purpose == "terminated":
        mend += ', or write [ends] last_row = "terminated" or "truncated"'
    raise ValueError(
        f"column {name!r}: expected a column of that name for {purpose}, got the columns "
        f"{', '.join(n for n in schema if not n.startswith(_OWN))}"
        f"{f' (is it {near[0]!r}?)' if near else ''}. To mend it: write {mend}."
    )


def _check_reserved(mapping: LogMapping, raw: Schema) -> None:
    for name in (*raw, *mapping.derived):
        if name.startswith(_OWN):
            raise ValueError(
                f"column {name!r}: expected a name that does not begin with {_OWN!r}, which is "
                "kept for columns in between. To mend it: rename it."
            )


def _in_words(mapping: LogMapping, name: str) -> str:
    """A column as the mapping's own text says it."""
    texts = {
        f"{_OWN}reward": mapping.reward,
        f"{_OWN}terminated": mapping.ends.terminated,
        f"{_OWN}truncated": mapping.ends.truncated,
    } | mapping.derived
    if name in mapping.derived:
        return f"{name} = {texts[name]}"
    return f"{texts[name]}" if name in texts else f"column {name!r}"
