"""What the figures draw, on small data."""

from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import rgb_to_hsv, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from offline_actrep import plots
from offline_actrep.core.estimate import Estimate
from offline_actrep.plots import Curve, PointPanel, Scene, ValuedState

STEPS = np.array([0, 1000, 2000])
SCENE = Scene(
    walls=[(0.3, 0.35, 0.0, 0.7)],
    regions=[
        ("goal", (0.8, 1.0, 0.7, 1.0), "#009E73"),
        ("trap", (0.5, 0.6, 0.1, 0.2), "#D55E00"),
        ("trap", (0.6, 0.7, 0.4, 0.5), "#D55E00"),
    ],
    start=(0.1, 0.2),
)
WALK = np.array([[0.1, 0.2], [0.4, 0.8], [0.9, 0.9]])
LONG = "a policy whose name is far too long to stand in one line of any chart"
LONG_WALK = np.array([[0.1, 0.2], [0.2, 0.3], [0.4, 0.8], [0.7, 0.1]])


def curve(*returns: float) -> Curve:
    return Curve(STEPS, np.array(returns, np.float64))


def panel(**changes: object) -> PointPanel:
    generator = np.random.default_rng(0)
    given: dict = {
        "title": "start",
        "points": generator.uniform(-1, 1, (20, 2)),
        "colour": generator.normal(size=20),
        "colour_label": "Q (reward)",
    }
    return PointPanel(**{**given, **changes})


def valued(title: str = "start", names: str = "ab", **changes: object) -> ValuedState:
    generator = np.random.default_rng(0)
    given: dict = {
        "values": np.arange(20.0),
        "points": {name: generator.uniform(-1, 1, (20, 2)) for name in names},
    }
    return ValuedState(title, **{**given, **changes})


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def bold(ax: Axes) -> list[np.ndarray]:
    return [line.get_xydata() for line in ax.lines if line.get_linewidth() == 2.2]


CALIBRATION = (
    np.array([0.001, 0.01, 0.2]),
    np.array([0.0, 0.02, 0.25]),
    np.array([0.0, 0.015, 0.2]),
    np.array([0.004, 0.025, 0.3]),
)

FIGURES: dict[str, Callable[[], Figure]] = {
    "curves": lambda: plots.learning_curves({"a": curve(1, 2, 3)}, references={"log": 2.5}),
    "points": lambda: plots.point_map([panel(chosen=np.array([0.5, -0.5]))]),
    "wheel": lambda: plots.point_map([panel(colour=np.full((20, 3), 0.5))]),
    "map": lambda: plots.point_map([panel(), panel(colour=np.full((20, 3), 0.5))] * 3),
    "values": lambda: plots.value_map([valued(), valued(LONG)], label="Q (reward)"),
    "one value map": lambda: plots.value_map([valued(names="a")], label="Q (reward)"),
    "four representations": lambda: plots.value_map(
        [valued(names=("transition", LONG, "reconstruction", "MERLION"))] * 2, label="Q (reward)"
    ),
    "walks": lambda: plots.trajectories(SCENE, {"a": [WALK, LONG_WALK]}),
    "many walks": lambda: plots.trajectories(SCENE, {f"{LONG} {i}": [WALK] for i in range(5)}),
    "films": lambda: plots.film_strips([strip(3), strip(1)]),
    "intervals": lambda: plots.interval_chart(
        [("a", Estimate(1.0, 0.5, 2.0, 9)), (LONG, Estimate(1.0, -np.inf, 2.0, 9))],
        label="return (reward)",
        references={"log": 1.5, "true value": 1},
    ),
    "histogram": lambda: plots.histogram(np.arange(9.0) / 2, label="reward", title="Rewards"),
    "frequency": lambda: plots.action_frequency(np.array([5, 0, 1])),
    "calibration": lambda: plots.calibration(*CALIBRATION),
    "fit": lambda: plots.distance_fit(np.array([0.0, 1.0, 2.1]), np.array([0.0, 1.1, 2.0])),
}


@pytest.mark.parametrize("name", FIGURES)
def test_two_drawings_of_the_same_data_are_the_same_bytes(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    first = plots.save(figure, tmp_path / "first.png").read_bytes()
    again = plots.save(figure, tmp_path / "again.png").read_bytes()
    anew = plots.save(FIGURES[name](), tmp_path / "anew.png").read_bytes()
    assert first == again == anew
    assert first.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FIGURES)
