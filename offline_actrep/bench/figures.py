"""What a bench shows in one look. Arrays in, figures out, in the style of `plots`.

A method has one colour and one dash on every figure: its place in the bench's order, headline
methods first. Names stand beside what is drawn wherever there is room, so that colour is never the
only key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullLocator

from offline_actrep import plots
from offline_actrep.bench.selection import Selection
from offline_actrep.bench.statistics import Profile
from offline_actrep.bench.verdicts import FAILS, HOLDS, NOT_RUN, OPEN, Verdict
from offline_actrep.core.estimate import Estimate

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SHORT = "normalised return"
SCORE = f"{SHORT} (0 random, 1 best known)"
LETTER = 5.2
"""Points that a letter of a label takes, at most, on average."""
VERDICTS = {HOLDS: plots.PALETTE[2], OPEN: plots.PALE, FAILS: plots.PALETTE[1]}


@dataclass(frozen=True)
class Panel:
    """Interquartile means on one log.

    Attributes:
        title: the log.
        rows: by method; those not run are missing.
        behaviour: normalised return of the log's own episodes.
    """

    title: str
    rows: Mapping[str, Estimate]
    behaviour: float


@dataclass(frozen=True, eq=False)
class Line:
    """A method's way over an axis, `[K]`: a middle and a band."""

    places: Float64[np.ndarray, " K"]
    middle: Float64[np.ndarray, " K"]
    low: Float64[np.ndarray, " K"]
    high: Float64[np.ndarray, " K"]


def intervals(panels: Sequence[Panel], methods: Sequence[str], order: Sequence[str]) -> Figure:
    """Methods as rows, logs as columns: a dot and its 95 % interval each.

    Raises:
        ValueError: there is nothing to draw.
    """
    _refuse_nothing(panels)
    shown = [name for name in methods if any(name in panel.rows for panel in panels)]
    width = 2.6 + 2.0 * len(panels)
    figure = plots.new_figure(max(plots.WIDTH, width), 1.5 + 0.27 * len(shown))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        plots.clean(ax)
        ax.grid(visible=False, axis="y")
        ax.set_title(plots.wrap(panel.title, 24), fontsize=10.5)
        low, high = _span([panel])
        ax.set(xlim=(low, high), ylim=(len(shown) - 0.4, -0.6))
        for place, colour in ((0.0, plots.PALE), (1.0, plots.PALE)):
            ax.axvline(place, color=colour, linewidth=1.4, zorder=1)
        ax.axvline(panel.behaviour, color=plots.GREY, linestyle="--", linewidth=1.2, zorder=1)
        for row, name in enumerate(shown):
            if name in panel.rows:
                _draw_interval(ax, row, panel.rows[name], _style(name, order), (low, high))
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MultipleLocator(0.5))
        ax.set_xlabel(SHORT)
    axes[0].set_yticks(range(len(shown)), [plots.wrap(name, 34) for name in shown])
    dashed = Line2D([], [], color=plots.GREY, linestyle="--", label="behaviour (the log)")
    plots.legend_below(figure, [dashed])
    return figure


def profiles(found: Mapping[str, Profile], order: Sequence[str]) -> Figure:
    """Share of runs above each normalised return: higher is better everywhere.

    Raises:
        ValueError: there is nothing to draw.
    """
    _refuse_nothing(found)
    figure = plots.new_figure(plots.WIDTH, 4.2)
    ax = figure.subplots()
    plots.clean(ax)
    for name, profile in found.items():
        style = _style(name, order)
        line = {key: style[key] for key in ("color", "linestyle", "linewidth")}
        ax.plot(profile.thresholds, profile.share, **line)
        ax.fill_between(
            profile.thresholds, profile.low, profile.high, color=style["color"], alpha=0.12, lw=0
        )
    ax.set(ylim=(-0.02, 1.02))
    ax.set_xlabel(SCORE)
    ax.set_ylabel("runs that earn more (%)")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
    plots.legend_below(figure, _keys(found, order, marked=False))
    return figure


def curves(
    panels: Mapping[str, Mapping[str, Line]], behaviours: Mapping[str, float], order: Sequence[str]
) -> Figure:
    """Return over gradient steps, a panel a log; the band reaches from the worst seed to the best.

    Raises:
        ValueError: there is nothing to draw.
    """
    return _lines(
        panels,
        order,
        label="gradient steps",
        behaviours=behaviours,
        ticks=FuncFormatter(lambda steps, _: f"{steps / 1000:g}k" if steps else "0"),
    )


def sweeps(panels: Mapping[str, Mapping[str, Line]], order: Sequence[str]) -> Figure:
    """Return against the number of actions, a panel a world; 95 % intervals as bands.

    Raises:
        ValueError: there is nothing to draw.
    """
    figure = _lines(panels, order, label="actions", behaviours={}, ticks=None)
    for ax, methods in zip(figure.axes, panels.values(), strict=True):
        places = sorted({float(place) for line in methods.values() for place in line.places})
        ax.set_xscale("log")
        ax.set_xticks(places, [_count(place) for place in places], fontsize=9)
        ax.xaxis.set_minor_locator(NullLocator())
    return figure


