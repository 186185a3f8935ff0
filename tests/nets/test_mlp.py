"""The encoder of an action in a state: one action or all, the same points."""

import torch
from torch import nn

from offline_actrep.nets.mlp import ActionStateEncoder, mlp
from offline_actrep.nets.seeding import seeded


def test_layers_alternate_and_end_linear() -> None:
    network = mlp([3, 5, 4, 2])
    assert [type(layer) for layer in network] == [
        nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear
    ]  # fmt: skip
    widths = [(x.in_features, x.out_features) for x in network if isinstance(x, nn.Linear)]
    assert widths == [(3, 5), (5, 4), (4, 2)]


def test_all_actions_are_those_one_by_one() -> None:
    with seeded(0):
        encoder = ActionStateEncoder(7, n_features=3, dim=2, embedding=4, hidden=(16, 8))
        features = torch.randn(5, 3)
    with torch.no_grad():
        table = encoder.all_actions(features, encoder.per_action())
        singles = [encoder(features, torch.full((5,), action)) for action in range(7)]
    assert table.shape == (5, 7, 2)
    torch.testing.assert_close(table, torch.stack(singles, dim=1))


def test_the_first_layer_is_one_layer_of_state_beside_action() -> None:
    with seeded(1):
        encoder = ActionStateEncoder(3, n_features=2, dim=1, embedding=4, hidden=(6,))
        features = torch.randn(3, 2)
    actions = torch.tensor([2, 0, 1])
    weight = torch.cat([encoder.from_state.weight, encoder.from_action.weight], dim=1)
    beside = torch.cat([features, encoder.actions(actions)], dim=1)
    hidden = torch.relu(beside @ weight.T + encoder.from_action.bias)
    torch.testing.assert_close(encoder(features, actions), encoder.rest(hidden))


def test_points_depend_on_state_and_action() -> None:
    with seeded(2):
        encoder = ActionStateEncoder(3, n_features=2, dim=4, embedding=4, hidden=(32,))
        features = torch.randn(2, 2)
    table = encoder.all_actions(features, encoder.per_action())
    assert (table[0] != table[1]).any()
    assert (table[:, 0] != table[:, 1]).any()
