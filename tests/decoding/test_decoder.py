"""Every method gives what the plain scan gives; masks, ties, recall and the way back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoders import STATE, asked, make

from offline_actrep.core.actions import AllowedActions
from offline_actrep.decoding import decoder, exact, search
from offline_actrep.decoding.decoder import (
    INDEXED,
    Calibrated,
    Decoder,
    Head,
    choose,
    compare,
    make_index,
    queries_near,
    restore,
)
from offline_actrep.decoding.index import Measured
from offline_actrep.decoding.ivf import Ivf
from offline_actrep.decoding.points import Codes, Heads, points_of

KINDS = ["mlp", "deep", "bilinear"]
EXACT = [("mlp", "split"), ("mlp", "fused"), ("deep", "split"), ("bilinear", "split")]
EXACT += [("bilinear", "fused")]


def plain(
    codes: Codes, heads: Heads, points: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The reference: the table of all points, one state after another."""

    def table(rows: slice) -> torch.Tensor:
        return points_of(codes, heads.rows(rows))

    return exact.nearest(points, table, 1, mask)


@pytest.mark.parametrize(("kind", "method"), EXACT)
@pytest.mark.parametrize("n", [1, 5, 128, 300])
@pytest.mark.parametrize("dim", [1, 2, 5, 11])
def test_it_is_the_plain_scan_to_the_bit_where_sums_are_exact(
    kind: str, method: str, n: int, dim: int
) -> None:
    """On a grid many actions tie; the lowest must win in every method."""
    codes, head = make(kind, n, dim=dim, width=7 if n == 300 else 8, grid=True)
    states, points = asked(20, dim, grid=True)
    wanted = plain(codes, head(states), points)
    best, gap = Decoder(codes, head, method=method).nearest(states, points)  # type: ignore[arg-type]
    assert torch.equal(best, wanted[0])
    assert torch.equal(gap, wanted[1])


def test_the_grid_has_ties() -> None:
    codes, head = make("mlp", 300, dim=2, grid=True)
    states, points = asked(20, 2, grid=True)
    distances = exact.distances(codes, head(states), points)
    at_least = (distances == distances.min(dim=1, keepdim=True).values).sum(dim=1)
    assert (at_least > 1).sum() >= 10


@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 700),
    dim=st.integers(1, 12),
    width=st.integers(1, 20),
    rows=st.integers(0, 6),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_on_any_numbers_the_distance_is_the_smallest_and_methods_agree_to_the_bit(
    kind: str, n: int, dim: int, width: int, rows: int, seed: int
) -> None:
    codes, head = make(kind, n, dim=dim, width=width, seed=seed)
    states, points = asked(rows, dim, seed=seed)
    split = Decoder(codes, head, method="split").nearest(states, points)
    if rows:
        torch.testing.assert_close(
            split[1], plain(codes, head(states), points)[1], atol=1e-5, rtol=0
        )
    if codes.is_shallow:
        fused = Decoder(codes, head, method="fused").nearest(states, points)
        assert torch.equal(split[0], fused[0])
        assert torch.equal(split[1], fused[1])


@pytest.mark.parametrize(("kind", "method"), EXACT)
def test_twins_tie_and_the_lower_wins(kind: str, method: str) -> None:
    codes, head = make(kind, 200, dim=4)
    codes.table[150:] = codes.table[:50]
    states, _ = asked(50, 4)
    own = points_of(codes, head(states))[torch.arange(50), torch.arange(150, 200)]
    best, _ = Decoder(codes, head, method=method).nearest(states, own)  # type: ignore[arg-type]
    assert torch.equal(best, torch.arange(50))


@pytest.mark.parametrize(("kind", "method"), EXACT)
@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_neighbours_are_those_of_the_plain_scan_where_sums_are_exact(
    kind: str, method: str, n: int, count: int
) -> None:
    """On a grid many actions tie, within the neighbours and at their edge."""
    codes, head = make(kind, n, dim=2, grid=True)
    states, points = asked(20, 2, grid=True)
    heads = head(states)

    def table(rows: slice) -> torch.Tensor:
        return points_of(codes, heads.rows(rows))

    mask = torch.rand(20, n, generator=torch.Generator().manual_seed(0)) < 0.2
    mask[:, 0] |= ~mask.any(dim=1)
    found = Decoder(codes, head, method=method)  # type: ignore[arg-type]
    for may, lists in ((None, None), (mask, AllowedActions.of_mask(mask.numpy()))):
        wanted = exact.neighbours(points, table, 1, count, may)
        best, gap = found.neighbours(states, points, count, lists)
        assert torch.equal(best, wanted[0])
        assert torch.equal(gap, wanted[1])


