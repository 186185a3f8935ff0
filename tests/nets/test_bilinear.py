"""The encoder that is linear in the action: one action or all, the same points."""

import torch

from offline_actrep.nets.bilinear import BilinearEncoder
from offline_actrep.nets.seeding import seeded


def new_encoder() -> tuple[BilinearEncoder, torch.Tensor]:
    with seeded(0):
        encoder = BilinearEncoder(7, n_features=3, dim=2, rank=4, hidden=(16,))
        return encoder.requires_grad_(False), torch.randn(5, 3)


def test_all_actions_are_those_one_by_one() -> None:
    encoder, features = new_encoder()
    table = encoder.all_actions(features, encoder.per_action())
    singles = [encoder(features, torch.full((5,), action)) for action in range(7)]
    assert table.shape == (5, 7, 2)
    torch.testing.assert_close(table, torch.stack(singles, dim=1))


def test_a_point_is_the_states_matrix_times_the_actions_vector_and_a_shift() -> None:
    encoder, features = new_encoder()
    matrix, shift = encoder.heads(features)
    assert matrix.shape == (5, 2, 4) and shift.shape == (5, 2)
    wanted = matrix[3] @ encoder.actions.weight[6] + shift[3]
    torch.testing.assert_close(encoder(features, torch.full((5,), 6))[3], wanted)


def test_points_depend_on_state_and_action() -> None:
    encoder, features = new_encoder()
    table = encoder.all_actions(features, encoder.per_action())
    mixed = table - table.mean(dim=1, keepdim=True)
    assert (mixed[0] != mixed[1]).any()
    assert (table[:, 0] != table[:, 1]).any()


def test_it_learns_what_a_matrix_a_state_can_say() -> None:
    """Actions turned by the state: an action's own vector and a shift alone could not."""
    with seeded(1):
        encoder = BilinearEncoder(8, n_features=1, dim=2, rank=2, hidden=(64,))
        moves = torch.randn(8, 2)
        optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-2)
        for _ in range(300):
            angle, actions = torch.rand(256, 1) * 3, torch.randint(8, (256,))
            cos, sin = angle.cos()[:, 0], angle.sin()[:, 0]
            x, y = moves[actions].unbind(1)
            wanted = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=1)
            error = ((encoder(angle, actions) - wanted) ** 2).mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
    assert error.item() < 0.02 * (wanted**2).mean().item()