def costs(
    panels: Mapping[str, Mapping[str, tuple[float, Estimate]]], order: Sequence[str]
) -> Figure:
    """Return against seconds from the log to a policy, a panel a log.

    Raises:
        ValueError: there is nothing to draw.
    """
    _refuse_nothing(panels)
    figure, axes = _grid(len(panels))
    for ax, (title, methods) in zip(axes, panels.items(), strict=False):
        ax.set_title(plots.wrap(title, 40), fontsize=10.5)
        ax.set_xscale("log")
        for name, (seconds, score) in methods.items():
            style = _style(name, order)
            if np.isfinite([score.low, score.high]).all():
                ax.plot([seconds] * 2, [score.low, score.high], color=style["color"], lw=1.6)
            marked = {key: style[key] for key in ("color", "marker")}
            ax.plot([seconds], [score.value], **marked, markersize=7, linestyle="")
        taken = [seconds for seconds, _ in methods.values()]
        few = (1, 2, 5) if max(taken) > 10 * min(taken) else (1, 1.5, 2, 3, 4, 5, 7)
        ax.xaxis.set_major_locator(LogLocator(subs=few))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
    _label(figure, axes, "seconds to fit, re-label and train")
    every = {name: None for methods in panels.values() for name in methods}
    plots.legend_below(figure, _keys(every, order, lines=False))
    return figure


def against_truth(panels: Mapping[str, Selection], order: Sequence[str]) -> Figure:
    """What FQE thinks of a policy over what it earned, a panel a log, a mark a row.

    Methods named in `order` are in colour, the others grey. A panel reaches above and below what
    was earned by half of what that spans; what lies outside stands at its edge, hollow.

    Raises:
        ValueError: there is nothing to draw.
    """
    _refuse_nothing(panels)
    figure, axes = _grid(len(panels))
    for ax, (title, found) in zip(axes, panels.items(), strict=False):
        ax.set_title(plots.wrap(title, 40), fontsize=10.5)
        low, high = min(found.earned.min(), 0.0), max(found.earned.max(), 0.0)
        air = max(0.05 * (high - low), 1e-9)
        edges = low - 0.5 * (high - low) - air, high + 0.5 * (high - low) + air
        ax.set(xlim=(low - air, high + air), ylim=edges)
        ax.plot(edges, edges, color=plots.PALE, linewidth=1.4, zorder=1)
        shown = np.clip(found.thought, *edges)
        for name, x, y, inside in zip(
            found.methods, found.earned, shown, shown == found.thought, strict=True
        ):
            known = name in order
            style = _style(name, order) if known else {"color": plots.GREY, "marker": "o"}
            face = style["color"] if inside else "none"
            ax.plot(
                [x], [y], color=style["color"], marker=style["marker"], markerfacecolor=face,
                markersize=5 if known else 3, alpha=1.0 if known else 0.5, linestyle="",
                clip_on=False, zorder=3 if known else 2,
            )  # fmt: skip
    _label(figure, axes, "earned (discounted return)", "thought by FQE, from the log alone")
    there = {name: None for found in panels.values() for name in found.methods}
    keys = _keys({name: None for name in there if name in order}, order, lines=False)
    if len(keys) < len(there):
        grey = {"color": plots.GREY, "marker": "o", "linestyle": "", "markersize": 3}
        keys.append(Line2D([], [], **grey, label="other methods"))
    plots.legend_below(figure, keys)
    return figure


def claims(verdicts: Sequence[Verdict]) -> Figure:
    """Claims and their methods as rows, logs and sweeps as columns: what the intervals say.

    A cell has the verdict's colour, and counts the rivals that are told to be worse.

    Args:
        verdicts: claim by claim.

    Raises:
        ValueError: there is nothing to draw.
    """
    _refuse_nothing(verdicts)
    places = list(dict.fromkeys(each.where for each in verdicts))
    headed = (line for v in verdicts for line in ((v.claim, ""), (v.claim, v.better)))
    lines = list(dict.fromkeys(headed))
    names = [plots.plain(better or claim) for claim, better in lines]
    width = LETTER * max(len(better) for _, better in lines)
    figure = plots.new_figure(
        max(plots.WIDTH, width / 72 + 1.1 * len(places)), 1.2 + 0.26 * len(lines)
    )
    ax = figure.subplots()
    ax.set(xlim=(-0.5, len(places) - 0.5), ylim=(len(lines) - 0.5, -0.5))
    ax.spines[:].set_visible(False)
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(places)), [plots.wrap(place.replace("_", " "), 12) for place in places])
    ax.set_yticks(range(len(lines)), names)
    ax.tick_params(length=0, labelsize=9)
    ax.tick_params(axis="y", pad=width)
    for label, (_, better) in zip(ax.get_yticklabels(), lines, strict=True):
        label.set(horizontalalignment="left", fontweight="normal" if better else "bold")
    for each in verdicts:
        row = lines.index((each.claim, each.better))
        _draw_verdict(ax, places.index(each.where), row, each)
    keys = [Patch(color=colour, label=verdict) for verdict, colour in VERDICTS.items()]
    plots.legend_below(figure, keys)
    return figure