def test_the_first_neighbour_is_the_nearest_and_methods_agree_to_the_bit() -> None:
    codes, head = make("mlp", 700, dim=5)
    codes.table[600:] = codes.table[:100]
    states, points = asked(300, 5)
    split, fused = (
        Decoder(codes, head, method=method).neighbours(states, points, 9)
        for method in ("split", "fused")
    )
    assert torch.equal(split[0], fused[0]) and torch.equal(split[1], fused[1])
    best, gap = Decoder(codes, head).nearest(states, points)
    assert torch.equal(split[0][:, 0], best) and torch.equal(split[1][:, 0], gap)


def test_neighbours_are_exact_whatever_recall_is_asked_for() -> None:
    codes, head, calibrated = indexed("mlp", "ivf")
    quick = Decoder(codes, head, recall=0.8, method="ivf", indexed=calibrated)
    states, points = asked(100, 2, seed=4)
    wanted = Decoder(codes, head).neighbours(states, points, 5)
    assert all(
        torch.equal(a, b) for a, b in zip(quick.neighbours(states, points, 5), wanted, strict=True)
    )


@pytest.mark.parametrize(("kind", "method"), EXACT)
@pytest.mark.parametrize("share", [0.02, 0.9])
def test_only_allowed_actions_win(kind: str, method: str, share: float) -> None:
    """Few are looked through one by one, many are scanned with all; the answer is the same."""
    codes, head = make(kind, 300, dim=2, grid=True)
    states, points = asked(40, 2, grid=True)
    mask = torch.rand(40, 300, generator=torch.Generator().manual_seed(0)) < share
    mask[:, 77] |= ~mask.any(dim=1)
    allowed = AllowedActions.of_mask(mask.numpy())
    wanted = plain(codes, head(states), points, mask)
    best, gap = Decoder(codes, head, method=method).nearest(states, points, allowed)  # type: ignore[arg-type]
    assert torch.equal(best, wanted[0])
    assert torch.equal(gap, wanted[1])


def test_a_list_need_not_be_in_order() -> None:
    codes, head = make("mlp", 100, dim=2)
    codes.table[:] = codes.table[0]
    states, points = asked(1, 2)
    allowed = AllowedActions(np.array([0, 3]), np.array([70, 20, 50]))
    assert Decoder(codes, head).nearest(states, points, allowed)[0].item() == 20


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_an_empty_set_is_refused_by_its_row(share: float) -> None:
    codes, head = make("mlp", 100)
    mask = np.random.default_rng(0).random((5, 100)) < share
    mask[:3, 0], mask[3] = True, False
    states, points = asked(5, 3)
    with pytest.raises(ValueError, match="row 3 has an empty set of allowed actions"):
        Decoder(codes, head).nearest(states, points, AllowedActions.of_mask(mask))


def test_a_row_that_is_no_number_gets_an_allowed_action_and_no_distance() -> None:
    codes, head = make("mlp", 100)
    states, points = asked(2, 3)
    states[1] = torch.nan
    best, gap = Decoder(codes, head).nearest(states, points)
    assert best[1] == 0 and gap[1].isnan() and not gap[0].isnan()
    allowed = AllowedActions(np.array([0, 1, 2]), np.array([4, 8]))
    assert Decoder(codes, head).nearest(states, points, allowed)[0].tolist() == [4, 8]


def test_the_choice_stands_in_one_place() -> None:
    few, _ = make("mlp", 8)
    many, _ = make("mlp", 80)
    deep, _ = make("deep", 80)
    assert choose(few, recall=1.0) == "split"
    assert choose(many, recall=0.9) == "fused"
    assert choose(deep, recall=0.9) == "split"
    zeros = np.zeros((INDEXED, 8), np.float32)
    large, large_deep = (Codes(zeros, True, codes.layers, codes.biases) for codes in (many, deep))
    assert choose(large, recall=1.0) == "fused"
    assert choose(large, recall=0.99) == "graph"
    assert choose(large_deep, recall=0.99) == "ivf"
    assert choose(large, recall=0.99, method="split") == "split"