def test_every_label_lies_inside_the_picture(name: str) -> None:
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    box, drawn = figure.bbox, figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert drawn.x0 >= box.x0 - 1
    assert drawn.y0 >= box.y0 - 1
    assert drawn.x1 <= box.x1 + 1
    assert drawn.y1 <= box.y1 + 1


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_texts_overlap(name: str) -> None:
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent().padded(-1) for text in texts]
    seen = [(t, b) for t, b in zip(texts, boxes, strict=True) if figure.bbox.fully_overlaps(b)]
    clashes = [
        (one.get_text(), two.get_text())
        for (one, first), (two, second) in combinations(seen, 2)
        if first.fully_overlaps(second)
    ]
    assert not clashes


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_is_labelled_and_no_text_is_tiny(name: str) -> None:
    figure = FIGURES[name]()
    for ax in figure.axes:
        texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts, *ax.get_yticklabels()]
        assert min(text.get_fontsize() for text in texts) >= 9
    assert any(ax.get_xlabel() for ax in figure.axes)
    unlabelled = ("intervals", "films")
    assert figure.axes[0].get_ylabel() or name in unlabelled, "these are named one by one"


def test_drawing_leaves_matplotlibs_settings_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for name, draw in FIGURES.items():
        plots.save(draw(), tmp_path / f"{name}.png")
    assert dict(mpl.rcParams) == before
    assert "import matplotlib.pyplot" not in Path(plots.__file__).read_text()


def test_save_makes_the_folder_and_leaves_nothing_beside_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "a.png"
    assert plots.save(FIGURES["curves"](), path) == path
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]


def test_a_save_that_fails_keeps_the_old_picture(tmp_path: Path, monkeypatch) -> None:
    path = plots.save(FIGURES["curves"](), tmp_path / "a.png")
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(plots.os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        plots.save(FIGURES["points"](), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_methods_colour_is_its_place() -> None:
    names = [f"m{i}" for i in range(9)]
    colours = plots.method_colours(names)
    assert colours["m0"] == colours["m7"]
    assert len({colours[name] for name in names[:7]}) == 7


def test_the_palette_stands_out_from_white_and_from_itself() -> None:
    values = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in plots.PALETTE]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    contrast = 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    assert contrast.min() > 2
    apart = np.linalg.norm(values[:, None] - values[None], axis=2)
    assert apart[np.triu_indices(len(values), 1)].min() > 0.25


def test_panels_without_data_are_left_out() -> None:
    share = Curve(STEPS, start_q=np.array([1.0, 2.0, 3.0]), near_share=np.array([0.0, 0.5, 1.0]))
    figure = plots.learning_curves({"a": share}, references={"log": 2.0})
    assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes] == [
        "Q at the start state",
        "chosen points near",
    ]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "steps"]
    assert figure.axes[1].get_ylim() == (-0.04, 1.04)
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()][1:-1] == [
        *("0", "20", "40", "60", "80", "100")
    ]


def test_curves_that_measured_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no curve holds"):
        plots.learning_curves({"a": Curve(STEPS)}, references={})
    with pytest.raises(ValueError, match="no curve holds"):
        plots.learning_curves({"a": curve(np.nan, np.nan, np.nan)}, references={})


def test_several_seeds_are_thin_lines_under_their_mean() -> None:
    runs = {"a": [curve(0, 2, 4), curve(2, 4, 8)], "b": curve(1, 1, 1)}
    (ax,) = plots.learning_curves(runs, references={}).axes
    thin = [line for line in ax.lines if line.get_linewidth() < 1]
    assert [line.get_color() for line in thin] == [plots.PALETTE[0]] * 2
    mean, single = bold(ax)
    np.testing.assert_array_equal(mean, [[0, 1], [1000, 3], [2000, 6]])
    np.testing.assert_array_equal(single[:, 1], [1, 1, 1])


def test_the_mean_stands_only_where_all_seeds_were_measured() -> None:
    short = Curve(STEPS[:2], np.array([2.0, 4.0]))
    (ax,) = plots.learning_curves({"a": [curve(0, np.nan, 4), short]}, references={}).axes
    (mean,) = bold(ax)
    np.testing.assert_array_equal(mean, [[0, 1]])


