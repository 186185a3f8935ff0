"""Arrays in, figures out: what a report draws.

Every function makes a new `Figure` and touches nothing else: no pyplot, no change of settings.
A method's colour is its place in the mapping it comes in, so a caller who keeps one order gives
a method one colour on every page. Names are drawn as they are written: a dollar sign does not
start a formula.
"""

import io
import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Real, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import (
    EngFormatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)
from scipy.spatial import KDTree

from offline_actrep.core.estimate import Estimate

# Okabe and Ito's colours, told apart by readers of every kind of colour vision; their yellow is
# left out, which is too pale for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
INK = "#222222"
GREY = "#767676"
PALE = "#DDDDDD"
FAINT = "#EEEEEE"
WIDTH = 7.2  # inches: a column of text, on screen and on paper
DPI = 144

Number = float | int
"""Written out because the shape checks take `float` at its word."""

Box = tuple[Number, Number, Number, Number]
"""A rectangle of the unit square: x_low, x_high, y_low, y_high."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One training run at K moments; NaN stands where a moment was not measured.

    What is not finite is not drawn, and the line joins its neighbours.

    Attributes:
        steps: gradient steps, or decisions of a learner in the world.
        returns: mean undiscounted return in the true world, in units of reward.
        start_q: the critic's value at the start state, in units of discounted reward.
        near_share: share 0..1 of the actor's points that lie near the point of a real action.
    """

    steps: Int[np.ndarray, " K"]
    returns: Float[np.ndarray, " K"] | None = None
    start_q: Float[np.ndarray, " K"] | None = None
    near_share: Float[np.ndarray, " K"] | None = None


@dataclass(frozen=True, eq=False)
class PointPanel:
    """The points of all actions in one state, in one colouring.

    Attributes:
        title: which state.
        points: in the plane; see `project` for more than two coordinates.
        colour: a number an action (viridis and a colour bar) or red, green, blue in 0..1.
        colour_label: what the colour says, with its unit.
        chosen: the policy's own point, before decoding, or None.
        logged: the actions the log holds in this state, or None.
    """

    title: str
    points: Float[np.ndarray, "A 2"]
    colour: Float[np.ndarray, " A"] | Float[np.ndarray, "A 3"]
    colour_label: str
    chosen: Float[np.ndarray, "2"] | None = None
    logged: Bool[np.ndarray, " A"] | None = None


@dataclass(frozen=True)
class Scene:
    """A unit square to walk in.

    Attributes:
        walls: what cannot be entered.
        regions: label, rectangle and colour of each place worth naming.
        start: x and y where an episode begins.
    """

    walls: Sequence[Box]
    regions: Sequence[tuple[str, Box, str]]
    start: tuple[Number, Number]


