"""A softmax over drawn outputs: unbiased in its sum, and as good as the full one where both fit."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from offline_actrep.nets.batches import batches
from offline_actrep.nets.descent import Descent
from offline_actrep.nets.full_softmax import FullSoftmax
from offline_actrep.nets.sampled_softmax import NEVER, Kind, Proposal, SampledSoftmax, surprise
from offline_actrep.nets.seeding import seeded


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["uniform", "frequency"])
def test_outputs_are_drawn_as_the_proposal_says(kind: Kind) -> None:
    targets = torch.tensor([2, 2, 2, 5])
    proposal = Proposal.of(kind, targets, 8)
    assert_close(proposal.log_q.exp().sum(), torch.tensor(1.0))
    drawn = proposal.draw(40_000, generator())
    found = torch.bincount(drawn, minlength=8) / len(drawn)
    assert_close(found, proposal.log_q.exp(), atol=0.01, rtol=0)
    assert found[2] > 0.4 if kind == "frequency" else found[2] < 0.15


def test_the_sum_over_others_is_estimated_without_bias() -> None:
    """1 / p - 1 is linear in the others' sum; its mean over all draws, as likely as they are."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5])
    q = torch.tensor([0.1, 0.4, 0.2, 0.3])
    exact = torch.softmax(logits, 0)
    for y in range(4):
        total, share = 0.0, 0.0
        for drawn in product(range(4), repeat=3):
            if all(j == y for j in drawn):
                continue  # nothing to estimate from
            of = torch.tensor(drawn)
            others = torch.where(of == y, NEVER, logits[of] - q[of].log())[None]
            nats = surprise(logits[y : y + 1], others, (of != y).sum()[None], q[y : y + 1].log())
            weight = float(q[of].prod())
            total += weight * float(nats.exp() - 1)
            share += weight
        assert total / share == pytest.approx(float(1 / exact[y] - 1), rel=1e-5)


def first_drawn(wanted: int) -> torch.Generator:
    """A generator whose first number below 2 is the wanted one."""
    seeds = (s for s in range(99) if int(torch.randint(2, (1,), generator=generator(s))) == wanted)
    return generator(next(seeds))


def test_draws_that_are_all_the_target_leave_finite_gradients() -> None:
    head = nn.Linear(3, 2)
    targets = torch.zeros(5, dtype=torch.int64)
    made = SampledSoftmax(
        head,
        Proposal(targets, torch.tensor([0.9, 0.1]).log()),  # the half by frequency is target 0
        negatives=2,
        sparse=False,
        generator=first_drawn(0),
    )
    loss = made(torch.ones(5, 3), targets)
    loss.backward()
    assert loss.isfinite()
    assert head.weight.grad is not None and head.weight.grad.isfinite().all()


def test_all_outputs_drawn_often_give_the_full_softmax() -> None:
    with seeded(0):
        head, hidden = nn.Linear(6, 30), torch.randn(40, 6)
        targets = torch.randint(30, (40,))
    made = SampledSoftmax(
        head,
        Proposal.of("uniform", targets, 30),
        negatives=60_000,
        sparse=False,
        generator=generator(),
    )
    assert_close(made(hidden, targets), FullSoftmax(head)(hidden, targets), atol=0.01, rtol=0)


SITUATIONS, ROWS, OUTPUTS = 40, 1000, 4096


def known_softmax() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, ln p of 4,096 outputs in each, and 1,000 targets a state drawn from p."""
    draws = generator(7)
    states = torch.randn((SITUATIONS, 3), generator=draws)
    vectors = torch.randn((OUTPUTS, 3), generator=draws)
    often = 1.5 * torch.randn(OUTPUTS, generator=draws)
    truth = torch.log_softmax(states @ vectors.T + often, dim=1)
    targets = torch.multinomial(truth.exp(), ROWS, replacement=True, generator=draws)
    return states, truth, targets


def fitted(kind: Kind | None, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probabilities after the same steps from the same weights."""
    with seeded(0):
        body, head = nn.Sequential(nn.Linear(3, 32), nn.ReLU()), nn.Linear(32, OUTPUTS)
    logged = targets.flatten()
    counts = torch.bincount(logged, minlength=OUTPUTS)
    with torch.no_grad():
        head.bias.copy_((counts + 0.5).log())
    draws = generator(1)
    made = FullSoftmax(head)
    if kind is not None:
        proposal = Proposal.of(kind, logged, OUTPUTS)
        made = SampledSoftmax(head, proposal, negatives=512, sparse=True, generator=draws)
    tables = [] if kind is None else list(head.parameters())
    whole = [*body.parameters(), *([] if tables else head.parameters())]
    descent = Descent(whole, tables=tables, learning_rate=0.01, steps=150)
    for rows in batches(len(logged), 256, 150, draws):
        descent.step({"surprise": made(body(states[rows // ROWS]), logged[rows])})
    with torch.no_grad():
        return torch.log_softmax(head(body(states)), dim=1)


def divergence(left: torch.Tensor, right: torch.Tensor) -> float:
    """KL(left || right), in nats, the mean of rows."""
    return float((left.exp() * (left - right)).sum(dim=1).mean())


def test_with_4096_outputs_it_comes_as_near_to_known_propensities_as_the_full_softmax() -> None:
    states, truth, targets = known_softmax()
    full = fitted(None, states, targets)
    frequency, uniform = (fitted(kind, states, targets) for kind in ("frequency", "uniform"))
    counts = torch.bincount(targets.flatten(), minlength=OUTPUTS) + 0.5
    worst = divergence(truth, (counts / counts.sum()).log().expand_as(truth))
    assert divergence(truth, full) < 0.5 * worst
    assert divergence(truth, frequency) < 1.1 * divergence(truth, full)
    assert divergence(truth, uniform) < 0.8 * worst
    assert divergence(full, frequency) < 0.25 * worst
    assert divergence(full, frequency) < divergence(full, uniform)