@pytest.mark.parametrize("method", ["fused", "graph"])
def test_compiled_methods_are_for_shallow_encoders(method: str) -> None:
    codes, head = make("deep", 80)
    with pytest.raises(ValueError, match="has 2 hidden layers, take 'split' or 'ivf'"):
        Decoder(codes, head, method=method)  # type: ignore[arg-type]


# --- looking at few actions

WAYS = [("mlp", "graph"), ("bilinear", "graph"), ("mlp", "ivf"), ("deep", "ivf")]
N = 3000


def indexed(kind: str, method: str) -> tuple[Codes, Head, Calibrated]:
    codes, head = make(kind, N, dim=2, width=8)
    states = asked(200, 2)[0].numpy()
    return codes, head, make_index(codes, head, states, method=method, queries=50, seed=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "method"), WAYS)
def test_an_index_finds_what_it_promises_on_queries_of_its_own(kind: str, method: str) -> None:
    codes, head, calibrated = indexed(kind, method)
    quick = Decoder(codes, head, recall=0.9, method=method, indexed=calibrated)  # type: ignore[arg-type]
    assert calibrated.effort(0.9) is not None
    states, _ = asked(300, 2, seed=3)
    heads = head(states)
    points = queries_near(codes, heads, 0.2, np.random.default_rng(3))
    best, gap = quick.nearest(states, torch.from_numpy(points))
    _, smallest = quick.exact(heads, points)
    assert (gap.numpy() <= smallest * (1 + 1e-4)).mean() >= 0.88
    assert (gap.numpy() >= smallest).all()
    own = (points_of(codes, heads)[torch.arange(300), best] - torch.from_numpy(points)).abs()
    torch.testing.assert_close(own.sum(dim=1), gap, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "method"), WAYS)
def test_without_the_asked_recall_the_search_is_exact(kind: str, method: str) -> None:
    codes, head, calibrated = indexed(kind, method)
    poor = [Measured(m.effort, (1.0, 0.9), m.ratio, m.queries) for m in calibrated.measured]
    states, points = asked(100, 2, seed=4)
    wanted = Decoder(codes, head).nearest(states, points)
    for unsure in (Calibrated(calibrated.index, tuple(poor)), None):
        careful = Decoder(codes, head, recall=0.95, method=method, indexed=unsure)  # type: ignore[arg-type]
        got = careful.nearest(states, points)
        assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])


@pytest.mark.parametrize(("kind", "method"), WAYS)
def test_an_index_comes_back_from_json_and_tensors(kind: str, method: str) -> None:
    codes, head, calibrated = indexed(kind, method)
    config = json.loads(json.dumps(calibrated.config()))
    again = restore(codes, config, calibrated.index.tensors())
    assert again.measured == calibrated.measured
    assert again.config() == calibrated.config()
    states, points = asked(50, 2, seed=5)
    heads = head(states)
    for effort in calibrated.index.efforts[:2]:
        mine = calibrated.index.search(codes, heads, points.numpy(), effort)
        theirs = again.index.search(codes, heads, points.numpy(), effort)
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize(("kind", "method"), WAYS)
def test_same_seed_same_index(kind: str, method: str) -> None:
    one, two = (indexed(kind, method)[2] for _ in range(2))
    assert one.measured == two.measured
    for name, part in one.index.tensors().items():
        assert torch.equal(part, two.index.tensors()[name])


@pytest.mark.parametrize(("kind", "method"), WAYS)
def test_an_index_keeps_to_the_allowed_actions(kind: str, method: str) -> None:
    """Half of the actions are allowed: where the index says a forbidden one, the list decides."""
    codes, head, calibrated = indexed(kind, method)
    states, points = asked(60, 2, seed=6)
    mask = torch.rand(60, N, generator=torch.Generator().manual_seed(1)) < 0.5
    allowed = AllowedActions.of_mask(mask.numpy())
    quick = Decoder(codes, head, recall=0.9, method=method, indexed=calibrated)  # type: ignore[arg-type]
    best, gap = quick.nearest(states, points, allowed)
    assert allowed.holds(best.numpy()).all()
    smallest = plain(codes, head(states), points, mask)[1]
    assert (gap <= smallest * (1 + 1e-4) + 1e-6).float().mean() >= 0.9


def test_more_effort_never_finds_less() -> None:
    _, _, calibrated = indexed("mlp", "ivf")
    recalls = [min(m.recall) for m in calibrated.measured]
    assert recalls == sorted(recalls)