def method_colours(names: Iterable[str]) -> dict[str, str]:
    """The colour of each name by its place; after the last colour the first comes again."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


_CURVE_PANELS = (
    ("returns", "true return\n(reward)"),
    ("start_q", "Q at the start state\n(discounted reward)"),
    ("near_share", "chosen points near\na real point (%)"),
)


def learning_curves(
    curves: Mapping[str, Curve | Sequence[Curve]], *, references: Mapping[str, Number]
) -> Figure:
    """True return, value at the start and share of near points, over steps.

    Several runs of a method are thin lines under a bold mean, taken at the steps that all of
    them have. A panel that no run has data for is left out. A diverging Q turns its axis
    logarithmic.

    Args:
        references: returns to compare with, drawn as labelled dashed lines in the first panel.

    Raises:
        ValueError: there is nothing to draw.
    """
    runs = {name: [c] if isinstance(c, Curve) else list(c) for name, c in curves.items()}
    series = {field: _measured(runs, field) for field, _ in _CURVE_PANELS}
    shown = [(field, label) for field, label in _CURVE_PANELS if any(series[field].values())]
    if not shown:
        raise ValueError("no curve holds a return, a start value or a share of near points")
    figure = new_figure(WIDTH, 0.9 + 2.3 * len(shown))
    axes = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    for ax, (field, label) in zip(axes, shown, strict=True):
        clean(ax)
        ax.set_ylabel(label)
        _draw_runs(ax, series[field])
        if field == "returns":
            _draw_references(ax, references)
        elif field == "start_q":
            _tame(ax, series[field])
        else:
            ax.set_ylim(-0.04, 1.04)
            ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}"))
    axes[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[-1].set_xlabel("steps")
    legend_below(
        figure, [Line2D([], [], **line_style(i), label=name) for i, name in enumerate(runs)]
    )
    return figure


_Series = dict[str, list[tuple[np.ndarray, np.ndarray]]]


def _measured(runs: Mapping[str, Sequence[Curve]], field: str) -> _Series:
    """Per method the steps and values of the runs that measured the field at least once."""
    found: _Series = {}
    for name, curves in runs.items():
        pairs = [(curve.steps, getattr(curve, field)) for curve in curves]
        known = [(s[np.isfinite(v)], v[np.isfinite(v)]) for s, v in pairs if v is not None]
        found[name] = [(steps, values) for steps, values in known if len(steps)]
    return found


def line_style(place: int) -> dict[str, Any]:
    """Colour by place; beyond the palette's length the dashes change too."""
    dashes = DASHES[place // len(PALETTE) % len(DASHES)]
    return {"color": PALETTE[place % len(PALETTE)], "linestyle": dashes, "linewidth": 2.2}


def _draw_runs(ax: Axes, series: _Series) -> None:
    for place, runs in enumerate(series.values()):
        style = line_style(place)
        if len(runs) > 1:
            for steps, values in runs:
                ax.plot(steps, values, **{**style, "linewidth": 0.9}, alpha=0.45)
        for steps, values in _mean(runs):
            few = "o" if len(steps) <= 30 else ""
            ax.plot(steps, values, **style, marker=few, markersize=3.5)


def _mean(runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The mean run, at the steps that all runs have: one pair, or none."""
    if not runs:
        return []
    common = runs[0][0]
    for steps, _ in runs[1:]:
        common = np.intersect1d(common, steps)
    if not len(common):
        return []
    return [(common, np.mean([v[np.isin(s, common)] for s, v in runs], axis=0))]


def _tame(ax: Axes, series: _Series) -> None:
    """A logarithmic axis, linear about zero, where a diverging run would flatten the others."""
    sizes = np.abs(np.concatenate([values for runs in series.values() for _, values in runs]))
    usual = float(np.median(sizes))
    if usual > 0 and sizes.max() > 1000 * usual:
        ax.set_yscale("symlog", linthresh=usual)


def _draw_references(ax: Axes, references: Mapping[str, Number]) -> None:
    """Dashed lines, their names beside the axes, pushed apart where they would touch."""
    for value in references.values():
        ax.axhline(value, color=GREY, linestyle="--", linewidth=1, zorder=1)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)
    ranked = sorted(references, key=references.__getitem__)
    texts = [wrap(f"{name} {references[name]:.4g}", 18) for name in ranked]
    lines = max((text.count("\n") + 1 for text in texts), default=1)
    exact = [(references[name] - low) / (high - low) for name in ranked]
    for text, height in zip(texts, _spread(exact, gap=0.085 * lines), strict=True):
        ax.text(1.015, height, text, transform=ax.transAxes, va="center", fontsize=9)


def _spread(places: Sequence[float], *, gap: float) -> list[float]:
    """Ascending places in 0..1, moved no more than needed to be `gap` apart."""
    moved = list(places)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], moved[i + 1] - gap if i + 1 < len(moved) else 1.0)
    return moved


def project(points: Float[np.ndarray, "N E"]) -> Float64[np.ndarray, "N 2"]:
    """Points in the plane, to be looked at.

    Two coordinates stay as they are and one gets a zero beside it. More are centred, turned to
    their two directions of greatest variance (PCA) and, where they would leave the square
    [-1, 1]^2, divided by one number. What is to be shown in one picture must be projected in
    one call, the policy's choice too.
    """
    n, e = points.shape
    exact = points.astype(np.float64)
    if e <= 2:
        return np.hstack([exact, np.zeros((n, 2 - e))])
    centred = exact - exact.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    plane = centred @ directions.T
    plane = np.hstack([plane, np.zeros((n, 2 - plane.shape[1]))])
    return plane / max(1.0, float(np.abs(plane).max()))


def effect_colours(effects: Float[np.ndarray, "A 2"]) -> Float64[np.ndarray, "A 3"]:
    """Hue = direction (red is to the right, then anticlockwise), vividness = length.

    The longest effect has the full colour; no effect is grey.
    """
    lengths = np.linalg.norm(effects.astype(np.float64), axis=1)
    share = lengths / max(float(lengths.max(initial=0.0)), np.finfo(np.float64).tiny)
    hue = np.arctan2(effects[:, 1], effects[:, 0]) / (2 * np.pi) % 1.0
    return hsv_to_rgb(np.stack([hue, share, 0.6 + 0.4 * share], axis=1))


def point_map(panels: Sequence[PointPanel], *, columns: int = 2) -> Figure:
    """Where the actions lie in [-1, 1]^2: a row of panels a state, a column a colouring.

    A star is the policy's point, a ring an action that the log holds in the state. A wheel
    beside the first panel of a column explains colours that mean directions.

    Args:
        panels: row by row, `columns` a row; the last row may be short.

    Raises:
        ValueError: there are no panels.
    """
    if not panels:
        raise ValueError("a map of points needs at least one panel, got none")
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(max(4.8, 3.6 * columns), 0.8 + 2.8 * rows, layout="compressed")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, panel in enumerate(panels):
        ax = grid.flat[place]
        _draw_points(ax, panel, wheel=place < columns)
        if place % columns == 0:
            ax.set_ylabel("coordinate 2 of the point")
        if place + columns >= len(panels):
            ax.set_xlabel("coordinate 1 of the point")
            ax.tick_params(labelbottom=True)
    for ax in grid.flat[len(panels) :]:
        ax.remove()
    legend_below(figure, _point_keys(panels))
    return figure


def _draw_points(ax: Axes, panel: PointPanel, *, wheel: bool) -> None:
    ax.set_title(wrap(panel.title, 36), fontsize=10.5)
    ax.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.add_patch(Rectangle((-1, -1), 2, 2, fill=False, edgecolor=GREY, linewidth=1, zorder=1))
    x, y = panel.points.T
    if panel.colour.ndim == 1:
        drawn = ax.scatter(x, y, s=7, c=panel.colour, cmap="viridis", linewidths=0)
        bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.9)
        bar.set_label(plain(panel.colour_label))
        bar.outline.set_visible(False)  # type: ignore[operator]
    else:
        ax.scatter(x, y, s=7, c=panel.colour, linewidths=0)
        if wheel:
            _draw_wheel(ax, panel.colour_label)
    if panel.logged is not None:
        ring = {"facecolors": "none", "edgecolors": INK, "linewidths": 0.8}
        ax.scatter(x[panel.logged], y[panel.logged], s=22, **ring, label="logged")
    if panel.chosen is not None:
        ax.plot(*panel.chosen, **_STAR, label="chosen")


_STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 17,
    "color": INK,
    "markeredgecolor": "white",
    "markeredgewidth": 1.2,
    "linestyle": "",
}


def _draw_wheel(ax: Axes, label: str) -> None:
    """What the colours mean: a disc of all effects, beside the axes."""
    wheel = ax.inset_axes((1.06, 0.66, 0.28, 0.28))
    side = np.linspace(-1, 1, 81)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    inside = np.linalg.norm(plane, axis=1) <= 1
    image = np.ones((len(plane), 3))
    image[inside] = effect_colours(plane[inside])
    wheel.imshow(image.reshape(81, 81, 3), origin="lower", extent=(-1, 1, -1, 1))
    wheel.set_axis_off()
    ax.text(
        1.2,
        0.62,
        f"{wrap(label, 14)}\n(centre: none,\nrim: longest)",
        transform=ax.transAxes,
        ha="center",
        va="top",
        fontsize=9,
    )


def _point_keys(panels: Sequence[PointPanel]) -> list[Artist]:
    keys: list[Artist] = []
    if any(panel.chosen is not None for panel in panels):
        keys.append(Line2D([], [], **{**_STAR, "markersize": 12}, label="the policy's point"))
    if any(panel.logged is not None for panel in panels):
        ring = Line2D([], [], marker="o", markerfacecolor="none", color=INK, linestyle="")
        ring.set_label("action in the log here")
        keys.append(ring)
    return [*keys, Patch(fill=False, edgecolor=GREY, label="the square [-1, 1]²")]


@dataclass(frozen=True, eq=False)
class ValuedState:
    """What every action is worth in one state, and where each representation puts it.

    Attributes:
        title: which state.
        values: of every action, in units of reward.
        points: by the representation's name, in the order of the columns.

    Raises:
        ValueError: another number of points than of values, or a value that is not finite.
    """

    title: str
    values: Float[np.ndarray, " A"]
    points: Mapping[str, Float[np.ndarray, "A _"]]

    def __post_init__(self) -> None:
        lost = np.flatnonzero(~np.isfinite(self.values))
        if len(lost):
            raise ValueError(
                f"{self.title!r}: the value of action {lost[0]} is {self.values[lost[0]]}; every "
                "action needs a finite one"
            )
        for name, points in self.points.items():
            if len(points) != len(self.values):
                raise ValueError(
                    f"{self.title!r}: {name} has points of {len(points)} actions, there are "
                    f"values of {len(self.values)}"
                )


def value_map(states: Sequence[ValuedState], *, label: str) -> Figure:
    """Are actions of like worth neighbours? A row a state, a column a representation.

    The colour is the value; one bar serves all panels of a state, and the 2 % at either end have
    the colour of the end. Under a panel stands its `mixing`, of the points as they are; points of
    more than two coordinates are drawn in their two main directions (`project`).

    Args:
        states: rows; all with the same representations.
        label: what the values are, with their unit.

    Raises:
        ValueError: no states, or states with other representations or none.
    """
    names = list(states[0].points) if states else []
    if not names or any(list(state.points) != names for state in states):
        raise ValueError("a map of values needs states, all with the same representations")
    figure = new_figure(1.5 + 2.1 * len(names), 0.6 + 2.4 * len(states), layout="compressed")
    grid = figure.subplots(len(states), len(names), squeeze=False)
    for place, (row, state) in enumerate(zip(grid, states, strict=True)):
        low, high = np.quantile(state.values, (0.02, 0.98)).tolist()
        for ax, (name, points) in zip(row, state.points.items(), strict=True):
            drawn = _draw_values(ax, points, state.values, (low, high))
            ax.set_xlabel(f"mixing {mixing(points, state.values):.2f}")
            if not place:
                ax.set_title(wrap(name, 20), fontsize=10.5)
        row[0].set_ylabel(wrap(state.title, 26))
        bar = figure.colorbar(drawn, ax=row.tolist(), extend="both", aspect=16, pad=0.02)
        bar.set_label(plain(label))
        bar.outline.set_visible(False)  # type: ignore[operator]
    figure.supxlabel(wrap(_MIXING, 32 * len(names)), fontsize=9, color=GREY)
    return figure


_MIXING = (
    "mixing: how much the values of an action and its nearest point's action differ, over how "
    "much any two differ (0 sorted, 1 mixed)"
)


def _draw_values(
    ax: Axes, points: np.ndarray, values: np.ndarray, ends: tuple[float, float]
) -> PathCollection:
    """The points, those of usual values below; in the square, or a view that fits a projection."""
    flat = project(points)
    middle, reach = np.zeros(2), 1.04
    if points.shape[1] > 2:
        middle = (flat.max(axis=0) + flat.min(axis=0)) / 2
        reach = 1.04 * float(np.abs(flat - middle).max()) or 1.0
    (left, low), (right, high) = middle - reach, middle + reach
    ax.set(aspect="equal", xlim=(left, right), ylim=(low, high), xticks=(), yticks=())
    ax.spines[:].set_color(GREY)
    ax.set_facecolor(FAINT)
    drawn = np.random.default_rng(0).permutation(len(values))
    order = drawn[np.argsort(np.abs(values - np.median(values))[drawn], kind="stable")]
    size = float(np.clip(16_000 / len(values), 3, 14))
    return ax.scatter(
        *flat[order].T,
        c=values[order],
        s=size,
        cmap="viridis",
        vmin=ends[0],
        vmax=ends[1],
        linewidths=0,
    )


def mixing(points: Float[np.ndarray, "A E"], values: Float[np.ndarray, " A"]) -> float:
    """How much an action's value tells of its neighbour's: 0 all, 1 nothing.

    Mean difference of value between an action and the one whose point is nearest (l1; one of them
    where several are), over that between two actions drawn at random. NaN if all values are equal.

    Raises:
        ValueError: fewer than two actions.
    """
    if len(values) < 2:
        raise ValueError(f"neighbours are two actions at least, got {len(values)}")
    exact = values.astype(np.float64)
    nearest = np.asarray(KDTree(points).query(points, k=2, p=1)[1])
    itself = nearest[:, 0] == np.arange(len(points))
    neighbour = np.where(itself, nearest[:, 1], nearest[:, 0])
    near = np.abs(exact - exact[neighbour]).mean()
    ranks = 2 * np.arange(len(exact)) + 1 - len(exact)
    far = 2 * (ranks * np.sort(exact)).sum() / len(exact) / (len(exact) - 1)
    return float(near / far) if far > 0 else float("nan")


def trajectories(scene: Scene, paths: Mapping[str, Sequence[Float[np.ndarray, "_ 2"]]]) -> Figure:
    """The ways each policy took: a panel a policy, a line an episode, a dot where it ended.

    Raises:
        ValueError: there are no policies.
    """
    if not paths:
        raise ValueError("trajectories need at least one policy, got none")
    columns = 2 if len(paths) == 4 else min(3, len(paths))
    rows = math.ceil(len(paths) / columns)
    side = min(4.6, WIDTH / columns)
    figure = new_figure(side * columns, 1.0 + (side + 0.1) * rows, layout="compressed")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours = method_colours(paths)
    for place, (name, walks) in enumerate(paths.items()):
        ax = grid.flat[place]
        _draw_scene(ax, scene)
        _draw_walks(ax, walks, colours[name])
        episodes = f"{len(walks)} episode{'s' * (len(walks) != 1)}"
        ax.set_title(f"{wrap(name, 24)}\n{episodes}", fontsize=10.5)
        if place % columns == 0:
            ax.set_ylabel("y (sides of the square)")
        if place + columns >= len(paths):
            ax.set_xlabel("x (sides of the square)")
            ax.tick_params(labelbottom=True)
    for ax in grid.flat[len(paths) :]:
        ax.remove()
    legend_below(figure, _scene_keys(scene))
    return figure


def _draw_scene(ax: Axes, scene: Scene) -> None:
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    for _, box, colour in scene.regions:
        ax.add_patch(_rectangle(box, facecolor=colour, alpha=0.45, zorder=0.5))
    for box in scene.walls:
        ax.add_patch(_rectangle(box, facecolor="#555555", zorder=1))
    ax.plot(*scene.start, **_START)


_START: dict[str, Any] = {
    "marker": "o",
    "markersize": 8,
    "markerfacecolor": "white",
    "markeredgecolor": INK,
    "markeredgewidth": 1.5,
    "linestyle": "",
    "zorder": 5,
}


def _rectangle(box: Box, **style: Any) -> Rectangle:
    x_low, x_high, y_low, y_high = box
    return Rectangle((x_low, y_low), x_high - x_low, y_high - y_low, linewidth=0, **style)


def _draw_walks(ax: Axes, walks: Sequence[np.ndarray], colour: str) -> None:
    faint = float(np.clip(4 / max(len(walks), 1), 0.25, 0.9))
    for walk in walks:
        ax.plot(walk[:, 0], walk[:, 1], color=colour, linewidth=1.2, alpha=faint, zorder=2)
    ends = np.array([walk[-1] for walk in walks if len(walk)]).reshape(-1, 2)
    ax.scatter(
        *ends.T, s=20, color=colour, edgecolors="white", linewidths=0.6, zorder=4, clip_on=False
    )


def _scene_keys(scene: Scene) -> list[Artist]:
    regions = dict.fromkeys((label, colour) for label, _, colour in scene.regions)
    return [
        Line2D([], [], **_START, label="start"),
        Line2D([], [], marker="o", markersize=5, color=GREY, ls="", label="end of an episode"),
        *([Patch(facecolor="#555555", label="wall")] if scene.walls else []),
        *(Patch(facecolor=colour, alpha=0.45, label=label) for label, colour in regions),
    ]


@dataclass(frozen=True, eq=False)
class FilmStrip:
    """One episode in pictures.

    Attributes:
        title: who acts, and what it earned.
        frames: `[H, W, 3]` pictures in the order of time.
        decisions: how many decisions had been taken at each.
    """

    title: str
    frames: Sequence[UInt8[np.ndarray, "_ _ 3"]]
    decisions: Sequence[int]


def film_strips(strips: Sequence[FilmStrip]) -> Figure:
    """A row an episode, time from left to right.

    Raises:
        ValueError: no strips, or one without frames or with another number of decisions.
    """
    if not strips:
        raise ValueError("film strips need at least one episode, got none")
    for strip in strips:
        if not strip.frames or len(strip.frames) != len(strip.decisions):
            raise ValueError(
                f"{strip.title!r} has {len(strip.frames)} frames and {len(strip.decisions)} "
                "numbers of decisions; both must be the same, and at least 1"
            )
    columns = max(len(strip.frames) for strip in strips)
    height, width = strips[0].frames[0].shape[:2]
    side = max(WIDTH, 9.0) / columns
    figure = new_figure(side * columns, len(strips) * (side * height / width + 0.55))
    rows = figure.subfigures(len(strips), 1, squeeze=False)[:, 0]
    for row, strip in zip(rows, strips, strict=True):
        row.suptitle(plain(strip.title), fontsize=10, x=0.01, ha="left")
        grid = row.subplots(1, columns, squeeze=False)[0]
        for ax, frame, count in zip(grid, strip.frames, strip.decisions, strict=False):
            ax.imshow(frame, interpolation="nearest")
            ax.set_xlabel(f"after {count}", fontsize=9, color=GREY)
            ax.set(xticks=(), yticks=())
            ax.spines[:].set_color(PALE)
        for ax in grid[len(strip.frames) :]:
            ax.remove()
    return figure


def interval_chart(
    rows: Sequence[tuple[str, Estimate]], *, label: str, references: Mapping[str, Number]
) -> Figure:
    """A dot and its 95 % interval a row, first row on top, the numbers to the right.

    An end of an interval that is not finite is an arrow at the edge; a value that is not finite
    has no dot.

    Args:
        label: what is estimated, with its unit.
        references: values to compare with, each a vertical line of its own dashes.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("a chart of intervals needs at least one row, got none")
    names = [wrap(name, 30) for name, _ in rows]
    lines = sum(1 + name.count("\n") for name in names)
    figure = new_figure(WIDTH, 1.3 + 0.24 * lines + 0.12 * len(rows))
    ax = figure.subplots()
    clean(ax)
    ax.grid(visible=False, axis="y")
    low, high = _span(rows, references)
    ax.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6))
    ax.set_xlabel(plain(label))
    ax.set_yticks(range(len(rows)), names)
    ax.tick_params(axis="y", length=0, pad=9)
    for place, (_, estimate) in enumerate(rows):
        _draw_interval(ax, place, estimate, low, high)
    keys: list[Artist] = []
    for (name, value), dashes in zip(
        references.items(), DASHES[1:] * len(references), strict=False
    ):
        style = {"color": GREY, "linestyle": dashes, "linewidth": 1.3}
        ax.axvline(value, **style, zorder=1)
        keys.append(Line2D([], [], **style, label=f"{name} {value:.4g}"))
    legend_below(figure, keys)
    return figure


