"""u_a, what an encoder knows of an action: a free row of a table, or made from what is known of it.

A free row is learnt only as well as its action is visited. From some tens of thousands of actions
on, logs of the usual length visit each a few times at most, and a table learns noise; then u_a
must be a function, the same for all actions, of features or of the parts that an id is made of.
"""

from collections.abc import Sequence
from math import prod
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from offline_actrep.nets.row_adam import rows_of

AT_ONCE = 65_536
"""Actions whose vectors are made at once."""


@final
class FreeVectors(nn.Embedding):
    """A learnt row an action.

    Args:
        n_actions: A.
        width: length of u_a.
        sparse: whether the table gets sparse gradients, for `RowAdam`.
    """

    def __init__(self, n_actions: int, width: int, *, sparse: bool = False) -> None:
        super().__init__(n_actions, width)
        nn.init.normal_(self.weight, std=0.05)
        self.of_rows = sparse

    def forward(self, input: Int64[Tensor, " B"]) -> Float[Tensor, "B k"]:
        """Of some actions."""
        if self.of_rows:
            return rows_of(self.weight, input, sparse=True)
        return super().forward(input)

    def all(self) -> Float[Tensor, "A k"]:
        """Of every action."""
        return self.weight

    def tables(self) -> list[Tensor]:
        """What `RowAdam` must move."""
        return [self.weight] if self.of_rows else []


@final
class MadeVectors(nn.Module):
    """u_a from what is known of a, by a network; a free row may be added to it.

    Args:
        known: `FeatureRows` or `FactorRows`.
        hidden: width of the network's hidden layer.
        width: length of u_a.
        residual: the free rows, which start at 0; None for none.
    """

    def __init__(
        self,
        known: "FeatureRows | FactorRows",
        hidden: int,
        width: int,
        residual: FreeVectors | None = None,
    ) -> None:
        super().__init__()
        self.known = known
        self.project = nn.Sequential(
            nn.Linear(known.width, hidden), nn.ReLU(), nn.Linear(hidden, width)
        )
        self.residual = residual
        self.embedding_dim = width
        if residual is not None:
            nn.init.zeros_(residual.weight)

    def forward(self, actions: Int64[Tensor, " B"]) -> Float[Tensor, "B k"]:
        """Of some actions."""
        made = self.project(self.known(actions))
        return made if self.residual is None else made + self.residual(actions)

    def all(self) -> Float[Tensor, "A k"]:
        """Of every action."""
        somewhere = next(self.project.parameters())
        everyone = torch.arange(len(self.known), device=somewhere.device)
        return torch.cat([self(part) for part in everyone.split(AT_ONCE)])

    def tables(self) -> list[Tensor]:
        """What `RowAdam` must move."""
        return [] if self.residual is None else self.residual.tables()


ActionVectors = FreeVectors | MadeVectors


@final
class FeatureRows(nn.Module):
    """External features, each column brought to mean 0 and deviation 1.

    Args:
        n_actions: A.
        width: F; the features themselves come by `of` or with the saved tensors.
    """

    rows: Tensor

    def __init__(self, n_actions: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(n_actions, width))
        self.width = width

    @staticmethod
    def of(features: Float32[np.ndarray, "A F"]) -> "FeatureRows":
        """Of an action set's features; a column that never varies becomes 0."""
        made = FeatureRows(*features.shape)
        mean = features.mean(axis=0, dtype=np.float64)
        std = features.std(axis=0, dtype=np.float64)
        standard = (features - mean) / np.where(std > 1e-6, std, 1.0)
        made.rows.copy_(torch.from_numpy(standard))
        return made

    def __len__(self) -> int:
        return len(self.rows)

    def forward(self, actions: Int64[Tensor, " B"]) -> Float[Tensor, "B F"]:
        """Of some actions."""
        return self.rows.index_select(0, actions)


@final
class FactorRows(nn.Module):
    """The parts that an id is made of, each part's value with a learnt vector: their sum.

    An id is read as a number whose digits count to `sizes`, the last fastest, as
    `numpy.unravel_index` reads it: 2^12 ways to switch 12 actuators have sizes (2,) * 12.

    Args:
        n_actions: A.
        sizes: how many values each part has.
        width: length of a value's vector.
    """

    places: Tensor

    def __init__(self, n_actions: int, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.zeros(n_actions, len(sizes), dtype=torch.int32))
        self.values = nn.Parameter(torch.randn(sum(sizes), width))
        self.width = width

    @staticmethod
    def of(ids: np.ndarray, sizes: Sequence[int], width: int) -> "FactorRows":
        """Of integer ids.

        Raises:
            ValueError: ids that are no integers, or lie outside what the sizes can count.
        """
        known = ids.dtype.kind == "i" and ids.min() >= 0 and ids.max() < prod(sizes)
        if not known:
            ranked = np.sort(ids)
            raise ValueError(
                f"factors {tuple(sizes)} count integer ids from 0 to {prod(sizes) - 1}, the action "
                f"ids run from {ranked[0]!s} to {ranked[-1]!s}; give sizes whose product is "
                f"greater, or put the factors into the action table as features"
            )
        made = FactorRows(len(ids), sizes, width)
        digits = np.stack(np.unravel_index(ids, tuple(sizes)), axis=1)
        made.places.copy_(torch.from_numpy(digits + np.cumsum([0, *sizes[:-1]])))
        return made

    def __len__(self) -> int:
        return len(self.places)

    def forward(self, actions: Int64[Tensor, " B"]) -> Float[Tensor, "B k"]:
        """Of some actions."""
        return nn.functional.embedding_bag(
            self.places.index_select(0, actions), self.values, mode="sum"
        )