def test_groups_without_an_action_are_left_out() -> None:
    """400 actions in 3 places: most of the 40 centres that were asked for are nobody's nearest,
    and a search that looks through 8 groups must not find only such."""
    codes, head = make("deep", 400, dim=2, width=8)
    codes.table[:] = codes.table[np.arange(400) % 3]
    states, points = asked(50, 2, seed=7)
    index = Ivf.build(codes, head(states[:12]), seed=0)
    assert (np.diff(index.offsets) > 0).all()
    assert len(index.middles) == len(index.offsets) - 1 <= 3
    assert sorted(index.members.tolist()) == list(range(400))
    found = index.search(codes, head(states), points.numpy(), 8)
    best, gap = plain(codes, head(states), points)
    assert np.array_equal(found[0] % 3, best.numpy())
    np.testing.assert_allclose(found[1], gap.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "deep"])
def test_a_row_without_a_list_takes_no_other_rows_action(kind: str) -> None:
    codes, head = make(kind, 100)
    states, points = asked(3, 3)
    offsets, listed = np.array([0, 0, 2, 2]), np.array([40, 50])
    best, gap = search.nearest_of_list(codes, head(states), points.numpy(), offsets, listed)
    assert best[0] == best[2] == 0 and np.isnan(gap[[0, 2]]).all()
    assert best[1] in (40, 50) and np.isfinite(gap[1])


def test_recall_and_ratio_by_hand() -> None:
    smallest = np.array([1.0, 2.0, 4.0, 0.0], np.float32)
    on = np.array([1.0, 2.0001, 4.0, 0.0], np.float32)
    off = np.array([1.0, 3.0, 8.0, 0.0], np.float32)
    found = compare(64, [on, off], [smallest, smallest])
    assert found.recall == (1.0, 0.5)
    assert found.ratio == pytest.approx((1.0, (1 + 1.5 + 2 + 1) / 4), abs=1e-4)
    assert (found.effort, found.queries) == (64, 4)


def test_a_promise_is_less_than_what_was_measured() -> None:
    """Wilson's bound at one deviation: n / (n + 1) without a miss; by hand for 90 of 100."""
    perfect, nine = (Measured(64, (share, 1.0), (1.0, 1.0), 100) for share in (1.0, 0.9))
    assert perfect.promised == pytest.approx(100 / 101)
    by_hand = (0.9 + 0.005 - (0.09 / 100 + 0.25 / 100**2) ** 0.5) / 1.01
    assert nine.promised == pytest.approx(by_hand)
    index = indexed("mlp", "ivf")[2].index
    calibrated = Calibrated(index, (replace(nine, effort=32), perfect))
    assert [calibrated.effort(asked) for asked in (0.8, 0.9, 0.99, 0.999)] == [32, 64, 64, None]


def test_queries_lie_near_the_actions_points() -> None:
    codes, head = make("mlp", 500)
    heads = head(torch.randn(100, STATE, generator=torch.Generator().manual_seed(0)))
    generator = np.random.default_rng(0)
    gaps = [
        Decoder(codes, head).exact(heads, queries_near(codes, heads, noise, generator))[1]
        for noise in (0.0, 0.05, 0.5)
    ]
    assert gaps[0].max() < 1e-5
    assert gaps[1].mean() < gaps[2].mean()


def test_an_index_of_another_kind_is_refused() -> None:
    codes, head, calibrated = indexed("mlp", "ivf")
    with pytest.raises(ValueError, match="asked for graph, got an index ivf"):
        Decoder(codes, head, method="graph", indexed=calibrated)  # type: ignore[arg-type]


def test_rows_are_taken_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, head = make("bilinear", 200, dim=2, grid=True)
    states, points = asked(50, 2, grid=True)
    mask = torch.rand(50, 200, generator=torch.Generator().manual_seed(0)) < 0.4
    allowed = AllowedActions.of_mask(mask.numpy())
    both = (None, allowed)

    def found() -> list[torch.Tensor]:
        made = Decoder(codes, head)
        nearest = [made.nearest(states, points, lists) for lists in both]
        few = [made.neighbours(states, points, 3, lists) for lists in both]
        return [part for pair in (*nearest, *few) for part in pair]

    whole = found()
    monkeypatch.setattr(decoder, "ROWS", 7)
    monkeypatch.setattr(decoder, "AT_ONCE", 450)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(whole, found(), strict=True))
    mask[44] = False
    with pytest.raises(ValueError, match="row 44 has an empty set"):
        Decoder(codes, head).nearest(states, points, AllowedActions.of_mask(mask.numpy()))
