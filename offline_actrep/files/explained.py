"""A mapping told to a person: sources, columns, rules, the first rows before and after."""

from collections.abc import Sequence

import polars as pl

from offline_actrep.files.episodes import EndRule, SessionRule
from offline_actrep.files.sources import SourceFile
from offline_actrep.files.types import Kind, Schema, named

FIRST = 3
"""Rows shown."""


def tell_sources(sources: Sequence[SourceFile], shown: SourceFile, schema: Schema) -> list[str]:
    """What would be read."""
    size = sum(source.size for source in sources)
    formats = ", ".join(sorted({source.format for source in sources}))
    lines = [
        "Sources",
        f"  {len(sources)} file{'s' * (len(sources) > 1)}, {_bytes(size)}, {formats}; "
        f"the first: {sources[0].url}",
        "  raw columns: " + ", ".join(f"{n} ({named(kind)})" for n, kind in schema.items()),
    ]
    folders = dict.fromkeys(key for source in sources for key, _ in source.hive)
    if folders:
        lines.append(f"  from key=value folders: {', '.join(folders)}")
    if shown.format in ("csv", "jsonl") and len(sources) > 1:
        lines.append(f"  types as in {shown.url}; the job looks at every value of every file")
    return lines


def tell_field(field: str, kind: Kind, source: str) -> str:
    """One canonical column."""
    return f"  {field:<20} {named(kind):<18} from {source}"


def tell_session(rule: SessionRule, kind: Kind) -> list[str]:
    """How sessions are cut."""
    lines = [
        f"  rows alike in {rule.key!r}, in the order of {rule.order!r} ({named(kind)}); rows alike "
        "in it as they come in the files"
    ]
    if rule.gap is not None:
        lines.append(f"  another episode begins where {rule.order!r} rises by more than {rule.gap}")
    if rule.ends_cut:
        lines.append("  another episode begins after a terminated or truncated row")
    if rule.max_rows is not None:
        lines.append(
            f"  another episode begins after {rule.max_rows} rows; the one before is truncated, "
            "and knows its next observation"
        )
    name = f"{rule.key}#0, {rule.key}#1, ..." if rule.cuts else f"{rule.key} itself"
    return [*lines, f"  episode_id is the value of {name}; step counts from 0"]


def tell_ends(rule: EndRule, given: Sequence[str]) -> list[str]:
    """What ends an episode."""
    lines = []
    for name in ("terminated", "truncated"):
        text = getattr(rule, name)
        if text is not None:
            lines.append(f"  {name} where {text}")
        elif name in given:
            lines.append(f"  {name} as the log says")
        else:
            lines.append(f"  {name} nowhere, unless a rule below says so")
    if rule.last_row is None:
        return [*lines, "  the last row of an episode that neither ends is a fault"]
    return [*lines, f"  the last row of an episode that neither ends is {rule.last_row}"]


def tell_rows(url: str, before: pl.DataFrame, after: pl.DataFrame) -> list[str]:
    """The first rows, as they are and as they are understood."""
    lines = []
    for title, frame in (("before", before), ("after", after)):
        lines += ["", f"First {frame.height} rows of {url}, {title}"]
        for row in frame.rows(named=True):
            lines += [f"  {name:<20} {_short(value)}" for name, value in row.items()]
            lines.append("")
    return lines[:-1]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 76 else text[:73] + "..."


def _bytes(size: int) -> str:
    value, unit = float(size), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