def _span(
    rows: Sequence[tuple[str, Estimate]], references: Mapping[str, Number]
) -> tuple[float, float]:
    """What the axis must show: all finite ends, values and references, and some air."""
    ends = [end for _, e in rows for end in (e.low, e.value, e.high)]
    finite = [v for v in (*ends, *references.values()) if math.isfinite(v)] or [0.0]
    air = 0.06 * (max(finite) - min(finite)) or 0.5 * abs(finite[0]) or 1.0
    return min(finite) - air, max(finite) + air


def _draw_interval(ax: Axes, place: int, estimate: Estimate, low: float, high: float) -> None:
    left = estimate.low if math.isfinite(estimate.low) else low
    right = estimate.high if math.isfinite(estimate.high) else high
    colour = PALETTE[0]
    ax.plot([left, right], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
    for end, edge, finite, arrow in (
        (left, low, math.isfinite(estimate.low), "<"),
        (right, high, math.isfinite(estimate.high), ">"),
    ):
        marker = "|" if finite else arrow
        ax.plot([end if finite else edge], [place], color=colour, marker=marker, clip_on=False)
    if math.isfinite(estimate.value):
        ax.plot([estimate.value], [place], color=colour, marker="o", markersize=7)
    ax.text(1.03, place, str(estimate), transform=ax.get_yaxis_transform(), va="center", fontsize=9)


def histogram(values: Real[np.ndarray, " N"], *, label: str, title: str) -> Figure:
    """How often each value occurs; whole numbers over a short range get a bar each.

    Values that are not finite are counted in the title and left out.

    Args:
        label: what the values are, with their unit.

    Raises:
        ValueError: no value is finite.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        raise ValueError(f"a histogram needs at least one finite value, got {len(values)} others")
    figure = new_figure(WIDTH, 3.4)
    ax = figure.subplots()
    clean(ax)
    ax.hist(finite, bins=_bins(finite), color=PALETTE[0], edgecolor="white", linewidth=0.4)
    lost = len(values) - len(finite)
    counted = f"n = {len(finite):,}" + (f", {lost:,} not finite left out" if lost else "")
    ax.set_title(f"{wrap(title, 60)}\n({counted})", fontsize=10.5)
    ax.set_xlabel(plain(label))
    ax.set_ylabel("values (count)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=_whole(finite), steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure


def bars(
    edges: Float64[np.ndarray, " B_plus_1"],
    heights: Float64[np.ndarray, " B"],
    *,
    label: str,
    title: str,
) -> Figure:
    """A histogram that was counted elsewhere: so many values between each two edges.

    Args:
        label: what the values are, with their unit.
    """
    figure = new_figure(WIDTH, 3.4)
    ax = figure.subplots()
    clean(ax)
    ax.bar(
        edges[:-1],
        heights,
        width=np.diff(edges),
        align="edge",
        color=PALETTE[0],
        edgecolor="white",
        linewidth=0.4,
    )
    ax.set_title(f"{wrap(title, 60)}\n(n = {round(heights.sum()):,})", fontsize=10.5)
    ax.set_xlabel(plain(label))
    ax.set_ylabel("values (count)")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure


def _whole(finite: np.ndarray) -> bool:
    return bool((finite == np.round(finite)).all())


def _bins(finite: np.ndarray) -> list[float]:
    low, high = finite.min(), finite.max()
    if high - low <= 60 and _whole(finite):
        return np.arange(low - 0.5, high + 1.0).tolist()
    bars = int(np.clip(np.sqrt(len(finite)), 10, 60))
    return np.histogram_bin_edges(finite, bins=bars).tolist()


def action_frequency(counts: Int[np.ndarray, " A"]) -> Figure:
    """How often each action was logged, from the commonest down, both axes logarithmic.

    Raises:
        ValueError: no action was logged.
    """
    ranked = np.sort(counts[counts > 0])[::-1]
    if not len(ranked):
        raise ValueError(f"none of the {len(counts):,} actions was logged, there is no frequency")
    figure = new_figure(WIDTH, 3.6)
    ax = figure.subplots()
    clean(ax)
    few = "o" if len(ranked) <= 60 else ""
    ax.plot(np.arange(1, len(ranked) + 1), ranked, color=PALETTE[0], marker=few, markersize=4)
    ax.set(xscale="log", yscale="log", xlim=(0.9, 1.1 * len(counts)))
    ax.set_ylim(0.8, 1.5 * float(ranked[0]))
    _count_ticks(ax.xaxis, top=len(counts))
    _count_ticks(ax.yaxis, top=int(ranked[0]))
    ax.set_xlabel("rank of the action (1 = commonest)")
    ax.set_ylabel("rows of the log (count)")
    ax.set_title(
        f"{len(ranked):,} of {len(counts):,} actions occur in {int(ranked.sum()):,} rows",
        fontsize=10.5,
    )
    return figure


def _count_ticks(axis: Axis, *, top: int) -> None:
    """Counts written out: powers of ten, and twos and fives where those would be few."""
    axis.set_major_locator(LogLocator(subs=(1.0,) if top > 300 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def distance_fit(predicted: Float[np.ndarray, " N"], target: Float[np.ndarray, " N"]) -> Figure:
    """Distances between points against the metric they were fitted to, one entry a pair.

    R² is that of the points as they are, without a line fitted first: 1 on the diagonal, 0 or
    less where the mean distance would have served as well.

    Args:
        predicted: ||e_i - e_j||, in the metric's own unit.
        target: the metric's distance of the same pairs.

    Raises:
        ValueError: there are no pairs.
    """
    if not len(target):
        raise ValueError("a fit of distances needs at least one pair, got none")
    spread = float(((target - target.mean()) ** 2).sum())
    missed = float(((target - predicted) ** 2).sum())
    verdict = f"R² = {1 - missed / spread:.3f}" if spread > 0 else "R² undefined: one distance"
    figure = new_figure(5.4, 4.6)
    ax = figure.subplots()
    clean(ax)
    top = 1.03 * float(max(target.max(), predicted.max())) or 1.0
    cells = ax.hexbin(target, predicted, gridsize=45, bins="log", mincnt=1, extent=(0, top, 0, top))
    ax.plot([0, top], [0, top], color=INK, linestyle="--", linewidth=1.2)
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    bar = figure.colorbar(cells, ax=ax, shrink=0.9)
    _count_ticks(bar.ax.yaxis, top=int(cells.get_array().max()))  # type: ignore[union-attr]
    bar.set_label("pairs (count)")
    bar.outline.set_visible(False)  # type: ignore[operator]
    ax.set_xlabel("distance of the metric (its own unit)")
    ax.set_ylabel("distance of the points (same unit)")
    ax.set_title(f"{verdict}, {len(target):,} pairs", fontsize=10.5)
    return figure


def calibration(
    predicted: Float[np.ndarray, " K"],
    observed: Float[np.ndarray, " K"],
    low: Float[np.ndarray, " K"],
    high: Float[np.ndarray, " K"],
) -> Figure:
    """How often actions of a predicted probability were the logged ones, on log scales.

    A bin in which none was found is drawn as an arrow down from its upper end.

    Args:
        predicted: mean probability of a bin.
        observed: share that was logged.
        low: lower end of the 95 % interval of it.
        high: upper end.

    Raises:
        ValueError: there is no bin.
    """
    if not len(predicted):
        raise ValueError("a calibration curve needs at least one bin, got none")
    figure = new_figure(5.0, 4.4)
    ax = figure.subplots()
    clean(ax)
    seen = observed > 0
    least = 0.5 * float(min(predicted.min(), observed[seen].min() if seen.any() else 1.0))
    ax.plot([least, 1], [least, 1], color=GREY, linestyle="--", linewidth=1.0)
    below = np.clip(observed - np.maximum(low, least), 0, None)[seen]
    above = np.clip(high - observed, 0, None)[seen]
    style = {"color": PALETTE[0], "linewidth": 1.4, "markersize": 5, "capsize": 3}
    ax.errorbar(predicted[seen], observed[seen], yerr=[below, above], fmt="o-", **style)
    ax.plot(predicted[~seen], high[~seen], "v", color=PALETTE[0], fillstyle="none")
    ax.set(xscale="log", yscale="log", xlim=(least, 1.3), ylim=(least, 1.3), aspect="equal")
    ax.set_xlabel("predicted probability of an action")
    ax.set_ylabel("share that was logged (95 % interval)")
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG, whole or not at all; the same figure gives the same bytes.

    The first save settles the layout for good: laid out again, it would move by a pixel.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi="figure", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def new_figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """An empty figure, in inches; "compressed" is the constrained layout for square panels."""
    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def clean(ax: Axes) -> None:
    """Two spines and a pale grid, behind what is drawn."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(color=GREY)
    ax.grid(visible=True, color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)


def legend_below(figure: Figure, keys: Sequence[Artist]) -> None:
    """Below all panels, in as many columns as fit the width.

    A legend of more than two lines makes the figure higher, so that panels keep their room.
    """
    if not keys:
        return
    for key in keys:
        key.set_label(wrap(str(key.get_label()), 28))
    labels = [str(key.get_label()).split("\n") for key in keys]
    longest = max(len(line) for lines in labels for line in lines)
    fitting = int(figure.get_figwidth() / (0.55 + 0.085 * longest))
    columns = max(1, min(len(keys), fitting))
    lines = math.ceil(len(keys) / columns) * max(map(len, labels))
    figure.set_figheight(figure.get_figheight() + 0.2 * max(0, lines - 2))
    figure.legend(
        handles=keys,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )


def wrap(text: str, width: int) -> str:
    """Lines of at most so many letters."""
    return plain(textwrap.fill(text, width))


def plain(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")
