"""The plain scan: the nearest action by l1 distance, in batches of states, with torch alone.

`g(e) = argmin_a |e - phi(a; s)|_1` (Gu et al. 2022, Eq. 1), over all actions or the allowed ones.
Every faster search is held against this one.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from offline_actrep.core.actions import refuse_empty
from offline_actrep.decoding.points import Codes, Heads, points_of

Table = Callable[[slice], Float[Tensor, "b A E"]]
"""The points of all actions in the states of a slice of rows."""
ELEMENTS = 2_000_000
"""Most floats of hidden activations at once: 8 MB, about what a core's cache holds."""


def states_at_once(n_actions: int, width: int) -> int:
    """How many states' tables fit into `ELEMENTS`."""
    return max(1, ELEMENTS // (n_actions * width))


def nearest(
    points: Float[Tensor, "B E"],
    table: Table,
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
    if mask is not None:
        refuse_empty(mask.any(dim=1).numpy())
    best = torch.empty(len(points), dtype=torch.int64)
    gap = torch.empty(len(points), dtype=points.dtype)
    for rows, distance in _by_parts(points, table, chunk, mask):
        best[rows] = distance.argmin(dim=1)
        gap[rows] = distance.gather(1, best[rows, None])[:, 0]
    return best, gap


def neighbours(
    points: Float[Tensor, "B E"],
    table: Table,
    chunk: int,
    count: int,
    mask: Bool[Tensor, "B A"] | None = None,
) -> tuple[Int64[Tensor, "B K"], Float[Tensor, "B K"]]:
    """Dense indices of the `count` nearest actions, nearest first, and their l1 distances.

    The lower index comes first where two are as near. A row that may choose fewer has -1 and
    infinity in place of those that it lacks. The arguments are those of `nearest`.

    Raises:
        ValueError: a row that may choose nothing, or whose distances are not numbers; a `count`
            below 1.
    """
    refuse_none(count)
    if mask is not None:
        refuse_empty(mask.any(dim=1).numpy())
    best = torch.full((len(points), count), -1)
    gap = torch.full((len(points), count), torch.inf, dtype=points.dtype)
    for rows, distance in _by_parts(points, table, chunk, mask):
        ordered = distance.sort(dim=1, stable=True)
        found, actions = ordered.values[:, :count], ordered.indices[:, :count]
        there = found < torch.inf
        best[rows, : found.shape[1]] = actions.where(there, -1)
        gap[rows, : found.shape[1]] = found.where(there, torch.inf)
    refuse_lost(best)
    return best, gap


def refuse_none(count: int) -> None:
    """Raises ValueError where no neighbour is asked for."""
    if count < 1:
        raise ValueError(f"{count} neighbours were asked for; ask for 1 at least")


def refuse_lost(best: Int64[Tensor, "B K"]) -> None:
    """Raises ValueError by the first row that found nothing, which only no number can cause."""
    if (lost := best[:, 0] < 0).any():
        row = int(lost.nonzero()[0, 0])
        raise ValueError(
            f"row {row} has no nearest action: its distances are not numbers; look for NaN or "
            "infinity in its observation, in its point or in the representation's weights"
        )


def _by_parts(
    points: Float[Tensor, "B E"],
    table: Table,
    chunk: int,
    mask: Bool[Tensor, "B A"] | None,
) -> Iterator[tuple[slice, Float[Tensor, "b A"]]]:
    """Runs of rows, and their distances to all actions, infinite where the mask forbids."""
    for start in range(0, len(points), chunk):
        rows = slice(start, min(start + chunk, len(points)))
        distance = (table(rows) - points[rows, None]).abs().sum(dim=2)
        if mask is not None:
            distance.masked_fill_(~mask[rows], torch.inf)
        yield rows, distance


def distances(codes: Codes, heads: Heads, points: Float32[Tensor, "B E"]) -> Float32[Tensor, "B A"]:
    """The l1 distance of each point to those of all actions in its state: the split scan.

    The first layer's share of every action is taken as given (`Codes.table`), and the rest is done
    for as many actions at once as the cache holds; 2 to 5 times as fast as the whole network with
    the state copied beside every action.
    """
    found = torch.empty(len(points), len(codes))
    for s, point in enumerate(points):
        head = heads.rows(slice(s, s + 1))
        step = max(1, ELEMENTS // (4 * codes.width))
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            gaps = points_of(codes.part(part), head)[0].sub_(point).abs_()
            torch.sum(gaps, dim=1, out=found[s, part])
    return found