def test_a_moment_not_measured_is_bridged() -> None:
    (ax,) = plots.learning_curves({"a": curve(1, np.nan, 3)}, references={}).axes
    np.testing.assert_array_equal(bold(ax)[0], [[0, 1], [2000, 3]])


def test_references_are_dashed_lines_with_name_and_value_that_do_not_overlap() -> None:
    references = {"best known": 110.0, "behaviour": 6.6, "random": 6.5}
    figure = plots.learning_curves({"a": curve(5, 50, 90)}, references=references)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    dashed = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed == [110.0, 6.6, 6.5]
    assert [t.get_text() for t in ax.texts] == ["random 6.5", "behaviour 6.6", "best known 110"]
    boxes = sorted((t.get_window_extent() for t in ax.texts), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))
    assert ax.get_ylim()[1] > 110


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.12))
def test_labels_pushed_apart_keep_order_gap_and_the_top(places: list[float], gap: float) -> None:
    moved = plots._spread(sorted(places), gap=gap)
    assert all(np.diff(moved) >= gap - 1e-9)
    assert max(moved) <= 1
    if all(np.diff(sorted(places)) >= gap):
        assert moved == pytest.approx(sorted(places), abs=1e-9)


def test_a_diverging_q_gets_a_logarithmic_axis() -> None:
    calm = Curve(STEPS, start_q=np.array([1.0, 2.0, 3.0]))
    wild = Curve(STEPS, start_q=np.array([1.0, 2.0, 1e6]))
    assert plots.learning_curves({"a": calm}, references={}).axes[0].get_yscale() == "linear"
    both = plots.learning_curves({"a": calm, "b": wild}, references={})
    assert both.axes[0].get_yscale() == "symlog"


def test_a_long_legend_leaves_the_panels_their_room() -> None:
    """Twenty methods have a panel as high as two methods have."""
    curve = Curve(np.array([100, 200]), np.array([0.0, 1.0]))
    heights = []
    for n in (2, 20):
        runs = {f"a method with a long name {i}": curve for i in range(n)}
        figure = plots.learning_curves(runs, references={})
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_window_extent().height / figure.dpi)
    assert heights[1] > 0.85 * heights[0]


def test_the_legend_names_all_methods_as_they_are_written(tmp_path: Path) -> None:
    runs = {"pays $5 or $6": curve(1, 2, 3), **{f"m{i}": curve(i, i, i) for i in range(8)}}
    figure = plots.learning_curves(runs, references={})
    assert [text.replace("\\", "") for text in legend(figure)] == list(runs)
    handles = figure.legends[0].get_lines()
    styles = {(line.get_color(), line.get_linestyle()) for line in handles}
    assert len(styles) == 9, "beyond the palette the dashes tell methods apart"
    plots.save(figure, tmp_path / "a.png")


def test_project_leaves_the_plane_and_pads_a_line() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    np.testing.assert_array_equal(plots.project(points), points)
    np.testing.assert_array_equal(
        plots.project(np.array([[0.5], [-1.0]], np.float32)), [[0.5, 0.0], [-1.0, 0.0]]
    )


def test_project_finds_the_plane_of_greatest_variance() -> None:
    generator = np.random.default_rng(0)
    flat = generator.uniform(-0.5, 0.5, (50, 2)) * [1.0, 0.4]
    turn = np.linalg.qr(generator.normal(size=(6, 6)))[0][:, :2]
    plane = plots.project(flat @ turn.T)
    assert plane.shape == (50, 2)
    assert plane[:, 0].var() > plane[:, 1].var()
    np.testing.assert_allclose(plane.mean(axis=0), 0, atol=1e-12)

    def distances(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points[:, None] - points[None], axis=2)

    np.testing.assert_allclose(distances(plane), distances(flat), atol=1e-12)


def test_project_shrinks_what_would_leave_the_square() -> None:
    corners = np.array([[1.0, 1, 1], [-1, -1, -1], [1, 1, 1], [-1, -1, -1]])
    plane = plots.project(corners)
    assert np.abs(plane).max() == pytest.approx(1)
    np.testing.assert_allclose(plane[:, 1], 0, atol=1e-12)
    assert plots.project(corners[:1]).tolist() == [[0, 0]]


