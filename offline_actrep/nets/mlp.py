"""Multilayer perceptrons, and the encoder of an action in a state with its first layer split."""

from collections.abc import Sequence
from itertools import pairwise
from typing import final

from jaxtyping import Float, Int64
from torch import Tensor, nn

from offline_actrep.nets.action_vectors import ActionVectors, FreeVectors


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them and none at the end."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


@final
class ActionStateEncoder(nn.Module):
    """phi(a; s): an MLP of a state's features beside a vector of the action.

    The first layer is W_s f(s) + (W_a u_a + b): the second part does not depend on the state, so
    the points of all actions in B states cost one table `[A, H]` and B vectors `[H]`, never B
    copies of the input.

    Args:
        n_actions: A.
        n_features: length of the state's features.
        dim: E.
        embedding: length of u_a.
        hidden: widths of the hidden layers; at least one.
        actions: gives u_a; a learnt row an action unless given.
    """

    def __init__(
        self,
        n_actions: int,
        n_features: int,
        dim: int,
        embedding: int,
        hidden: Sequence[int],
        actions: ActionVectors | None = None,
    ) -> None:
        super().__init__()
        self.actions = FreeVectors(n_actions, embedding) if actions is None else actions
        self.from_action = nn.Linear(embedding, hidden[0])
        self.from_state = nn.Linear(n_features, hidden[0], bias=False)
        self.rest = mlp([*hidden, dim])

    def forward(
        self, features: Float[Tensor, "B F"], actions: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B E"]:
        """One action a state."""
        first = self.from_state(features) + self.from_action(self.actions(actions))
        return self.rest(first.relu_())

    def per_action(self, actions: Int64[Tensor, " A"] | None = None) -> Float[Tensor, "A H"]:
        """The first layer's share of every action, or of those asked about."""
        vectors = self.actions.all() if actions is None else self.actions(actions)
        return self.from_action(vectors)

    def all_actions(
        self, features: Float[Tensor, "B F"], per_action: Float[Tensor, "A H"]
    ) -> Float[Tensor, "B A E"]:
        """Every action in every state."""
        first = self.from_state(features)[:, None] + per_action
        return self.rest(first.relu_())
