"""What is saved acts alone, holds no code, and is whole or refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy, DecodedPolicy
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.offline.learner import CONTINUOUS, DISCRETE
from offline_actrep.offline.policies import IdPolicy, PointActor
from offline_actrep.offline.train import Policy, train
from offline_actrep.relabel import Relabelled, relabel
from offline_actrep.representations.catalog import fit
from offline_actrep.saved import (
    load_policy,
    load_representation,
    save_policy,
    save_representation,
)


@pytest.fixture(scope="module")
def data(maze_log: Log) -> Relabelled:
    """The tiny log with string ids, random sets of allowed actions, and MERLION's points."""
    mask = np.random.default_rng(5).random((len(maze_log), 16)) < 0.4
    mask[np.arange(len(maze_log)), maze_log.actions] = True
    ids = ActionSet(np.array([f"item {k:02}" for k in range(16)]))
    log = replace(maze_log, action_set=ids, allowed=AllowedActions.of_mask(mask))
    merlion = fit("merlion", log, seed=0, steps=10, behaviour_steps=5, hidden=8, batch_size=32)
    return relabel(log, merlion)


def trained(data: Relabelled, name: str) -> Policy:
    waves = FeatureConfig(fourier=(0, 1), harmonics=2)
    return train(data, name, seed=0, features=waves, steps=10, batch_size=16, hidden=(8,))


def value(policy: Policy, log: Log) -> np.ndarray:
    if isinstance(policy, DecodedPolicy):
        return policy.actor.value(log.observations, np.zeros((len(log), 2), np.float32))
    return policy.value(log.observations, log.actions)


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_a_policy_comes_back_and_acts_the_same(name: str, data: Relabelled, tmp_path: Path) -> None:
    policy, seen = trained(data, name), data.log.observations
    folder = save_policy(policy, tmp_path / "deep" / "policy", {"recipe": "by hand"})
    again = load_policy(folder)
    mask = np.random.default_rng(0).random((len(seen), 16)) < 0.3
    mask[:, 5] = True
    allowed = AllowedActions.of_mask(mask)
    assert type(again) is type(policy)
    assert again.action_set.same_as(data.log.action_set)
    assert np.array_equal(again.act(seen), policy.act(seen))
    assert np.array_equal(again.act(seen, allowed), policy.act(seen, allowed))
    assert np.array_equal(value(again, data.log), value(policy, data.log), equal_nan=True)
    if isinstance(again, DecodedPolicy) and isinstance(policy, DecodedPolicy):
        assert isinstance(again.actor, PointActor)
        assert np.array_equal(again.actor.points(seen), policy.actor.points(seen))
    about = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
    assert about == {"kind": "policy", "recipe": "by hand"}


@pytest.mark.parametrize("name", ["cql", "discrete_bc"])
def test_the_folder_holds_json_and_safetensors_alone(
    name: str, data: Relabelled, tmp_path: Path
) -> None:
    save_policy(trained(data, name), tmp_path / "policy")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        assert not path.read_bytes().startswith(b"\x80") and path.read_bytes()[:4] != b"PK\x03\x04"
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    assert (tmp_path / "policy" / "representation").is_dir() == (name == "cql")


def test_a_loaded_policy_can_be_saved_again_to_the_same_bytes(
    data: Relabelled, tmp_path: Path
) -> None:
    one = save_policy(trained(data, "cql"), tmp_path / "one")
    two = save_policy(load_policy(one), tmp_path / "two")
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(names) == 5
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_saving_again_replaces_what_was_there(data: Relabelled, tmp_path: Path) -> None:
    save_policy(trained(data, "cql"), tmp_path / "policy")
    save_policy(trained(data, "discrete_bc"), tmp_path / "policy")
    assert isinstance(load_policy(tmp_path / "policy"), IdPolicy)
    assert not (tmp_path / "policy" / "representation").exists()


def test_an_unfinished_folder_is_refused(data: Relabelled, tmp_path: Path) -> None:
    folder = save_policy(trained(data, "discrete_bc"), tmp_path / "policy")
    (folder / "artifact.json").unlink()
    with pytest.raises(ValueError, match="policy holds no finished policy"):
        load_policy(folder)
    with pytest.raises(ValueError, match="nothing holds no finished representation"):
        load_representation(tmp_path / "nothing")


def test_one_kind_is_not_taken_for_the_other(data: Relabelled, tmp_path: Path) -> None:
    policy = save_policy(trained(data, "discrete_bc"), tmp_path / "policy")
    points = save_representation(data.representation, tmp_path / "points")
    with pytest.raises(ValueError, match="holds no finished representation"):
        load_representation(policy)
    with pytest.raises(ValueError, match="holds no finished policy"):
        load_policy(points)


@pytest.mark.usefixtures("without_shape_checks")
def test_a_policy_of_ones_own_is_refused_and_leaves_nothing(
    data: Relabelled, tmp_path: Path
) -> None:
    class Own(AbstractPolicy):
        action_set = data.log.action_set

        def choose(
            self, observations: np.ndarray, allowed: AllowedActions | None = None
        ) -> np.ndarray:
            del allowed
            return np.zeros(len(observations), np.int64)

    with pytest.raises(ValueError, match="only policies trained here can be saved, got"):
        save_policy(Own(), tmp_path / "own")  # type: ignore[arg-type]
    assert not (tmp_path / "own").exists()


def test_a_representation_keeps_its_ids(data: Relabelled, tmp_path: Path) -> None:
    again = load_representation(save_representation(data.representation, tmp_path / "points"))
    seen = torch.from_numpy(data.log.observations)
    assert again.action_set.same_as(data.log.action_set)
    assert torch.equal(
        again.embed(seen, torch.from_numpy(data.log.actions)), torch.from_numpy(data.points)
    )