def test_effects_are_coloured_by_direction_and_length() -> None:
    effects = np.array([[2.0, 0], [0, 2], [-2, 0], [0, -2], [1, 0], [0, 0]])
    colours = plots.effect_colours(effects)
    hue, saturation, value = rgb_to_hsv(colours).T
    np.testing.assert_allclose(hue[:4], [0, 0.25, 0.5, 0.75], atol=1e-9)
    np.testing.assert_allclose(saturation, [1, 1, 1, 1, 0.5, 0], atol=1e-9)
    np.testing.assert_allclose(value, [1, 1, 1, 1, 0.8, 0.6], atol=1e-9)
    assert to_hex(colours[0]) == "#ff0000"
    np.testing.assert_allclose(plots.effect_colours(np.zeros((2, 2))), 0.6)


def test_a_map_shows_points_box_star_and_rings() -> None:
    logged = np.zeros(20, bool)
    logged[[3, 4]] = True
    shown = panel(chosen=np.array([0.25, -0.5]), logged=logged)
    figure = plots.point_map([shown])
    ax, bar = figure.axes
    dots, rings = ax.collections
    np.testing.assert_allclose(dots.get_offsets(), shown.points)
    np.testing.assert_array_equal(dots.get_array(), shown.colour)
    np.testing.assert_allclose(rings.get_offsets(), shown.points[[3, 4]])
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[0.25, -0.5]]
    (box,) = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert box.get_bbox().extents.tolist() == [-1, -1, 1, 1]
    assert ax.get_xlim()[0] < -1 < 1 < ax.get_xlim()[1]
    assert bar.get_ylabel() == "Q (reward)"
    assert legend(figure) == [
        "the policy's point",
        "action in the log here",
        "the square [-1, 1]²",
    ]


def test_a_map_without_choice_or_log_names_neither() -> None:
    assert legend(plots.point_map([panel()])) == ["the square [-1, 1]²"]


def test_a_map_has_a_row_a_state_and_a_wheel_a_coloured_column() -> None:
    coloured = panel(colour=np.full((20, 3), 0.5), colour_label="true effect")
    figure = plots.point_map([coloured, panel(), coloured, panel()])
    panels = [ax for ax in figure.axes if ax.get_title()]
    bars = [ax for ax in figure.axes if not ax.get_title()]
    assert len(panels) == 4
    assert len(bars) == 2
    assert [len(ax.child_axes) for ax in panels] == [1, 0, 0, 0]
    assert panels[0].texts[0].get_text().startswith("true effect")
    assert [bool(ax.get_xlabel()) for ax in panels] == [False, False, True, True]
    assert [bool(ax.get_ylabel()) for ax in panels] == [True, False, True, False]


def test_a_short_last_row_and_no_panels() -> None:
    figure = plots.point_map([panel()] * 5, columns=3)
    assert sum(bool(ax.get_title()) for ax in figure.axes) == 5
    with pytest.raises(ValueError, match="at least one panel"):
        plots.point_map([])


def test_a_map_of_values_is_a_row_a_state_and_a_column_a_representation() -> None:
    states = [valued("start"), valued("later", values=np.arange(20.0) ** 2)]
    figure = plots.value_map(states, label="Q (reward)")
    *panels, first_bar, second_bar = figure.axes
    assert [ax.get_title() for ax in panels] == ["a", "b", "", ""]
    assert [ax.get_ylabel() for ax in panels] == ["start", "", "later", ""]
    assert first_bar.get_ylabel() == second_bar.get_ylabel() == "Q (reward)"
    for ax, (state, name) in zip(panels, [(s, n) for s in states for n in "ab"], strict=True):
        (dots,) = ax.collections
        drawn = np.column_stack([np.asarray(dots.get_offsets()), dots.get_array()])
        wanted = np.column_stack([state.points[name], state.values])
        np.testing.assert_allclose(drawn[drawn[:, 2].argsort()], wanted)
        said = plots.mixing(state.points[name], state.values)
        assert ax.get_xlabel() == f"mixing {said:.2f}"
        assert dots.get_clim() == pytest.approx(np.quantile(state.values, (0.02, 0.98)))
    assert "0 sorted, 1 mixed" in figure.get_supxlabel()


