"""What holds for every learner: weights leave and return, and a seed fixes them."""

from typing import Any

import numpy as np
import pytest
import torch

from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline.catalog import (
    ON_IDS,
    ON_POINTS,
    make_id_learner,
    make_point_learner,
)
from offline_actrep.offline.columns import Columns, learning_columns
from offline_actrep.offline.learner import (
    CONTINUOUS,
    DECODING,
    DISCRETE,
    MASKED,
    LearnerConfig,
)
from offline_actrep.offline.train import DEFAULTS, settings
from offline_actrep.relabel import Relabelled

SMALL = LearnerConfig(hidden=(8, 8), batch_size=16, steps=5, warmup=0.2)
EVERY = pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
SEEN = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)


def learner(name: str, points: Relabelled, seed: int = 0) -> Any:
    if name in CONTINUOUS:
        space = points.representation
        return make_point_learner(name, SMALL, n_features=3, representation=space, seed=seed)
    return make_id_learner(name, SMALL, n_features=3, n_actions=16, seed=seed)


def columns_of(name: str, points: Relabelled) -> Columns:
    columns = learning_columns(
        points if name in CONTINUOUS else points.log,
        ObservationFeatures(3, FeatureConfig()),
        1.0,
        0.9,
        observations=name in DECODING,
        allowed=name in (*MASKED, *DECODING),
    )
    assert isinstance(columns, Columns)
    return columns


def trained(name: str, points: Relabelled) -> Any:
    """A few steps away from its initial weights."""
    made, columns = learner(name, points), columns_of(name, points)
    draws = np.random.default_rng(0)
    for _ in range(5):
        losses = made.update(columns.batch(draws.integers(len(columns), size=16)))
        assert all(isinstance(loss, float) and np.isfinite(loss) for loss in losses.values())
    return made


def answer(name: str, made: Any) -> np.ndarray:
    return made.points(SEEN, SEEN) if name in CONTINUOUS else made.scores(SEEN)


def test_every_name_has_a_maker_and_settings() -> None:
    assert tuple(ON_POINTS) == CONTINUOUS
    assert set(ON_IDS) == set(DISCRETE)
    assert set(DEFAULTS) == {*CONTINUOUS, *DISCRETE}
    for name in MASKED:
        plain = name.removeprefix("masked_")
        assert ON_IDS[name] is ON_IDS[plain]
        assert settings(name, {}) == settings(plain, {})


@EVERY
def test_weights_leave_and_return(name: str, points: Relabelled) -> None:
    made, other = trained(name, points), learner(name, points, seed=7)
    before = answer(name, other)
    other.load(made.tensors())
    assert np.array_equal(answer(name, other), answer(name, made))
    assert not np.array_equal(before, answer(name, made))
    assert all(torch.equal(tensor, made.tensors()[key]) for key, tensor in other.tensors().items())


@EVERY
def test_weights_that_left_do_not_change_with_training(name: str, points: Relabelled) -> None:
    made, columns = learner(name, points), columns_of(name, points)
    kept = made.tensors()
    copies = {key: tensor.clone() for key, tensor in kept.items()}
    made.update(columns.batch(np.arange(16)))
    assert all(torch.equal(tensor, copies[key]) for key, tensor in kept.items())
    assert not all(torch.equal(tensor, kept[key]) for key, tensor in made.tensors().items())


@EVERY
def test_the_seed_fixes_the_weights_and_the_callers_generator_stays(
    name: str, points: Relabelled
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    mine, same, other = (learner(name, points, seed).tensors() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(mine[key], same[key]) for key in mine)
    assert any(not torch.equal(mine[key], other[key]) for key in mine)


@EVERY
def test_asking_twice_gives_the_same_answer(name: str, points: Relabelled) -> None:
    """BCQ draws candidates; the draws are fixed."""
    made = trained(name, points)
    torch.manual_seed(0)
    first = answer(name, made)
    torch.rand(3)
    assert np.array_equal(answer(name, made), first)


@EVERY
def test_values_have_a_number_a_row(name: str, points: Relabelled) -> None:
    made, columns = trained(name, points), columns_of(name, points)
    found = made.value(columns.features, columns.actions)
    assert found.shape == (len(columns),) and found.dtype == np.float32
    assert np.isnan(found).all() == name.endswith("_bc" if name in DISCRETE else "none")


@pytest.mark.parametrize("name", DISCRETE)
def test_what_a_mask_forbids_has_no_score(name: str, points: Relabelled) -> None:
    mask = np.random.default_rng(0).random((200, 16)) < 0.2
    mask[:, 3] = True
    scores = trained(name, points).scores(SEEN, mask)
    assert scores.shape == (200, 16)
    assert np.isneginf(scores[~mask]).all()
    assert np.isfinite(scores.max(axis=1)).all()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("steps", 0), ("steps", -5), ("batch_size", 0), ("hidden", (8, 0)),
        ("gamma", 97), ("gamma", -0.1), ("gamma", float("nan")),
        ("actor_learning_rate", 0.0), ("critic_learning_rate", -1e-3),
        ("conservative_weight", -0.1), ("n_action_samples", 0), ("initial_temperature", 0.0),
        ("alpha", -1.0), ("tau", 5), ("tau", 0.0), ("target_noise", -0.2),
        ("action_flexibility", 1.0), ("lam", 1.1), ("beta", -0.5),
        ("warmup", 1.0), ("warmup", -0.1), ("expectile", 0.0), ("expectile", 1.0),
        ("weight_temp", -1.0), ("max_weight", 0.0), ("weighting", "luck"),
        ("target_update_interval", 0),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting: str, value: Any) -> None:
    """By field, range and what was given."""
    given = repr(value[-1] if isinstance(value, tuple) else value)
    with pytest.raises(ValueError, match=rf"{setting}.* should be .*got {given}"):
        settings("plas", {setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gamma", 0.0), ("gamma", 1.0), ("tau", 1.0), ("lam", 0.0), ("lam", 1.0), ("beta", 0.0),
        ("alpha", 0.0), ("warmup", 0.0), ("action_flexibility", 0.0), ("weight_temp", 0.0),
        ("target_noise", 0.0), ("conservative_weight", 0.0),
    ],
)  # fmt: skip
def test_settings_at_the_ends_of_their_ranges_are_taken(setting: str, value: float) -> None:
    assert getattr(settings("plas", {setting: value}), setting) == value
