"""Networks with one output an id: their masks, single outputs, log-probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from offline_actrep.core.actions import AllowedActions
from offline_actrep.nets.computing import CPU

AT_ONCE = 4_000_000
"""Most outputs at once of a network that acts: 16 MB, and a quarter of that for their mask."""


def parts(n_rows: int, n_actions: int) -> list[slice]:
    """The rows in runs with at most `AT_ONCE` outputs each, or of one row.

    The runs are about equally long: products with a matrix of very few rows have other bits.
    """
    at_once = max(1, AT_ONCE // n_actions)
    n_parts = max(1, -(-n_rows // at_once))
    cuts = (n_rows * part // n_parts for part in range(n_parts + 1))
    return [slice(start, stop) for start, stop in pairwise(cuts)]


@dataclass(frozen=True)
class Choices:
    """The ids that each row allows, side by side: K is the size of the largest set.

    Work on `[B, K]` costs what the sets are worth; a mask over all ids would cost more than none.

    Attributes:
        ids: `[B, K]` the allowed ids, in order, then blanks.
        blank: `[B, K]` where there is no id.
    """

    ids: Int64[Tensor, "B K"]
    blank: Bool[Tensor, "B K"]

    @staticmethod
    def of(allowed: AllowedActions | None, device: torch.device = CPU) -> "Choices | None":
        """From compressed rows, onto a device; None for all ids."""
        if allowed is None:
            return None
        counts = allowed.counts
        there = np.arange(counts.max()) < counts[:, None]
        ids = np.zeros(there.shape, np.int64)
        ids[there] = allowed.indices
        return Choices(torch.from_numpy(ids).to(device), torch.from_numpy(~there).to(device))


def among(values: Float32[Tensor, "B A"], choices: Choices | None) -> Float32[Tensor, "B K"]:
    """The values of the choices, -inf at blanks."""
    if choices is None:
        return values
    return values.gather(1, choices.ids).masked_fill(choices.blank, -torch.inf)


def places(actions: Int64[Tensor, " B"], choices: Choices | None) -> Int64[Tensor, " B"]:
    """Where among its choices each id stands."""
    if choices is None:
        return actions
    return (choices.ids == actions[:, None]).int().argmax(dim=1)


def best(values: Float32[Tensor, "B K"], choices: Choices | None) -> Int64[Tensor, " B"]:
    """The id of the largest of the values of the choices; the first wins a tie."""
    place = values.argmax(dim=1)
    return place if choices is None else at_place(choices.ids, place)


def at_place(rows: Tensor, place: Int64[Tensor, " B"]) -> Tensor:
    """One entry a row."""
    return rows.gather(1, place[:, None])[:, 0]


def at(
    head: nn.Linear, hidden: Float32[Tensor, "B H"], actions: Int64[Tensor, " B"]
) -> Float32[Tensor, " B"]:
    """One output a row of a layer with an output an id; the others are not computed."""
    return (hidden * head.weight[actions]).sum(dim=1) + head.bias[actions]


def mean_square(values: Float32[Tensor, "B K"], choices: Choices | None) -> Float32[Tensor, ""]:
    """Over all choices of all rows."""
    if choices is None:
        return values.square().mean()
    return values[~choices.blank].square().mean()


def only(
    values: Float32[Tensor, "B A"], mask: Bool[np.ndarray, "B A"] | None
) -> Float32[Tensor, "B A"]:
    """All values, -inf where the mask forbids."""
    if mask is None:
        return values
    return values.where(torch.from_numpy(mask).to(values.device), -torch.inf)


def adam(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Adam:
    """Adam as d3rlpy sets it, all weights in one call."""
    return torch.optim.Adam(parameters, lr=rate, fused=True)
