"""Networks as actors and policies: into the cube, into the allowed, and back from their parts."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.online.policies import (
    Critic,
    NetworkActor,
    NetworkPolicy,
    Squash,
    describe,
    describe_critic,
    restore,
    restore_critic,
    tensors,
)
from offline_actrep.representations.point_table import PointTable

SEEN = np.random.default_rng(0).uniform(-3, 3, (40, 2)).astype(np.float32)
NAMES = ActionSet(np.array(["left", "stay", "right"]))


def plain(out: int) -> tuple[nn.Sequential, ObservationFeatures]:
    """One hidden layer of 4 behind features with a Fourier column."""
    features = ObservationFeatures.of(SEEN, FeatureConfig(fourier=(1,), harmonics=2))
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(features.size, 4), nn.ReLU(), nn.Linear(4, out)), features


@pytest.mark.parametrize(("squash", "inverse"), [("tanh", np.arctanh), ("clip", np.asarray)])
def test_points_are_the_outputs_brought_into_the_cube(squash: Squash, inverse) -> None:
    network, features = plain(3)
    points = NetworkActor("ppo", network, features, squash).points(SEEN)
    with torch.no_grad():
        raw = network(features(torch.from_numpy(SEEN))).numpy()
    inside = np.abs(points) < 0.99
    assert points.dtype == np.float32 and np.abs(points).max() <= 1
    np.testing.assert_allclose(inverse(points[inside]), raw[inside], atol=1e-5)
    if squash == "clip":
        far = NetworkActor("ppo", network, features, squash)
        for weight in network.parameters():
            weight.data.mul_(50)
        assert set(np.unique(np.abs(far.points(SEEN)))) >= {1.0}


def test_an_actor_keeps_no_critic() -> None:
    network, features = plain(3)
    actor = NetworkActor("td3", network, features, "tanh")
    assert actor.dim == 3
    assert np.isnan(actor.value(SEEN, actor.points(SEEN))).all()


def test_the_largest_score_among_the_allowed_wins() -> None:
    network, features = plain(3)
    policy = NetworkPolicy("discrete_ppo", network, features, NAMES)
    with torch.no_grad():
        scores = network(features(torch.from_numpy(SEEN))).numpy()
    assert np.array_equal(policy.choose(SEEN), scores.argmax(axis=1))
    mask = np.random.default_rng(1).random((40, 3)) < 0.5
    mask[:, 1] |= ~mask.any(axis=1)
    chosen = policy.choose(SEEN, AllowedActions.of_mask(mask))
    assert np.array_equal(chosen, np.where(mask, scores, -np.inf).argmax(axis=1))
    assert not np.array_equal(chosen, policy.choose(SEEN))
    mask[7] = False
    with pytest.raises(ValueError, match="row 7 has an empty set of allowed actions"):
        policy.choose(SEEN, AllowedActions.of_mask(mask))


@pytest.mark.parametrize("squash", ["tanh", "clip"])
def test_an_actor_is_made_again_from_json_and_tensors(squash: Squash) -> None:
    network, features = plain(2)
    points = torch.tensor([[-0.5, 0.0], [0.0, 0.1], [0.5, 0.3]])
    table = PointTable("random_table", {"dim": 2}, NAMES, 2, points)
    actor = NetworkActor("sac", network, features, squash)
    before = torch.get_rng_state()
    again = restore(json.loads(json.dumps(describe(actor))), tensors(actor), NAMES, table)
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(again, DecodedPolicy) and isinstance(again.actor, NetworkActor)
    assert np.array_equal(again.actor.points(SEEN), actor.points(SEEN))
    assert np.array_equal(again.choose(SEEN), DecodedPolicy(actor, table).choose(SEEN))
    assert describe(again.actor) == describe(actor)


def test_a_policy_of_ids_is_made_again_from_json_and_tensors() -> None:
    network, features = plain(3)
    policy = NetworkPolicy("discrete_a2c", network, features, NAMES)
    again = restore(json.loads(json.dumps(describe(policy))), tensors(policy), NAMES, None)
    assert isinstance(again, NetworkPolicy)
    assert np.array_equal(again.act(SEEN), policy.act(SEEN))
    assert set(policy.act(SEEN)) <= {"left", "stay", "right"}
    assert describe(again) == describe(policy)


def test_a_critic_speaks_in_the_world_s_unit_of_reward() -> None:
    """By hand: behind no features 3 x - y + 1, learnt while rewards were divided by 4."""
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, -1.0]]))
        layer.bias.fill_(1.0)
    features = ObservationFeatures(2, FeatureConfig())
    critic = Critic(nn.Sequential(layer), features, reward_scale=0.25, gamma=0.9)
    values = critic.values(np.array([[1, 2], [0, 0], [-1, 1]], np.float32))
    assert values.tolist() == [8.0, 4.0, -12.0]
    assert values.dtype == np.float32


def test_a_critic_is_made_again_from_json_and_tensors() -> None:
    network, features = plain(1)
    critic = Critic(network, features, reward_scale=0.25, gamma=0.9)
    again = restore_critic(json.loads(json.dumps(describe_critic(critic))), tensors(critic))
    assert np.array_equal(again.values(SEEN), critic.values(SEEN))
    assert np.std(again.values(SEEN)) > 0
    assert (again.reward_scale, again.gamma) == (0.25, 0.9)
    assert describe_critic(again) == describe_critic(critic)