def test_a_map_of_values_shows_points_of_any_length_in_the_plane() -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (20, 6)).astype(np.float32)
    figure = plots.value_map([valued(points={"six": points})], label="Q")
    offsets = np.asarray(figure.axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(
        np.sort(offsets, axis=0), np.sort(plots.project(points), axis=0), atol=1e-12
    )
    assert figure.axes[0].get_xlabel() == f"mixing {plots.mixing(points, np.arange(20.0)):.2f}"
    (left, right), (low, high) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    assert right - left == pytest.approx(1.04 * np.ptp(offsets, axis=0).max())
    assert (left, low) < tuple(offsets.min(axis=0)) and tuple(offsets.max(axis=0)) < (right, high)
    square = plots.value_map([valued(points={"two": points[:, :2] / 9})], label="Q").axes[0]
    assert square.get_xlim() == square.get_ylim() == (-1.04, 1.04), "two coordinates are the cube"


def test_no_rare_value_lies_under_a_common_one() -> None:
    values = np.where(np.arange(20) < 3, np.array([9.0, -9.0, 4.0])[np.arange(20) % 3], 1.0)
    (dots,) = plots.value_map([valued(names="a", values=values)], label="Q").axes[0].collections
    assert dots.get_array()[-3:].tolist() == [4.0, 9.0, -9.0]


def test_values_without_states_or_of_other_representations_are_refused() -> None:
    for states in ([], [valued(names="")], [valued(), valued(names="ba")]):
        with pytest.raises(ValueError, match="all with the same representations"):
            plots.value_map(states, label="Q")


@pytest.mark.usefixtures("without_shape_checks")
def test_a_state_whose_values_and_points_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'start': a has points of 20 actions, .* of 19"):
        valued(values=np.arange(19.0))
    with pytest.raises(ValueError, match="the value of action 3 is nan"):
        valued(values=np.where(np.arange(20) == 3, np.nan, 1.0))


def test_mixing_by_hand() -> None:
    """On a line at 0, 1, 3, 7: the nearest of each is 1, 0, 1, 3 places along."""
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    values = np.array([0.0, 2.0, 3.0, 9.0])
    near = (2 + 2 + 1 + 6) / 4
    far = (2 + 3 + 9 + 1 + 7 + 6) / 6
    assert plots.mixing(line, values) == pytest.approx(near / far)
    assert plots.mixing(10 * line, -values) == pytest.approx(near / far)


def test_mixing_measures_with_the_distance_that_decodes() -> None:
    """From the origin (3, 0) is nearer than (2, 2) in l1, and further in l2."""
    points = np.array([[0.0, 0.0], [3.0, 0.0], [2.0, 2.0], [9.0, 9.0]])
    values = np.array([0.0, 1.0, 50.0, 50.0])
    near = (1 + 1 + 49 + 0) / 4
    far = (1 + 50 + 50 + 49 + 49 + 0) / 6
    assert plots.mixing(points, values) == pytest.approx(near / far)


def test_mixing_is_one_for_noise_and_none_for_an_order() -> None:
    generator = np.random.default_rng(0)
    points, noise = generator.uniform(-1, 1, (4000, 2)), generator.normal(size=4000)
    assert plots.mixing(points, noise) == pytest.approx(1, abs=0.05)
    assert plots.mixing(points, points[:, 0]) < 0.05


def test_actions_of_one_point_are_neighbours_and_no_action_is_its_own() -> None:
    points = np.array([[0.0], [0.0], [0.0], [5.0], [5.0]])
    assert plots.mixing(points, np.array([1.0, 1, 1, 4, 4])) == 0
    pairs = np.array([[0.0], [0.0], [5.0], [5.0]])
    assert plots.mixing(pairs, np.array([0.0, 1, 0, 1])) == pytest.approx(1 / (4 / 6))


def test_one_value_has_no_mixing_and_one_action_no_neighbour() -> None:
    assert np.isnan(plots.mixing(np.array([[0.0], [1.0]]), np.ones(2)))
    with pytest.raises(ValueError, match="two actions at least, got 1"):
        plots.mixing(np.zeros((1, 2)), np.ones(1))


def test_walks_are_drawn_in_the_scene() -> None:
    figure = plots.trajectories(SCENE, {"a": [WALK, LONG_WALK], "b": [WALK]})
    first, second = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["a\n2 episodes", "b\n1 episode"]
    assert first.get_xlim() == first.get_ylim() == (0, 1)
    start, *walks = first.lines
    assert start.get_xydata().tolist() == [[0.1, 0.2]]
    assert [line.get_xydata().tolist() for line in walks] == [WALK.tolist(), LONG_WALK.tolist()]
    np.testing.assert_allclose(first.collections[0].get_offsets(), [[0.9, 0.9], [0.7, 0.1]])
    assert [walks[0].get_color(), second.lines[1].get_color()] == list(plots.PALETTE[:2])
    boxes = [patch.get_bbox().extents.tolist() for patch in second.patches]
    np.testing.assert_allclose(boxes[0], [0.8, 0.7, 1.0, 1.0])
    np.testing.assert_allclose(boxes[3], [0.3, 0.0, 0.35, 0.7])
    assert legend(figure) == ["start", "end of an episode", "wall", "goal", "trap"]


@pytest.mark.parametrize(
    ("policies", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))]
)
def test_a_panel_a_policy(policies: int, shape: tuple[int, int]) -> None:
    figure = plots.trajectories(SCENE, {f"p{i}": [WALK] for i in range(policies)})
    assert len(figure.axes) == policies
    grid = figure.axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == shape


