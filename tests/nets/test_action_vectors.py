"""What an encoder knows of an action: rows of their own, features, and the parts of an id."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from offline_actrep.nets import action_vectors
from offline_actrep.nets.action_vectors import FactorRows, FeatureRows, FreeVectors, MadeVectors
from offline_actrep.nets.bilinear import BilinearEncoder
from offline_actrep.nets.mlp import ActionStateEncoder
from offline_actrep.nets.seeding import seeded


def features(n: int = 9) -> np.ndarray:
    draws = np.random.default_rng(0)
    made = draws.normal(5.0, 3.0, (n, 3)).astype(np.float32)
    made[:, 2] = 7.0
    return made


def test_features_are_standardised_and_a_constant_one_is_zero() -> None:
    rows = FeatureRows.of(features()).rows
    assert_close(rows.mean(dim=0), torch.zeros(3), atol=1e-6, rtol=0)
    assert_close(rows.std(dim=0, correction=0), torch.tensor([1.0, 1.0, 0.0]))


def test_factors_are_the_digits_of_an_id() -> None:
    with seeded(0):
        known = FactorRows.of(np.array([0, 11, 5, 23]), (2, 3, 4), width=3)
    digits = np.array([[0, 0, 0], [0, 2, 3], [0, 1, 1], [1, 2, 3]])
    values = known.values.detach()
    wanted = torch.stack([values[0 + a] + values[2 + b] + values[5 + c] for a, b, c in digits])
    assert_close(known(torch.arange(4)).detach(), wanted)
    assert torch.equal(known(torch.tensor([2])), known(torch.arange(4))[2:3])


@pytest.mark.parametrize("ids", [np.array([0, 24]), np.array([-1, 3]), np.array(["a", "b"])])
def test_ids_that_the_factors_cannot_count_are_refused(ids: np.ndarray) -> None:
    with pytest.raises(ValueError, match="count integer ids from 0 to 23, the action ids run"):
        FactorRows.of(ids, (2, 3, 4), width=3)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("kind", ["features", "factors"])
def test_some_vectors_are_rows_of_all_however_many_are_made_at_once(
    kind: str, residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_vectors, "AT_ONCE", 4)
    with seeded(0):
        known = FeatureRows.of(features()) if kind == "features" else new_factors()
        own = FreeVectors(9, 5, sparse=True) if residual else None
        made = MadeVectors(known, 16, 5, own).requires_grad_(False)
    assert made.all().shape == (9, made.embedding_dim)
    some = torch.tensor([8, 0, 8, 3])
    assert_close(made(some), made.all()[some])
    assert len(made.tables()) == residual
    if own is not None:
        before = made.all().clone()
        own.weight[8] += 1.0
        assert_close(made.all() - before, torch.eye(9)[8][:, None].expand(9, 5))


def new_factors() -> FactorRows:
    return FactorRows.of(np.arange(9), (3, 3), width=4)


def test_actions_alike_in_what_is_known_of_them_share_a_vector() -> None:
    with seeded(0):
        made = MadeVectors(FeatureRows.of(np.repeat(features(3), 2, axis=0)), 16, 5)
    vectors = made.all()
    assert torch.equal(vectors[::2], vectors[1::2])
    assert not torch.equal(vectors[0], vectors[2])


@pytest.mark.parametrize("kind", ["mlp", "bilinear"])
def test_encoders_take_any_vectors(kind: str) -> None:
    with seeded(0):
        vectors = MadeVectors(FeatureRows.of(features()), 16, 5)
        if kind == "mlp":
            encoder = ActionStateEncoder(9, 4, 2, 5, [8], vectors)
        else:
            encoder = BilinearEncoder(9, 4, 2, 5, [8], vectors)
        states = torch.randn(6, 4)
    encoder.requires_grad_(False)
    table = encoder.all_actions(states, encoder.per_action())
    actions = torch.tensor([8, 0, 3, 3, 7, 1])
    assert_close(encoder(states, actions), table[torch.arange(6), actions])
    assert_close(encoder.per_action(actions), encoder.per_action()[actions])
