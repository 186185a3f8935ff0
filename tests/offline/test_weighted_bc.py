"""Weighted behaviour cloning: its weights, and whom it follows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.columns import Batch
from offline_actrep.offline.learner import LearnerConfig
from offline_actrep.offline.weighted_bc import Running, WeightedBc, row_weights

CONFIG = LearnerConfig(
    hidden=(8,), critic_learning_rate=0.02, weight_temp=1.0, max_weight=20.0, beta=0.0
)


def learner(config: LearnerConfig = CONFIG, n_actions: int = 4) -> WeightedBc:
    with seeded(0):
        return WeightedBc("weighted_bc", config, 3, n_actions)


def test_weights_are_clipped_exponentials_of_mean_one() -> None:
    above = torch.tensor([0.0, 2.0, -2.0, 60.0])
    raw = np.array([1.0, np.e**1.5, np.e**-1.5, 20.0])
    found = row_weights(above, spread=4.0, factor=3.0, largest=20.0)
    assert found.numpy() == pytest.approx(raw / raw.mean(), rel=1e-5)
    assert row_weights(-1e4 * torch.ones(3), 1.0, 1.0, 20.0).isfinite().all()
    assert torch.equal(row_weights(torch.zeros(3), 0.0, 1.0, 20.0), torch.ones(3))


def test_a_running_mean_starts_at_the_first_value() -> None:
    running = Running()
    assert running.take(5.0) == 5.0
    assert running.take(15.0) == pytest.approx(5.1)


def choices(make_batch: Any, offset: bool) -> Batch:
    """Ids 0 and 1 are logged alike; 1 returned more, on top of what the state was worth."""
    batch = make_batch(0, 2, np.ones((512, 4), bool))
    worth = 10.0 * batch.features[:, 0] if offset else torch.zeros(512)
    return replace(batch, returns=worth + batch.actions.float(), allowed=None)


@pytest.mark.parametrize("weighting", ["advantage", "return"])
def test_it_follows_what_returned_more(make_batch: Any, weighting: str) -> None:
    batch = choices(make_batch, offset=False)
    made = learner(replace(CONFIG, weighting=weighting))
    for _ in range(200):
        made.update(batch)
    better = np.exp(made.scores(batch.features.numpy()))[:, 1].mean()
    # returns of 0 and 1 lie one spread below and one above: weights e^-1 and e^1
    assert better == pytest.approx(np.e / (np.e + 1 / np.e), abs=0.05)


def test_an_advantage_is_more_than_the_worth_of_the_state(make_batch: Any) -> None:
    """Where states differ far more than actions do, returns tell little and advantages much."""
    batch = choices(make_batch, offset=True)
    share = {}
    for weighting in ("advantage", "return"):
        made = learner(replace(CONFIG, weighting=weighting, hidden=(32,)))
        for _ in range(600):
            made.update(batch)
        share[weighting] = np.exp(made.scores(batch.features.numpy()))[:, 1].mean()
    assert share["return"] == pytest.approx(0.5, abs=0.1)
    assert share["advantage"] > share["return"] + 0.15


def test_equal_returns_make_it_plain(make_batch: Any) -> None:
    batch = replace(make_batch(0, 4), returns=torch.full((16,), 3.0))
    made = learner(replace(CONFIG, weighting="return"))
    likely = made.imitator(batch.features).log_softmax(dim=1).detach()
    plain = -likely.gather(1, batch.actions[:, None]).mean().item()
    assert made.update(batch)["imitation_loss"] == pytest.approx(plain, abs=1e-6)


def test_a_masked_one_is_a_distribution_over_the_allowed(make_batch: Any) -> None:
    mask = np.ones((16, 4), bool)
    mask[:, 3] = False
    batch = replace(make_batch(0, 3, mask), returns=torch.zeros(16))
    made = learner(replace(CONFIG, weighting="return", beta=0.3))
    head = made.imitator[-1]
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.bias[3] = 50.0
    likely = made.imitator(batch.features)[:, :3].log_softmax(dim=1).detach()
    logged = likely.gather(1, batch.actions[:, None]).mean()
    wanted = (0.3 * likely.square().mean() - logged).item()
    assert made.update(batch)["loss"] == pytest.approx(wanted, abs=1e-5)
    assert head.bias[3] == 50.0
    assert np.isnan(made.value(batch.features.numpy(), np.zeros(16, np.int64))).all()
