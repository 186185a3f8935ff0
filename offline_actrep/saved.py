"""Representations and policies on disk: JSON and safetensors, self-contained, whole or absent."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.files.artifact import (
    is_whole,
    new_artifact,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline.learner import LearnerConfig
from offline_actrep.offline.policies import IdPolicy, PointActor
from offline_actrep.offline.train import Policy, untrained
from offline_actrep.online import policies as online
from offline_actrep.online.policies import Critic, NetworkActor, NetworkPolicy, OnlinePolicy
from offline_actrep.representations import catalog


def save_representation(
    representation: AbstractRepresentation,
    folder: str | Path,
    about: dict[str, Any] | None = None,
) -> Path:
    """Writes a representation with its action ids; `about` says what it was made from."""
    target = Path(folder)
    with new_artifact(target, {"kind": "representation", **(about or {})}) as draft:
        _write_representation(representation, draft)
    return target


def load_representation(folder: str | Path) -> AbstractRepresentation:
    """What `save_representation` wrote.

    Raises:
        ValueError: the folder is no finished representation.
    """
    return _read_representation(_whole(folder, "representation"))


def save_policy(
    policy: Policy | OnlinePolicy, folder: str | Path, about: dict[str, Any] | None = None
) -> Path:
    """Writes a policy, its representation included, so that the folder can act alone."""
    target = Path(folder)
    with new_artifact(target, {"kind": "policy", **(about or {})}) as draft:
        write_policy(policy, draft)
    return target


def write_policy(policy: Policy | OnlinePolicy, draft: Path) -> None:
    """A policy's files into an artifact that is being written."""
    inner = policy.actor if isinstance(policy, DecodedPolicy) else policy
    if isinstance(inner, NetworkActor | NetworkPolicy):
        content, parts = online.describe(inner), online.tensors(inner)
    elif isinstance(inner, PointActor | IdPolicy):
        content, parts = _of_learner(inner)
    else:
        raise ValueError(f"only policies trained here can be saved, got {type(inner).__name__}")
    ids = policy.action_set.ids.tolist()
    write_json(draft / "policy.json", {**content, "action_ids": ids})
    write_tensors(draft / "policy.safetensors", parts)
    if isinstance(policy, DecodedPolicy):
        (draft / "representation").mkdir()
        _write_representation(policy.representation, draft / "representation")


def write_critic(critic: Critic, draft: Path) -> None:
    """A critic's files into an artifact that is being written, beside its policy's."""
    write_json(draft / "critic.json", online.describe_critic(critic))
    write_tensors(draft / "critic.safetensors", online.tensors(critic))


def load_critic(folder: str | Path) -> Critic:
    """What `write_critic` wrote.

    Raises:
        ValueError: the folder is not finished, or no critic was kept in it.
    """
    place = _whole(folder, "critic")
    content = read_json(place / "critic.json")
    return online.restore_critic(content, read_tensors(place / "critic.safetensors"))


def _of_learner(
    inner: PointActor | IdPolicy,
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    learner, features = inner.learner, inner.features
    content = {
        "method": learner.name,
        "settings": asdict(learner.config),
        "features": asdict(features.config),
        "observation_size": len(features.shift),
        "reward_scale": inner.reward_scale,
    }
    parts = {f"learner.{k}": v for k, v in learner.tensors().items()}
    return content, parts | {f"features.{k}": v for k, v in features.state_dict().items()}


def load_policy(folder: str | Path) -> Policy | OnlinePolicy:
    """What `save_policy` wrote.

    Raises:
        ValueError: the folder is no finished policy.
    """
    place = _whole(folder, "policy")
    content, parts = (
        read_json(place / "policy.json"),
        read_tensors(place / "policy.safetensors"),
    )
    action_set = ActionSet(np.asarray(content["action_ids"]))
    inner = place / "representation"
    representation = _read_representation(inner) if inner.is_dir() else None
    if "network" in content:
        return online.restore(content, parts, action_set, representation)
    features = ObservationFeatures(
        content["observation_size"], FeatureConfig(**content["features"])
    )
    features.load_state_dict(_under("features.", parts))
    learner, policy = untrained(
        content["method"],
        LearnerConfig(**content["settings"]),
        features=features,
        scale=content["reward_scale"],
        action_set=action_set,
        representation=representation,
        seed=0,
    )
    learner.load(_under("learner.", parts))
    return policy


def _write_representation(representation: AbstractRepresentation, draft: Path) -> None:
    ids = representation.action_set.ids.tolist()
    write_json(draft / "representation.json", {**representation.config(), "action_ids": ids})
    write_tensors(draft / "representation.safetensors", representation.tensors())


def _read_representation(place: Path) -> AbstractRepresentation:
    content = read_json(place / "representation.json")
    tensors = read_tensors(place / "representation.safetensors")
    return catalog.restore(ActionSet(np.asarray(content["action_ids"])), content, tensors)


def _under(prefix: str, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in parts.items() if k.startswith(prefix)}


def _whole(folder: str | Path, kind: str) -> Path:
    place = Path(folder)
    if not is_whole(place) or not (place / f"{kind}.json").is_file():
        raise ValueError(f"{place} holds no finished {kind}")
    return place
