"""Behaviour cloning over ids is d3rlpy's."""

from typing import Any

import numpy as np
import pytest
from d3rlpy.algos import DiscreteBCConfig
from d3rlpy.models import VectorEncoderFactory

from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.discrete_bc import DiscreteBc
from offline_actrep.offline.learner import LearnerConfig


def test_three_updates_are_d3rlpys(make_batch: Any, as_theirs: Any) -> None:
    config = LearnerConfig(hidden=(9, 7), batch_size=16, critic_learning_rate=0.012, beta=0.23)
    with seeded(1):
        made = DiscreteBc("discrete_bc", config, 3, 6)
    algo: Any = DiscreteBCConfig(
        learning_rate=0.012,
        encoder_factory=VectorEncoderFactory(hidden_units=[9, 7]),
        batch_size=16,
        beta=0.23,
    ).create(device="cpu:0")
    algo.create_impl((3,), 6)
    imitator = algo.impl.modules.imitator
    body, head = made.imitator[:-1], made.imitator[-1]
    imitator._encoder._layers.load_state_dict(body.state_dict())
    imitator._fc.load_state_dict(head.state_dict())
    for seed in range(3):
        batch = make_batch(seed, 6)
        mine, other = made.update(batch), algo.update(as_theirs(batch))
        assert mine["loss"] == pytest.approx(other["loss"], abs=1e-5)
    assert (imitator._fc.weight - head.weight).abs().max() < 1e-5
    seen = make_batch(3, 6).features.numpy()
    assert np.array_equal(made.scores(seen).argmax(axis=1), algo.predict(seen))
    assert np.exp(made.scores(seen)).sum(axis=1) == pytest.approx(np.ones(16), abs=1e-5)
    mask = np.arange(6) < 2
    allowed = np.broadcast_to(mask, (16, 6)).copy()
    assert np.exp(made.scores(seen, allowed)).sum(axis=1) == pytest.approx(np.ones(16), abs=1e-5)
    assert np.isnan(made.value(seen, np.zeros(16, np.int64))).all()
