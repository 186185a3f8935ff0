"""Work on the allowed ids alone is work on all ids with the others at -inf."""

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import AllowedActions
from offline_actrep.offline import heads
from offline_actrep.offline.heads import (
    Choices,
    among,
    at,
    best,
    mean_square,
    only,
    parts,
    places,
)

MASK = np.array([[True, False, True, True], [False, False, False, True], [True] * 4])
VALUES = torch.tensor([[1.0, 9.0, 3.0, 3.0], [5.0, 6.0, 7.0, -8.0], [0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize("n_actions", [1, 7, 30, 100, 500])
@pytest.mark.parametrize("n_rows", [0, 1, 14, 29, 300])
def test_rows_are_taken_in_even_parts_of_few_outputs(
    n_rows: int, n_actions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "AT_ONCE", 100)
    found = parts(n_rows, n_actions)
    assert [row for rows in found for row in range(n_rows)[rows]] == list(range(n_rows))
    sizes, most = [rows.stop - rows.start for rows in found], max(1, 100 // n_actions)
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1
    assert (len(found) == 1) == (n_rows <= most)


def test_choices_stand_side_by_side() -> None:
    choices = Choices.of(AllowedActions.of_mask(MASK))
    assert choices is not None
    assert choices.blank.tolist() == [[False] * 3 + [True], [False] + [True] * 3, [False] * 4]
    assert choices.ids[~choices.blank].tolist() == [0, 2, 3, 3, 0, 1, 2, 3]
    found = among(VALUES, choices)
    assert found[0].tolist() == [1.0, 3.0, 3.0, -np.inf]
    assert best(found, choices).tolist() == [2, 3, 0]
    actions = torch.tensor([3, 3, 1])
    assert places(actions, choices).tolist() == [2, 0, 1]
    assert mean_square(found, choices).item() == pytest.approx((1 + 9 + 9 + 64) / 8)


def test_no_choices_are_all_ids() -> None:
    assert Choices.of(None) is None
    assert among(VALUES, None) is VALUES
    assert best(VALUES, None).tolist() == [1, 2, 0]
    assert places(torch.tensor([3, 1]), None).tolist() == [3, 1]
    assert mean_square(VALUES[:2], None).item() == pytest.approx((1 + 81 + 9 + 9 + 174) / 8)


def test_log_sum_exp_and_its_gradient_are_those_of_a_mask() -> None:
    choices = Choices.of(AllowedActions.of_mask(MASK))
    gradients = []
    for limited in (lambda v: among(v, choices), lambda v: only(v, MASK)):
        values = VALUES.clone().requires_grad_()
        total = limited(values).logsumexp(dim=1)
        total.sum().backward()
        gradients.append((total.detach(), values.grad))
    (left, left_slope), (right, right_slope) = gradients
    assert torch.allclose(left, right) and torch.allclose(left_slope, right_slope)
    assert (left_slope[~torch.from_numpy(MASK)] == 0).all()


def test_one_output_is_that_of_the_whole_layer() -> None:
    torch.manual_seed(0)
    head, hidden, actions = torch.nn.Linear(5, 4), torch.randn(3, 5), torch.tensor([2, 0, 3])
    whole = head(hidden)[torch.arange(3), actions]
    assert torch.allclose(at(head, hidden, actions), whole, atol=1e-6)
