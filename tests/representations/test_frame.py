"""The map of raw points into the cube."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from offline_actrep.representations.frame import Frame

coordinate = st.floats(-50, 50, width=32)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=20))
@settings(deadline=None)
def test_points_go_into_the_cube_and_those_inside_come_back(
    rows: list[tuple[float, float]],
) -> None:
    raw = torch.tensor(rows)
    frame = Frame(2)
    frame.fit(raw)
    cube = frame.to_cube(raw)
    assert cube.abs().max() <= 1.0
    inside = cube.abs() < 1.0
    assert_close(frame.to_metric(cube)[inside], raw[inside], atol=1e-3, rtol=1e-4)


def test_the_middle_98_percent_fill_the_cube() -> None:
    frame = Frame(2)
    steps = torch.linspace(0.0, 100.0, 101)
    frame.fit(torch.stack([steps, -steps], dim=1))
    found = frame.to_cube(torch.tensor([[1.0, -99.0], [50.0, -50.0], [99.0, -1.0]]))
    assert_close(found, torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]))


def test_a_few_extreme_points_do_not_shrink_the_rest() -> None:
    frame = Frame(1)
    steps = torch.linspace(-1.0, 1.0, 1000)[:, None]
    frame.fit(torch.cat([steps, torch.tensor([[1e6], [-1e6]])]))
    assert frame.to_cube(torch.tensor([[0.9]])).item() > 0.85


def test_points_that_are_too_many_are_looked_at_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offline_actrep.representations.frame.MOST", 1000)
    frame = Frame(1)
    frame.fit(torch.tensor([[-1.0], [1.0]]).repeat(2000, 1))  # every other one is the same
    assert frame.to_cube(torch.tensor([[-1.0], [1.0]])).flatten().tolist() == [-1.0, 1.0]


def test_what_lies_outside_the_range_goes_to_the_face() -> None:
    frame = Frame(1)
    frame.fit(torch.tensor([[0.0], [1.0]]))
    assert frame.to_cube(torch.tensor([[-9.0], [9.0]])).flatten().tolist() == [-1.0, 1.0]


def test_a_coordinate_that_never_varies_keeps_its_unit() -> None:
    frame = Frame(2)
    frame.fit(torch.tensor([[5.0, 0.0], [5.0, 2.0]]))
    found = frame.to_cube(torch.tensor([[5.0, -1.0], [5.5, 3.0]]))
    assert_close(found, torch.tensor([[0.0, -1.0], [0.5, 1.0]]))


def test_a_frame_that_was_not_fitted_changes_nothing_inside_the_cube() -> None:
    inside = torch.tensor([[0.3, -0.9]])
    assert torch.equal(Frame(2).to_cube(inside), inside)