def _draw_verdict(ax: Axes, column: int, row: int, each: Verdict) -> None:
    ax.add_patch(
        Rectangle((column - 0.47, row - 0.43), 0.94, 0.86, color=VERDICTS[each.verdict], lw=0)
    )
    worse = sum(verdict == HOLDS for verdict in each.against.values())
    text = f"{worse} of {len(each.against)}" if each.against else NOT_RUN
    colour = plots.INK if each.verdict == OPEN else "white"
    ax.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)


def _lines(
    panels: Mapping[str, Mapping[str, Line]],
    order: Sequence[str],
    *,
    label: str,
    behaviours: Mapping[str, float],
    ticks: FuncFormatter | None,
) -> Figure:
    _refuse_nothing(panels)
    figure, axes = _grid(len(panels))
    for ax, (title, methods) in zip(axes, panels.items(), strict=False):
        ax.set_title(plots.wrap(title, 40), fontsize=10.5)
        for name, line in methods.items():
            style = _style(name, order)
            ax.plot(line.places, line.middle, **style, markersize=4)
            band = np.isfinite(line.low) & np.isfinite(line.high)
            ax.fill_between(
                line.places, line.low, line.high, where=band, color=style["color"], alpha=0.13, lw=0
            )
        if title in behaviours:
            ax.axhline(behaviours[title], color=plots.GREY, linestyle="--", linewidth=1.1, zorder=1)
        if ticks is not None:
            ax.xaxis.set_major_formatter(ticks)
    _label(figure, axes, label)
    every = {name: None for methods in panels.values() for name in methods}
    keys = _keys(every, order)
    if behaviours:
        keys.append(Line2D([], [], color=plots.GREY, linestyle="--", label="behaviour (the log)"))
    plots.legend_below(figure, keys)
    return figure


def _grid(panels: int) -> tuple[Figure, list[Axes]]:
    """As many panels in rows of two."""
    columns = min(2, panels)
    rows = -(-panels // columns)
    figure = plots.new_figure(plots.WIDTH, 1.5 + 2.5 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[:panels]:
        plots.clean(ax)
    for ax in axes[panels:]:
        ax.remove()
    return figure, axes[:panels]


def _label(figure: Figure, axes: Sequence[Axes], below: str, beside: str = SCORE) -> None:
    """The axis below, once a column; what all panels share, once."""
    for ax in axes[-2:]:
        ax.set_xlabel(below)
    figure.supylabel(beside, fontsize=10)


def _style(name: str, order: Sequence[str]) -> dict[str, Any]:
    place = list(order).index(name)
    marker = MARKERS[(place + place // len(MARKERS)) % len(MARKERS)]
    return plots.line_style(place) | {"marker": marker}


def _keys(
    names: Mapping[str, object], order: Sequence[str], *, lines: bool = True, marked: bool = True
) -> list[Line2D]:
    keys = []
    for name in sorted(names, key=list(order).index):
        style = _style(name, order)
        style |= {} if lines else {"linestyle": ""}
        style |= {} if marked else {"marker": ""}
        keys.append(Line2D([], [], **style, label=name))
    return keys


def _draw_interval(
    ax: Axes,
    row: int,
    score: Estimate,
    style: Mapping[str, Any],
    edges: tuple[float, float],
) -> None:
    """An end that is not finite is drawn to the panel's edge, dotted."""
    colour, whole = style["color"], np.isfinite([score.low, score.high]).all()
    ends = np.clip([score.low, score.high], *edges)
    ax.plot(ends, [row, row], color=colour, linewidth=2, linestyle="-" if whole else ":")
    ax.plot([score.value], [row], color=colour, marker=style["marker"], markersize=5.5)


def _span(panels: Sequence[Panel]) -> tuple[float, float]:
    ends = [0.0, 1.0, *(panel.behaviour for panel in panels)]
    for panel in panels:
        ends += [end for e in panel.rows.values() for end in (e.low, e.value, e.high)]
    finite = [end for end in ends if np.isfinite(end)]
    air = 0.05 * (max(finite) - min(finite))
    return min(finite) - air, max(finite) + air


def _count(count: float) -> str:
    return f"{count / 1000:g}k" if count >= 10_000 else f"{count:,.0f}"


def _refuse_nothing(what: Sequence[object] | Mapping[str, object]) -> None:
    if not what:
        raise ValueError("there is nothing to draw: no rows of the methods and logs asked for")