def test_a_policy_without_walks_is_an_empty_scene_and_no_policy_is_refused() -> None:
    (ax,) = plots.trajectories(SCENE, {"a": []}).axes
    assert len(ax.lines) == 1, "the start alone"
    with pytest.raises(ValueError, match="at least one policy"):
        plots.trajectories(SCENE, {})


def test_intervals_are_drawn_from_the_top_with_numbers_beside() -> None:
    rows = [("one", Estimate(2.0, 1.0, 4.0, 9)), ("two", Estimate(5.0, 3.0, 6.0, 9))]
    figure = plots.interval_chart(rows, label="return (reward)", references={"log": 7.0})
    (ax,) = figure.axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["one", "two"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first row is on top"
    dots = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [[2.0, 0.0], [5.0, 1.0]]
    spans = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2]
    assert [list(span) for span in spans] == [[1.0, 4.0], [3.0, 6.0]]
    assert [text.get_text() for text in ax.texts] == ["2 [1, 4]", "5 [3, 6]"]
    assert ax.get_xlim()[0] < 1 < 7 < ax.get_xlim()[1]
    assert legend(figure) == ["log 7"]
    assert ax.get_xlabel() == "return (reward)"


def test_an_end_without_bound_is_an_arrow_at_the_edge() -> None:
    rows = [
        ("none", Estimate(2.0, -np.inf, np.inf, 1)),
        ("upper", Estimate(3.0, 1.0, np.inf, 9)),
        ("lost", Estimate(np.nan, -np.inf, np.inf, 0)),
    ]
    (ax,) = plots.interval_chart(rows, label="return (reward)", references={}).axes
    low, high = ax.get_xlim()
    marks = [(line.get_marker(), *line.get_xydata()[0]) for line in ax.lines]
    assert [mark for mark in marks if mark[0] in ("<", ">")] == [
        *(("<", low, 0.0), (">", high, 0.0), (">", high, 1.0)),
        *(("<", low, 2.0), (">", high, 2.0)),
    ]
    assert [mark for mark in marks if mark[0] == "|"] == [("|", 1.0, 1.0)]
    assert [mark for mark in marks if mark[0] == "o"] == [("o", 2.0, 0.0), ("o", 3.0, 1.0)]


def test_one_estimate_without_spread_has_room_and_no_rows_are_refused() -> None:
    rows = [("a", Estimate(3.0, 3.0, 3.0, 4))]
    (ax,) = plots.interval_chart(rows, label="x", references={}).axes
    assert ax.get_xlim() == (1.5, 4.5)
    with pytest.raises(ValueError, match="at least one row"):
        plots.interval_chart([], label="x", references={})


