"""Worlds of square tiles: the four directions, and a picture of one world."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

DIRECTIONS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.int64)
"""Right, down, left, up as steps in (x, y); y counts downwards, like the rows of a picture."""
TILE = 30
"""Pixels a side of a tile in a picture."""
AGENT_COLOUR = (200, 40, 40)


def picture(
    colours: UInt8[np.ndarray, "H W 3"],
    place: tuple[int, int],
    heading: int | None = None,
    labels: Mapping[tuple[int, int], str] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Tiles in their colours, the agent on one of them, short labels on others.

    Args:
        colours: of the tiles, row 0 at the top.
        place: (x, y) of the agent's tile.
        heading: the direction its arrow points in, a row of `DIRECTIONS`; None draws a disc.
        labels: (x, y) -> text.
    """
    pixels = np.repeat(np.repeat(colours, TILE, axis=0), TILE, axis=1)
    pixels[::TILE] = pixels[:, ::TILE] = 225
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for (x, y), text in (labels or {}).items():
        middle = (x * TILE + TILE / 2, y * TILE + TILE / 2)
        draw.text(middle, text, fill=(0, 0, 0), anchor="mm")
    centre = (np.array(place) + 0.5) * TILE
    radius = TILE / 3
    if heading is None:
        draw.ellipse((*(centre - radius), *(centre + radius)), fill=AGENT_COLOUR)
    else:
        ahead = DIRECTIONS[heading] * radius
        aside = ahead[::-1]
        corners = (centre + ahead, centre - ahead + aside, centre - ahead - aside)
        draw.polygon([tuple(corner) for corner in corners], fill=AGENT_COLOUR)
    return np.asarray(image).copy()
