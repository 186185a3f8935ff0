"""The exact nearest action by l1 distance, in batches of states.

`g(e) = argmin_a |e - phi(a; s)|_1` (Gu et al. 2022, Eq. 1), over all actions or the allowed ones.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

ELEMENTS = 2_000_000
"""Most floats of hidden activations at once: 8 MB, about what a core's cache holds."""


def states_at_once(n_actions: int, width: int) -> int:
    """How many states' tables fit into `ELEMENTS`."""
    return max(1, ELEMENTS // (n_actions * width))


def nearest(
    points: Float[Tensor, "B E"],
    table: Callable[[slice], Float[Tensor, "b A E"]],
    chunk: int,
    mask: Bool[Tensor, "B A"] | None = None,
) -> tuple[Int64[Tensor, " B"], Float[Tensor, " B"]]:
    """Dense index of the nearest action, and its l1 distance; the lowest index wins a tie.

    Args:
        points: what to decode.
        table: gives the points of all actions in the states of a slice of rows.
        chunk: rows a slice.
        mask: the actions each row may choose.

    Raises:
        ValueError: a row that may choose nothing.
    """
    if mask is not None and not bool(mask.any(dim=1).all()):
        row = int(torch.nonzero(~mask.any(dim=1))[0, 0])
        raise ValueError(f"row {row} has an empty set of allowed actions; give it at least one")
    best = torch.empty(len(points), dtype=torch.int64)
    gap = torch.empty(len(points), dtype=points.dtype)
    for start in range(0, len(points), chunk):
        rows = slice(start, min(start + chunk, len(points)))
        distance = (table(rows) - points[rows, None]).abs().sum(dim=2)
        if mask is not None:
            distance.masked_fill_(~mask[rows], torch.inf)
        best[rows] = distance.argmin(dim=1)
        gap[rows] = distance.gather(1, best[rows, None])[:, 0]
    return best, gap