def test_whole_numbers_get_a_bar_each() -> None:
    (ax,) = plots.histogram(np.array([1, 1, 3]), label="rows", title="Lengths").axes
    bars = [(p.get_x() + p.get_width() / 2, p.get_height()) for p in ax.patches]
    assert bars == [(1.0, 2.0), (2.0, 0.0), (3.0, 1.0)]
    assert ax.get_title() == "Lengths\n(n = 3)"
    assert ax.get_xlabel() == "rows"


def test_a_histogram_counts_what_it_leaves_out() -> None:
    values = np.array([0.5, 1.25, 1e6, np.nan, np.inf])
    (ax,) = plots.histogram(values, label="x", title="t").axes
    assert ax.get_title() == "t\n(n = 3, 2 not finite left out)"
    assert sum(patch.get_height() for patch in ax.patches) == 3
    with pytest.raises(ValueError, match="at least one finite value"):
        plots.histogram(np.array([np.nan]), label="x", title="t")


def test_frequency_is_ranked_on_logarithmic_axes() -> None:
    (ax,) = plots.action_frequency(np.array([3, 0, 50, 7])).axes
    assert ax.lines[0].get_xydata().tolist() == [[1, 50], [2, 7], [3, 3]]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_title() == "3 of 4 actions occur in 60 rows"
    assert ax.get_xlim()[1] >= 4, "the axis spans the actions never logged too"
    with pytest.raises(ValueError, match="none of the 2 actions"):
        plots.action_frequency(np.zeros(2, np.int64))


def test_fit_of_distances_is_measured_from_the_diagonal() -> None:
    target = np.array([0.0, 1.0, 2.0, 3.0])
    for predicted, title in (
        (target, "R² = 1.000, 4 pairs"),
        (np.full(4, 1.5), "R² = 0.000, 4 pairs"),
        (2 * target, "R² = -1.800, 4 pairs"),
    ):
        ax, bar = plots.distance_fit(predicted, target).axes
        assert ax.get_title() == title
        assert bar.get_ylabel() == "pairs (count)"
        assert ax.collections[0].get_array().sum() == 4
        assert ax.get_xlim() == ax.get_ylim()


def test_fit_of_one_distance_has_no_r2_and_no_pairs_are_refused() -> None:
    for value in (0.0, 2.0):
        figure = plots.distance_fit(np.array([1.0, 0.0]), np.full(2, value))
        assert figure.axes[0].get_title() == "R² undefined: one distance, 2 pairs"
    zeros = plots.distance_fit(np.zeros(2), np.zeros(2)).axes[0]
    assert zeros.get_xlim() == (0, 1)
    with pytest.raises(ValueError, match="at least one pair"):
        plots.distance_fit(np.zeros(0), np.zeros(0))


def strip(frames: int, decisions: int | None = None) -> plots.FilmStrip:
    pictures = [np.full((20, 30, 3), 40 * k, np.uint8) for k in range(frames)]
    counts = list(range(1, (frames if decisions is None else decisions) + 1))
    return plots.FilmStrip("who: return $1", pictures, counts)


def test_film_strips_show_every_frame_in_its_row() -> None:
    figure = plots.film_strips([strip(4), strip(2)])
    drawn = [[ax.images[0].get_array() for ax in row.axes] for row in figure.subfigs]
    assert [len(row) for row in drawn] == [4, 2]
    np.testing.assert_array_equal(drawn[0][3], np.full((20, 30, 3), 120))
    assert [ax.get_xlabel() for ax in figure.subfigs[1].axes] == ["after 1", "after 2"]


@pytest.mark.parametrize("strips", [[], [strip(0)], [strip(2, 3)]], ids=["none", "empty", "odd"])
def test_film_strips_that_show_nothing_are_refused(strips: list[plots.FilmStrip]) -> None:
    with pytest.raises(ValueError, match=r"at least one episode|at least 1"):
        plots.film_strips(strips)


def test_calibration_draws_bins_with_their_intervals_and_empty_ones_apart() -> None:
    ax = plots.calibration(*CALIBRATION).axes[0]
    diagonal, found, *_, empty = ax.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    np.testing.assert_allclose(found.get_ydata(), [0.02, 0.25])
    np.testing.assert_allclose(empty.get_xdata(), [0.001])
    np.testing.assert_allclose(empty.get_ydata(), [0.004])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    with pytest.raises(ValueError, match="at least one bin"):
        plots.calibration(*(np.zeros(0),) * 4)
