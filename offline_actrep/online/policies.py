"""What online training leaves: a network behind the features it was trained on.

Torch is all that acting needs; the library that trained the network is not.
"""

from dataclasses import asdict
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from offline_actrep.core.actions import ActionSet, AllowedActions, refuse_empty
from offline_actrep.core.policy import (
    AbstractActor,
    AbstractPolicy,
    DecodedPolicy,
    refuse_unpaired,
)
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.mlp import mlp
from offline_actrep.nets.seeding import seeded

Squash = Literal["tanh", "clip"]
"""How the network's last layer is brought into the cube."""


@final
class NetworkActor(AbstractActor):
    """A network's point, brought into the cube.

    Attributes:
        learner: the name of what trained it.
        network: features `[B, F]` to raw points `[B, E]`, laid out as `nets.mlp.mlp` does.
        features: what it sees of an observation.
        squash: how raw points are brought into the cube.
    """

    def __init__(
        self, learner: str, network: nn.Sequential, features: ObservationFeatures, squash: Squash
    ) -> None:
        self.learner, self.network, self.features = learner, network, features
        self.squash: Squash = squash
        self.dim = _sizes(network)[-1]

    def points(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Float32[np.ndarray, "B E"]:
        del allowed
        raw = _outputs(self.network, self.features, observations)
        return (raw.tanh() if self.squash == "tanh" else raw.clamp(-1.0, 1.0)).numpy()

    def value(
        self, observations: Float32[np.ndarray, "B S"], points: Float32[np.ndarray, "B E"]
    ) -> Float32[np.ndarray, " B"]:
        """NaN: no critic is kept."""
        del observations
        return np.full(len(points), np.nan, np.float32)


@final
class NetworkPolicy(AbstractPolicy):
    """A network's score for every id; the largest wins.

    Attributes:
        learner: the name of what trained it.
        network: features `[B, F]` to scores `[B, A]`, laid out as `nets.mlp.mlp` does.
        features: what it sees of an observation.
    """

    def __init__(
        self,
        learner: str,
        network: nn.Sequential,
        features: ObservationFeatures,
        action_set: ActionSet,
    ) -> None:
        self.learner, self.network, self.features = learner, network, features
        self.action_set = action_set

    def choose(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Int64[np.ndarray, " B"]:
        refuse_unpaired(observations, allowed)
        scores = _outputs(self.network, self.features, observations).numpy()
        if allowed is not None:
            refuse_empty(allowed.counts > 0)
            scores = np.where(allowed.mask(len(self.action_set)), scores, -np.inf)
        return scores.argmax(axis=1)


OnlinePolicy = DecodedPolicy | NetworkPolicy


@final
class Critic:
    """What a learner in the world came to expect of each state, under the policy it acted with.

    Attributes:
        network: features `[B, F]` to scaled values `[B, 1]`, laid out as `nets.mlp.mlp` does.
        features: what it sees of an observation.
        reward_scale: what rewards were multiplied by while it learnt.
        gamma: discount a decision.
    """

    def __init__(
        self,
        network: nn.Sequential,
        features: ObservationFeatures,
        *,
        reward_scale: float,
        gamma: float,
    ) -> None:
        self.network, self.features = network, features
        self.reward_scale, self.gamma = reward_scale, gamma

    def values(self, observations: Float32[np.ndarray, "B S"]) -> Float32[np.ndarray, " B"]:
        """V: the expected discounted return from each state on, in the world's unit of reward."""
        scaled = _outputs(self.network, self.features, observations)
        return scaled[:, 0].numpy() / np.float32(self.reward_scale)


def describe(inner: NetworkActor | NetworkPolicy) -> dict[str, Any]:
    """What JSON must hold to make a policy again."""
    sizes = _sizes(inner.network)
    return {
        "method": inner.learner,
        "network": {
            "hidden": sizes[1:-1],
            "squash": inner.squash if isinstance(inner, NetworkActor) else None,
        },
        "features": asdict(inner.features.config),
        "observation_size": len(inner.features.shift),
        "action_size": sizes[-1],
    }


def describe_critic(critic: Critic) -> dict[str, Any]:
    """What JSON must hold to make a critic again."""
    return {
        "hidden": _sizes(critic.network)[1:-1],
        "features": asdict(critic.features.config),
        "observation_size": len(critic.features.shift),
        "reward_scale": critic.reward_scale,
        "gamma": critic.gamma,
    }


def tensors(inner: NetworkActor | NetworkPolicy | Critic) -> dict[str, Tensor]:
    """What safetensors must hold to make it again."""
    return {
        f"{part}.{name}": tensor.detach().clone()
        for part, module in (("network", inner.network), ("features", inner.features))
        for name, tensor in module.state_dict().items()
    }


def restore(
    content: dict[str, Any],
    parts: dict[str, Tensor],
    action_set: ActionSet,
    representation: AbstractRepresentation | None,
) -> OnlinePolicy:
    """From what `describe` and `tensors` gave; the representation is that of the points."""
    shape = content["network"]
    network, features = _parts(content, shape["hidden"], content["action_size"], parts)
    if representation is None:
        return NetworkPolicy(content["method"], network, features, action_set)
    actor = NetworkActor(content["method"], network, features, shape["squash"])
    return DecodedPolicy(actor, representation)


def restore_critic(content: dict[str, Any], parts: dict[str, Tensor]) -> Critic:
    """From what `describe_critic` and `tensors` gave."""
    network, features = _parts(content, content["hidden"], 1, parts)
    return Critic(network, features, reward_scale=content["reward_scale"], gamma=content["gamma"])


def _parts(
    content: dict[str, Any], hidden: list[int], outputs: int, parts: dict[str, Tensor]
) -> tuple[nn.Sequential, ObservationFeatures]:
    features = ObservationFeatures(
        content["observation_size"], FeatureConfig(**content["features"])
    )
    with seeded(0):  # first weights are drawn, and then replaced
        network = mlp([features.size, *hidden, outputs])
    for part, module in (("network", network), ("features", features)):
        prefix = f"{part}."
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in parts.items() if k.startswith(prefix)}
        )
    return network, features


def _outputs(
    network: nn.Sequential,
    features: ObservationFeatures,
    observations: Float32[np.ndarray, "B S"],
) -> Float32[Tensor, "B D"]:
    with torch.no_grad():
        return network(features(torch.from_numpy(np.ascontiguousarray(observations))))


def _sizes(network: nn.Sequential) -> list[int]:
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]
