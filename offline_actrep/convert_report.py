"""What is told of a conversion: `report.json` for programs, `report.html` for people.

Neither holds a date or a duration, so the same log gives the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from offline_actrep import plots
from offline_actrep.core.actions import ActionSet
from offline_actrep.files.artifact import write_json
from offline_actrep.files.manifest import Statistics
from offline_actrep.files.rules import RULES, SEVERITIES, Severity
from offline_actrep.files.sift import Count, Note
from offline_actrep.files.tally import Histogram, Tally
from offline_actrep.report import FigureFile, Section, Table, write_report

TOO_LARGE = 1e6
"""Beyond it a number of an observation explodes."""
TOO_FAR = 100
"""So many standard deviations from its mean as well."""
OUTLIER = 20
"""Standard deviations from the mean, both of the middle 99 %, beyond which a reward is odd."""
SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
"""Of values that a reported quantile does not exceed."""

_BARS = 40
_SHOWN = 20


@dataclass(frozen=True)
class Source:
    """A file of the log."""

    url: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Column:
    """A number of the observation, over all rows that were kept."""

    name: str
    mean: float
    std: float
    min: float
    max: float

    @property
    def is_constant(self) -> bool:
        """Whether it is the same in all rows."""
        return self.min == self.max

    @property
    def explodes(self) -> bool:
        """Whether it goes too far, in its own unit or in deviations."""
        furthest = max(self.max - self.mean, self.mean - self.min)
        return max(abs(self.min), abs(self.max)) > TOO_LARGE or furthest > TOO_FAR * self.std > 0


def columns_of(statistics: Statistics, names: Sequence[str]) -> list[Column]:
    """The numbers of the observation; without names they are numbered."""
    found = statistics.observations
    named = list(names) or [f"observation[{n}]" for n in range(len(found.mean))]
    rows = zip(named, found.mean, found.std, found.min, found.max, strict=True)
    return [Column(*row) for row in rows]


def report_of(
    note: Note,
    *,
    sources: Sequence[Source],
    settings: Mapping[str, Any],
    order: Mapping[str, Any],
    columns: Sequence[Column],
    action_set: ActionSet,
    action_counts: Int64[np.ndarray, " A"],
) -> dict[str, Any]:
    """The content of `report.json`."""
    tally = note.tally
    urls = [source.url for source in sources]
    return {
        "format": "offline_actrep conversion report",
        "version": 1,
        "read": {"rows": note.rows, "files": len(sources), **order},
        "kept": dict(tally.counts),
        "refused": {"rows": note.broken_rows, "episodes": note.broken_episodes},
        "rules": _rules(note, urls, columns),
        "columns": [vars(column) for column in columns],
        "distributions": {
            name: quantiles(getattr(tally, name))
            for name in ("rewards", "returns", "lengths", "propensities")
        },
        "actions": _actions(action_set, action_counts),
        "propensities": _propensities(tally, len(action_set)),
        "sources": [vars(source) for source in sources],
        "settings": dict(settings),
    }


def write_reports(
    folder: Path,
    report: Mapping[str, Any],
    note: Note,
    action_counts: Int64[np.ndarray, " A"],
    work: Path,
) -> None:
    """Both reports into the folder of the log, the machine's last.

    Args:
        note: of all partitions.
        work: where pictures may lie until the page has them.
    """
    figures = work / "figures"
    write_report(
        folder / "report.html",
        title="A log, converted",
        subtitle=(
            f"{report['kept']['rows']:,} rows in {report['kept']['episodes']:,} episodes kept, "
            f"{report['refused']['rows']:,} rows in {report['refused']['episodes']:,} episodes "
            "refused"
        ),
        sections=[
            _counts_section(report),
            *_refused_sections(report),
            _distributions_section(report, note.tally, figures),
            _actions_section(report, action_counts, figures),
            _propensity_section(report, note.tally, figures),
            _columns_section(report),
            _rules_section(report),
        ],
        provenance=_provenance(report),
    )
    write_json(folder / "report.json", report)


def quantiles(found: Histogram) -> dict[str, float]:
    """The least of the values that no smaller share than each of `SHARES` is below; 3 % exact."""
    return {f"{share:.0%}": found.quantile(share) for share in SHARES} if found.bins else {}


# --- the machine's report


def _rules(note: Note, urls: Sequence[str], columns: Sequence[Column]) -> dict[str, dict[str, Any]]:
    """Every rule, and how often it was broken."""
    odd = _odd_columns(note.tally, columns)
    outliers = _outliers(note.tally)
    found = {}
    for name, rule in RULES.items():
        count = note.rules.get(name)
        entry: dict[str, Any] = {
            "severity": rule.severity,
            "text": rule.text,
            "mend": rule.mend,
            "rows": count.rows if count else 0,
            "episodes": count.episodes if count else 0,
            "first": _first(count, urls),
        }
        if name in odd:
            entry["columns"] = odd[name]
            if odd[name]:
                entry["rows"] = note.tally.counts["rows"]
                entry["episodes"] = note.tally.counts["episodes"]
        if name == "reward_outlier" and outliers is not None:
            rows, first = outliers
            entry |= {"rows": rows, "first": {**first, "file": urls[first["file"]]}}
        found[name] = entry
    return found


def _first(count: Count | None, urls: Sequence[str]) -> dict[str, Any] | None:
    return None if count is None else {**vars(count.first), "file": urls[count.first.file]}


def _odd_columns(tally: Tally, columns: Sequence[Column]) -> dict[str, list[str]]:
    """What is said of columns as wholes, by rule."""
    varied = {n for n, column in enumerate(columns) if not column.is_constant}
    counts = tally.counts
    copied = counts.get("copied_next", 0) == counts.get("stated_next", 0) > 0

    def pairs(found: Sequence[tuple[int, int]], between: str) -> list[str]:
        return [
            f"{columns[i].name} {between} {columns[j].name}"
            for i, j in found
            if i in varied and j in varied
        ]

    return {
        "constant_column": [one.name for one in columns if one.is_constant],
        "exploding_column": [one.name for one in columns if one.explodes],
        "duplicate_columns": pairs(tally.columns.twins(), "and"),
        "next_state_leak": pairs(tally.columns.foretold(), "is the next row's"),
        "next_is_copy": ["next_observation"] if copied and varied else [],
    }


def _outliers(tally: Tally) -> tuple[int, dict[str, Any]] | None:
    """How many rewards lie too far out, and the furthest; None where none does."""
    if tally.least is None or tally.most is None:
        return None
    values, counts = tally.rewards.ranked()
    low, high = tally.rewards.quantile(0.005), tally.rewards.quantile(0.995)
    middle = (values >= low) & (values <= high)
    if low == high:  # nearly all are the same: then all of them are the middle
        middle[:] = True
    mean = np.average(values[middle], weights=counts[middle])
    std = np.sqrt(np.average((values[middle] - mean) ** 2, weights=counts[middle]))
    far = np.abs(values - mean) > OUTLIER * std
    rows = int(counts[far].sum())
    furthest = max(tally.least, tally.most, key=lambda one: abs(one.value - mean))
    if not rows or not std:
        return None
    first = {
        "file": furthest.file,
        "row": furthest.row,
        "column": "reward",
        "expected": f"a reward within {OUTLIER} x {std:.4g} of {mean:.4g}",
        "found": f"{furthest.value:.6g}",
        "mend": RULES["reward_outlier"].mend,
    }
    return rows, first


def _actions(action_set: ActionSet, counts: Int64[np.ndarray, " A"]) -> dict[str, Any]:
    ranked = np.argsort(-counts, kind="stable")
    taken = counts[counts > 0]
    tenth = max(1, len(counts) // 10)
    return {
        "catalogue": len(counts),
        "taken": len(taken),
        "taken_once": int((taken == 1).sum()),
        "rows_an_action_taken": {
            "least": int(taken.min()),
            "median": float(np.median(taken)),
            "most": int(taken.max()),
        },
        "share_of_commonest_tenth": float(counts[ranked[:tenth]].sum() / counts.sum()),
        "commonest": [
            {"action": action_set.ids[a].item(), "rows": int(counts[a])}
            for a in ranked[:_SHOWN]
            if counts[a]
        ],
    }


def _propensities(tally: Tally, n_actions: int) -> dict[str, Any] | None:
    """How far the logged probabilities reach; None where they were not logged."""
    if not tally.propensities.bins:
        return None
    logged, n_rows = tally.propensities, sum(tally.propensities.bins.values())
    once, twice = tally.inverse
    return {
        "meant": 1.0 - logged.below(10 / n_actions) / n_rows,
        "below_uniform": logged.below(1 / n_actions) / n_rows,
        "effective_rows_of_uniform": once**2 / twice,
    }


# --- the person's report


def _counts_section(report: Mapping[str, Any]) -> Section:
    kept, refused, read = report["kept"], report["refused"], report["read"]
    order = (
        "Whole episodes follow one another in the input."
        if read["in_order"]
        else "The rows of episodes lay scattered over the input and were gathered."
    )
    rows = [
        ["files", f"{read['files']:,}"],
        ["rows read", f"{read['rows']:,}"],
        ["rows kept", f"{kept['rows']:,}"],
        ["episodes kept", f"{kept['episodes']:,}"],
        ["... that terminated", f"{kept['terminated']:,}"],
        ["... that were cut off", f"{kept['truncated']:,}"],
        ["rows refused", f"{refused['rows']:,}"],
        ["episodes refused", f"{refused['episodes']:,}"],
        ["actions in the catalogue", f"{report['actions']['catalogue']:,}"],
        ["actions taken", f"{report['actions']['taken']:,}"],
        ["propensities", "logged" if report["propensities"] else "not logged"],
    ]
    return Section("Counts", order, (Table(("what", "value"), rows),))


def _refused_sections(report: Mapping[str, Any]) -> list[Section]:
    """What was refused, what is odd, what was done; each with its first place and its mend."""
    titles: dict[Severity, tuple[str, str]] = {
        "error": ("What was refused", "Nothing was."),
        "warning": ("What is odd", "Nothing that the rules ask for."),
        "note": ("What was done to the rows", "Nothing: they stand as they came."),
    }
    sections = []
    for severity, (title, nothing) in titles.items():
        broken = {n: r for n, r in report["rules"].items() if r["severity"] == severity}
        broken = {name: rule for name, rule in broken.items() if rule["rows"]}
        rows = [_broken_row(name, rule) for name, rule in broken.items()]
        text = f"Here {SEVERITIES[severity].replace('`', '')}." if rows else nothing
        heads = ("rule", "rows", "episodes", "first place", "there", "how to mend it")
        sections.append(Section(title, text, (Table(heads, rows),) if rows else ()))
    return sections


def _broken_row(name: str, rule: Mapping[str, Any]) -> list[str]:
    first = rule["first"]
    if first is None:
        columns = rule.get("columns", [])
        more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
        place, found, mend = ", ".join(columns[:_SHOWN]) + more, rule["text"], rule["mend"]
    else:
        place = f"{first['file']}, row {first['row']}, column {first['column']}"
        found = f"expected {first['expected']}, got {first['found']}"
        mend = first["mend"]
    return [name, f"{rule['rows']:,}", f"{rule['episodes']:,}", place, found, mend]


def _distributions_section(report: Mapping[str, Any], tally: Tally, figures: Path) -> Section:
    told = {
        "rewards": "reward of a row",
        "returns": "return of an episode, not discounted",
        "lengths": "rows of an episode",
    }
    rows = [
        [label, *(f"{value:.4g}" for value in report["distributions"][name].values())]
        for name, label in told.items()
    ]
    drawn = [
        _drawn(getattr(tally, name), label, f"{name.capitalize()} of the log", figures, name)
        for name, label in told.items()
    ]
    heads = ("what", *(f"{share:.0%}" for share in SHARES))
    text = "Shares of the values that do not exceed each number; numbers are exact to 3 %."
    return Section("Rewards, returns, lengths", text, (Table(heads, rows),), drawn)


def _drawn(found: Histogram, label: str, title: str, figures: Path, name: str) -> FigureFile:
    edges, heights = found.bars(_BARS)
    figure = plots.bars(edges, heights, label=label, title=title)
    return FigureFile(plots.save(figure, figures / f"{name}.png"), f"{title}: {label}.")


def _actions_section(
    report: Mapping[str, Any], counts: Int64[np.ndarray, " A"], figures: Path
) -> Section:
    told = report["actions"]
    each = told["rows_an_action_taken"]
    text = (
        f"{told['taken']:,} of {told['catalogue']:,} actions were taken, {told['taken_once']:,} of "
        f"them once; half of them in at most {each['median']:,.0f} rows. The commonest tenth of "
        f"the catalogue makes {told['share_of_commonest_tenth']:.1%} of the rows."
    )
    commonest = [[str(one["action"]), f"{one['rows']:,}"] for one in told["commonest"]]
    figure = plots.save(plots.action_frequency(counts), figures / "actions.png")
    table = Table(("action", "rows"), commonest, "The commonest actions")
    return Section(
        "Actions",
        text,
        (table,),
        (FigureFile(figure, "Rows of each action, most frequent first: the tail on the right."),),
    )


def _propensity_section(report: Mapping[str, Any], tally: Tally, figures: Path) -> Section:
    told = report["propensities"]
    title = "Propensity overlap"
    if told is None:
        return Section(
            title,
            "The log has no probabilities of its actions. Estimates of a policy's value that "
            "weigh by them need a model of the behaviour.",
        )
    text = (
        f"{told['meant']:.1%} of the rows took an action that was at least ten times as probable "
        f"as a uniform one, {told['below_uniform']:.1%} one that was less probable. Weighed for a "
        f"uniform policy, the log is worth {told['effective_rows_of_uniform']:,.0f} rows of "
        f"{report['kept']['rows']:,}."
    )
    values = report["distributions"]["propensities"]
    table = Table(tuple(values), [[f"{value:.4g}" for value in values.values()]])
    label = "probability of the logged action"
    drawn = _drawn(tally.propensities, label, "Propensities", figures, "propensities")
    return Section(title, text, (table,), (drawn,))


def _columns_section(report: Mapping[str, Any]) -> Section:
    columns = report["columns"]
    rows = [
        [one["name"], *(f"{one[kind]:.4g}" for kind in ("mean", "std", "min", "max"))]
        for one in columns[:200]
    ]
    more = f" The first 200 of {len(columns):,}." if len(columns) > 200 else ""
    heads = ("number", "mean", "deviation", "least", "most")
    return Section("Observation", f"Over the rows kept.{more}", (Table(heads, rows),))


def _rules_section(report: Mapping[str, Any]) -> Section:
    rows = [
        [name, rule["severity"], f"{rule['rows']:,}", rule["text"].replace("`", "")]
        for name, rule in report["rules"].items()
    ]
    text = "Every rule that was asked, and the rows that break it."
    return Section("Rules", text, (Table(("rule", "severity", "rows", "what holds"), rows),))


def _provenance(report: Mapping[str, Any]) -> dict[str, str]:
    sources = report["sources"]
    told = {one["url"]: f"{one['bytes']:,} bytes, SHA-256 {one['sha256']}" for one in sources[:50]}
    if len(sources) > 50:
        told["more files"] = f"{len(sources) - 50:,}, in report.json"
    return told | {"settings": json.dumps(report["settings"], sort_keys=True)}
