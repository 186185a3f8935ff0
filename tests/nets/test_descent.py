"""A step down: the same as Adam and its schedule by hand, whole or by rows."""

import torch
from torch import nn
from torch.testing import assert_close

from offline_actrep.nets.descent import Descent
from offline_actrep.nets.row_adam import rows_of


def test_a_step_is_adam_on_the_sum_at_a_rate_that_falls_to_zero() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    descent = Descent([ours], learning_rate=0.1, steps=4)
    adam = torch.optim.Adam([theirs], lr=0.1)
    for step in range(4):
        descent.step({"one": (ours**2).sum(), "two": ours[0] * 3})
        adam.param_groups[0]["lr"] = 0.05 * (1 + float(torch.tensor(torch.pi * step / 4).cos()))
        adam.zero_grad()
        ((theirs**2).sum() + theirs[0] * 3).backward()
        adam.step()
    assert_close(ours, theirs)
    assert descent.schedules[0].get_last_lr() == [0.0]


def test_tables_move_by_rows_and_the_rest_whole() -> None:
    table, shift = nn.Parameter(torch.ones(5, 2)), nn.Parameter(torch.zeros(2))
    descent = Descent([shift], tables=[table], learning_rate=0.1, steps=3)
    for _ in range(3):
        row = rows_of(table, torch.tensor([1, 3]), sparse=True)
        descent.step({"error": ((row + shift - 4) ** 2).sum()})
    assert (table[[1, 3]] > 1.1).all() and (shift > 0.1).all()
    assert torch.equal(table[[0, 2, 4]], torch.ones(3, 2))
