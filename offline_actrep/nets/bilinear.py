"""An encoder that is linear in the action: a state's matrix times the action's vector."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from offline_actrep.nets.action_vectors import ActionVectors, FreeVectors
from offline_actrep.nets.mlp import mlp


@final
class BilinearEncoder(nn.Module):
    """phi(a; s) = B(s) u_a + c(s), with B `[E, k]` and c `[E]` from an MLP of the state.

    The points of all actions cost k products a coordinate, where a layer of H costs H; what the
    encoder cannot say is anything that is not linear in k numbers an action.

    Args:
        n_actions: A.
        n_features: length of the state's features.
        dim: E.
        rank: k, length of u_a.
        hidden: widths of the hidden layers between features and B, c.
        actions: gives u_a; a learnt row an action unless given.
    """

    def __init__(
        self,
        n_actions: int,
        n_features: int,
        dim: int,
        rank: int,
        hidden: Sequence[int],
        actions: ActionVectors | None = None,
    ) -> None:
        super().__init__()
        self.actions = FreeVectors(n_actions, rank) if actions is None else actions
        self.from_state = mlp([n_features, *hidden, dim * (rank + 1)])
        self.dim = dim

    def heads(
        self, features: Float[Tensor, "B F"]
    ) -> tuple[Float[Tensor, "B E k"], Float[Tensor, "B E"]]:
        """B(s) and c(s)."""
        both = self.from_state(features).unflatten(1, (self.dim, -1))
        return both[:, :, :-1], both[:, :, -1]

    def forward(
        self, features: Float[Tensor, "B F"], actions: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B E"]:
        """One action a state."""
        matrix, shift = self.heads(features)
        return torch.baddbmm(shift[:, :, None], matrix, self.actions(actions)[:, :, None])[:, :, 0]

    def per_action(self, actions: Int64[Tensor, " A"] | None = None) -> Float[Tensor, "A k"]:
        """u_a of every action, or of those asked about."""
        return self.actions.all() if actions is None else self.actions(actions)

    def all_actions(
        self, features: Float[Tensor, "B F"], per_action: Float[Tensor, "A k"]
    ) -> Float[Tensor, "B A E"]:
        """Every action in every state."""
        matrix, shift = self.heads(features)
        return per_action @ matrix.mT + shift[:, None]
