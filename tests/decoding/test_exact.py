"""The exact search equals trying every action."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offline_actrep.decoding.exact import ELEMENTS, nearest, neighbours, states_at_once


def brute_force(
    points: torch.Tensor, table: torch.Tensor, mask: torch.Tensor | None
) -> list[list[tuple[int, float]]]:
    """Of every row the actions and their distances, nearest first."""
    found = []
    for row, point in enumerate(points.tolist()):
        gaps = [
            (sum(abs(x - y) for x, y in zip(point, place, strict=True)), action)
            for action, place in enumerate(table[row].tolist())
            if mask is None or mask[row, action]
        ]
        found.append([(action, gap) for gap, action in sorted(gaps)])
    return found


@given(
    rows=st.integers(1, 9),
    actions=st.integers(1, 7),
    dim=st.integers(1, 3),
    chunk=st.integers(1, 12),
    count=st.integers(1, 9),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_it_equals_brute_force_in_chunks_of_any_size(
    rows: int, actions: int, dim: int, chunk: int, count: int, masked: bool, seed: int
) -> None:
    """Coordinates on a coarse grid, so that ties are frequent: the lowest index wins them."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randint(-2, 3, (rows, dim), generator=generator) / 2
    table = torch.randint(-2, 3, (rows, actions, dim), generator=generator) / 2
    mask = torch.rand((rows, actions), generator=generator) < 0.5 if masked else None
    if mask is not None:
        mask[torch.arange(rows), torch.randint(actions, (rows,), generator=generator)] = True
    best, gap = nearest(points, lambda part: table[part], chunk, mask)
    wanted = brute_force(points, table, mask)
    assert list(zip(best.tolist(), gap.tolist(), strict=True)) == [row[0] for row in wanted]
    few, gaps = neighbours(points, lambda part: table[part], chunk, count, mask)
    padded = [(row + [(-1, math.inf)] * count)[:count] for row in wanted]
    assert torch.stack([few, gaps], dim=2).tolist() == [[list(p) for p in row] for row in padded]


def test_the_lowest_index_wins_a_tie() -> None:
    table = torch.tensor([[[5.0], [1.0], [-1.0], [1.0]]])
    best, gap = nearest(torch.zeros(1, 1), lambda part: table[part], 4)
    assert (best.item(), gap.item()) == (1, 1.0)
    mask = torch.tensor([[True, False, True, True]])
    assert nearest(torch.zeros(1, 1), lambda part: table[part], 4, mask)[0].item() == 2


def test_the_distance_is_l1() -> None:
    table = torch.tensor([[[0.9, 0.9], [1.5, 0.0]]])  # l2 would take the first
    best, gap = nearest(torch.zeros(1, 2), lambda part: table[part], 1)
    assert (best.item(), gap.item()) == (1, 1.5)


def test_rows_ask_for_their_own_table_and_never_beyond_the_last() -> None:
    asked = []

    def table(part: slice) -> torch.Tensor:
        asked.append((part.start, part.stop))
        return torch.zeros(part.stop - part.start, 2, 1)

    nearest(torch.zeros(7, 1), table, 3)
    assert asked == [(0, 3), (3, 6), (6, 7)]


def test_the_table_is_left_as_it_was() -> None:
    table = torch.rand(2, 3, 1)
    before = table.clone()
    mask = torch.tensor([[True, False, True], [False, True, False]])
    nearest(torch.zeros(2, 1), lambda part: table[part], 2, mask)
    assert torch.equal(table, before)


def test_a_row_that_may_choose_nothing_is_refused() -> None:
    mask = torch.tensor([[True, False], [False, False]])
    with pytest.raises(ValueError, match="row 1 has an empty set of allowed actions"):
        nearest(torch.zeros(2, 1), lambda part: torch.zeros(2, 2, 1), 2, mask)


def test_a_chunk_fits_the_room_and_holds_one_state_at_least() -> None:
    assert states_at_once(4096, 100) == ELEMENTS // 409_600
    assert states_at_once(10**6, 10**3) == 1
