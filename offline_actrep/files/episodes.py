"""Episodes of a log that has none: sessions cut from the rows of a key, and how they end."""

import re
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, field_validator

from offline_actrep.files.toml import Strict
from offline_actrep.files.types import Kind, named

_SECONDS = {"ms": 1e-3, "s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60}
_SECONDS |= {"h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_GAP = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

ORDER = "session_order"
"""Column of mapped rows under a session rule: what they are put in order by."""


class SessionRule(Strict):
    """`[episodes]`: rows of one key, in order, cut into sessions.

    The id of an episode is the key, `#`, and the number of the session among the key's, from 0;
    where nothing is ever cut it is the key itself. A row whose place in the order is not known
    may belong to any session of its key: then the key is left in one piece, which that row's
    fault takes with it.
    """

    key: str
    """Column of whose rows sessions are made: a user, a machine."""
    order: str
    """Column that puts them in order: a time, or a number that rises. Rows alike in it keep the
    order of the files."""
    gap: str | Annotated[float, Field(gt=0)] | None = None
    """A step in the order larger than this begins another session: "30 min" (ms, s, min, h, d),
    or a number in the order's own unit."""
    order_unit: Literal["s", "ms", "us", "ns"] | None = None
    """The unit of an order of plain numbers; needed where `gap` names one."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """So many rows begin another session. The one before is then cut off, not ended: its last row
    is truncated, and its next observation is the row that follows."""
    ends_cut: bool = False
    """Whether the row after a terminated or truncated one begins another session."""

    @field_validator("gap")
    @classmethod
    def _readable(cls, gap: str | float | None) -> str | float | None:
        if isinstance(gap, str) and seconds(gap) is None:
            raise ValueError(f"{gap!r} is no span of time; write for example '30 min' or '1.5 h'")
        return gap

    @property
    def cuts(self) -> bool:
        """Whether a key may have several sessions."""
        return self.gap is not None or self.max_rows is not None or self.ends_cut

    def step(self, kind: Kind) -> float | None:
        """The gap in the unit of an order column of this type.

        Raises:
            ValueError: a span of time in an order that is not one, or the other way round.
        """
        if self.gap is None:
            return None
        span = seconds(self.gap) if isinstance(self.gap, str) else None
        if isinstance(kind, pl.Datetime):
            if span is not None:
                return span * _PER_SECOND[kind.time_unit]
            expected, mend = f"a span of time, as {self.order!r} is one", f"gap = '{self.gap} s'"
            raise ValueError(
                f"episodes.gap: expected {expected}, got {self.gap}. To mend it: write {mend}."
            )
        if span is None:
            return float(self.gap)
        if self.order_unit is None:
            raise ValueError(
                f"episodes.gap = {self.gap!r}: expected a number, for {self.order!r} is "
                f'{named(kind)}. To mend it: add order_unit = "s" (ms, us, ns), or declare '
                f'the column in [types] as "datetime".'
            )
        return span * _PER_SECOND[self.order_unit]


class EndRule(Strict):
    """`[ends]`: what ends an episode, where the columns do not say."""

    terminated: str | None = None
    """SQL expression: the episode reached a terminal state after this row."""
    truncated: str | None = None
    """SQL expression: the episode was cut off after this row."""
    last_row: Literal["terminated", "truncated"] | None = None
    """What the last row of an episode is where nothing else says; None leaves it, as a fault."""


def seconds(span: str) -> float | None:
    """A span of time such as "30 min" in seconds."""
    found = _GAP.fullmatch(span)
    if found is None or float(found[1]) <= 0:
        return None
    unit = _SECONDS.get(found[2], _SECONDS.get(found[2].removesuffix("s")))
    return None if unit is None else float(found[1]) * unit


def in_order(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """The rows sorted by these columns, then by where they come from; as they are if they are."""
    by = by + [name for name in ("source_file", "source_row") if name in rows.columns]
    above, later = pl.lit(True), pl.lit(False)
    for name in by:
        here, before = pl.col(name), pl.col(name).shift()
        later = later | (above & (here > before))
        above = above & (here == before)
    sorted_ = rows.lazy().select((later | above).slice(1).fill_null(False).all()).collect().item()
    return rows if sorted_ else rows.sort(by)


def cut_sessions(rows: pl.DataFrame, rule: SessionRule) -> pl.DataFrame:
    """The rows of whole keys with `episode_id`, `step`, and the ends that `max_rows` makes."""
    rows = in_order(rows, ["partition_key", ORDER])
    key, order = pl.col("partition_key"), pl.col(ORDER)
    other = key.ne_missing(key.shift())
    cut = pl.lit(False)
    gap = rule.step(rows.schema[ORDER])
    if gap is not None:
        passed = order.to_physical() - order.to_physical().shift()
        cut = (passed > gap) | (passed < 0)  # in order, so below 0 it is beyond 64 bits
    if rule.ends_cut:
        cut = cut | _ended(rows).shift()
    placed = order.is_not_null().all().over("partition_key")
    starts = pl.int_range(pl.len()) == 0
    rows = rows.with_columns(
        (starts | other | (cut.fill_null(False) & placed)).cum_sum().alias("_session"),
        placed.alias("_placed"),
    ).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over("_session").alias("step"))
    if rule.max_rows is not None:
        rows = _cut_long(rows, rule.max_rows)
    number = pl.col("_session") - pl.col("_session").first().over("partition_key")
    number = pl.when(pl.col("_placed")).then(number).otherwise(0)
    name = pl.format("{}#{}", key, number) if rule.cuts else key
    return rows.with_columns(name.alias("episode_id")).drop("_session", "_placed")


def mark_ends(rows: pl.DataFrame, rule: EndRule) -> pl.DataFrame:
    """The rows of whole episodes in order, with the last row of each ended as the rule says."""
    rows = _with_ends(rows)
    if rule.last_row is None:
        return rows
    last = pl.col("episode_id").ne_missing(pl.col("episode_id").shift(-1))
    last = last | (pl.int_range(pl.len()) == pl.len() - 1)
    open_ = ~(pl.col("terminated") | pl.col("truncated"))
    ends = pl.when(last & open_).then(True).otherwise(pl.col(rule.last_row))
    return rows.with_columns(ends.alias(rule.last_row))


def _with_ends(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with both columns of ends, false where they were not."""
    missing = [name for name in ("terminated", "truncated") if name not in rows.columns]
    return rows.with_columns(pl.lit(False).alias(name) for name in missing)


def _ended(rows: pl.DataFrame) -> pl.Expr:
    ends = [pl.col(n).fill_null(False) for n in ("terminated", "truncated") if n in rows.columns]
    return pl.any_horizontal(pl.lit(False), *ends)


def _cut_long(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """Sessions of more rows than `most` in pieces, all but the last of them cut off."""
    rows = _with_ends(rows)
    kind = rows.schema["observation"]
    if "next_observation" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, kind).alias("next_observation"))
    session, step, placed = pl.col("_session"), pl.col("step"), pl.col("_placed")
    goes_on = (session == session.shift(-1)).fill_null(False)
    full = placed & goes_on & ((step + 1) % most == 0) & ~pl.col("terminated").fill_null(False)
    stated = pl.col("next_observation")
    following = pl.col("observation").shift(-1).cast(rows.schema["next_observation"])
    return rows.with_columns(
        pl.when(full).then(True).otherwise(pl.col("truncated")).alias("truncated"),
        pl.when(full & stated.is_null())
        .then(following)
        .otherwise(stated)
        .alias("next_observation"),
        ((session != session.shift()).fill_null(True) | (placed & (step % most == 0)))
        .cum_sum()
        .alias("_session"),
        pl.when(placed).then(step % most).otherwise(step).alias("step"),
    )
