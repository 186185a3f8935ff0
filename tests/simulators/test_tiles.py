"""Pictures of worlds of tiles."""

import numpy as np
import pytest

from offline_actrep.simulators.tiles import AGENT_COLOUR, DIRECTIONS, TILE, picture

COLOURS = np.full((2, 3, 3), 255, np.uint8)
COLOURS[1, 2] = (10, 20, 30)


def agent_pixels(image: np.ndarray) -> np.ndarray:
    """(x, y) of the pixels of the agent."""
    return np.argwhere((image == AGENT_COLOUR).all(axis=2))[:, ::-1]


def test_a_tile_has_its_colour_and_row_0_is_at_the_top() -> None:
    image = picture(COLOURS, (0, 0))
    assert image.shape == (2 * TILE, 3 * TILE, 3)
    assert image[TILE + TILE // 2, 2 * TILE + TILE // 2].tolist() == [10, 20, 30]
    assert image[TILE // 2, 2 * TILE + TILE // 2].tolist() == [255, 255, 255]
    image[:] = 0
    assert COLOURS[0, 0, 0] == 255


@pytest.mark.parametrize("heading", [None, 0, 1, 2, 3])
def test_the_agent_is_on_its_tile(heading: int | None) -> None:
    places = agent_pixels(picture(COLOURS, (1, 0), heading))
    assert (places // TILE == (1, 0)).all()
    assert len(places) > 50


@pytest.mark.parametrize("heading", range(4))
def test_the_arrow_is_thin_ahead_and_broad_behind(heading: int) -> None:
    ways = agent_pixels(picture(COLOURS, (1, 0), heading)) - np.array([1.5, 0.5]) * TILE + 0.5
    ahead = ways @ DIRECTIONS[heading]
    assert (ahead < -3).sum() > 2 * (ahead > 3).sum() > 0


def test_right_down_left_up() -> None:
    assert DIRECTIONS.tolist() == [[1, 0], [0, 1], [-1, 0], [0, -1]]


def test_a_label_is_written_on_its_tile() -> None:
    bare, named = picture(COLOURS, (0, 0)), picture(COLOURS, (0, 0), labels={(1, 1): "12"})
    rows, columns = np.nonzero((bare != named).any(axis=2))
    assert set(zip(columns // TILE, rows // TILE, strict=True)) == {(1, 1)}
