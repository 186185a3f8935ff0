"""The lines a user types, on a tiny log; and that every public name says what it is."""

import inspect
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import offline_actrep as oar

NAMES = sorted(
    name
    for name, value in vars(oar).items()
    if not name.startswith("_") and not isinstance(value, ModuleType)
)
MERLION = {"steps": 20, "behaviour_steps": 5, "hidden": 8}
FQE = {"steps": 20, "refits": 2, "rows": 200, "hidden": [8]}


@pytest.fixture(scope="module")
def world() -> oar.AbstractSimulator:
    return oar.make("maze", 8, actuators=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, world: oar.AbstractSimulator) -> Path:
    """A log in two files, as a user may have it."""
    place = tmp_path_factory.mktemp("logs")
    behaviour = oar.make_behaviour("uniform", world.action_set)
    oar.write_log(oar.collect(behaviour, world, rows=400, seed=0), place / "whole.parquet")
    table = pq.read_table(place / "whole.parquet")
    middle = pc.equal(pc.bit_wise_and(pc.cast(table["episode_id"], pa.int64()), 1), 0)
    pq.write_table(table.filter(middle), place / "log-even.parquet")
    pq.write_table(table.filter(pc.invert(middle)), place / "log-odd.parquet")
    return place


@pytest.fixture(scope="module")
def log(folder: Path) -> oar.Log:
    return oar.read_log(str(folder / "log-*.parquet"))


@pytest.fixture(scope="module")
def data(log: oar.Log) -> oar.Relabelled:
    merlion = oar.fit("merlion", log, dim=3, seed=0, **MERLION)
    return oar.relabel(log, merlion)


@pytest.fixture(scope="module")
def policies(log: oar.Log, data: oar.Relabelled) -> dict[str, oar.AbstractPolicy]:
    return {
        "cql": oar.train(data, "cql", steps=20, seed=0, hidden=[8]),
        "discrete_bc": oar.train(log, "discrete_bc", steps=20, seed=0, hidden=[8]),
    }


def test_a_log_in_several_files_is_one_log(folder: Path, log: oar.Log) -> None:
    whole = oar.read_log(folder / "whole.parquet")
    assert (len(log), log.n_episodes) == (len(whole), whole.n_episodes)
    assert len(log.action_set) == 16
    assert sorted(log.returns) == sorted(whole.returns)


def test_points_are_in_the_cube_beside_every_row(log: oar.Log, data: oar.Relabelled) -> None:
    assert data.points.shape == (len(log), 3)
    assert np.abs(data.points).max() <= 1
    assert data.points.std() > 0


@pytest.mark.parametrize("name", ["cql", "discrete_bc"])
def test_a_policy_acts_evaluates_and_is_estimated(
    name: str, policies: dict[str, oar.AbstractPolicy], log: oar.Log, world: oar.AbstractSimulator
) -> None:
    policy = policies[name]
    chosen = policy.act(log.observations[:5])
    assert chosen.shape == (5,) and set(chosen) <= set(log.action_set.ids)
    played = oar.evaluate(policy, world, episodes=4, seed=1)
    assert isinstance(played, oar.Estimate) and played.n == 4
    assert played.low <= played.value <= played.high
    judged = oar.estimate(policy, log, "fqe", seed=0, **FQE)
    assert isinstance(judged, oar.Estimate)
    assert judged.low < judged.value < judged.high


def test_actions_come_back_under_the_users_own_ids(folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(folder / "whole.parquet")
    named = [f"item {index:02d}" for index in table["action"].to_pylist()]
    place = table.schema.get_field_index("action")
    pq.write_table(table.set_column(place, "action", pa.array(named)), tmp_path / "own.parquet")
    log = oar.read_log(tmp_path / "own.parquet")
    policy = oar.train(log, "discrete_bc", steps=5, seed=0, hidden=[8])
    assert set(policy.act(log.starts).tolist()) <= set(named)


@pytest.mark.parametrize("name", ["cql", "discrete_bc"])
def test_a_saved_policy_acts_as_before(
    name: str, policies: dict[str, oar.AbstractPolicy], log: oar.Log, tmp_path: Path
) -> None:
    folder = oar.save_policy(policies[name], tmp_path / name)
    again = oar.load_policy(folder)
    before = policies[name].act(log.observations)
    np.testing.assert_array_equal(again.act(log.observations), before)


def test_a_saved_representation_gives_the_same_points(data: oar.Relabelled, tmp_path: Path) -> None:
    folder = oar.save_representation(data.representation, tmp_path / "points")
    again = oar.relabel(data.log, oar.load_representation(folder))
    np.testing.assert_array_equal(again.points, data.points)


def test_a_probe_measures_the_points(data: oar.Relabelled, world: oar.AbstractSimulator) -> None:
    found = oar.probe(data.log, data.representation, seed=0, effects=world.effects)
    assert found.actions == 16
    assert found.effect_r2 is not None


def test_make_gives_the_paper_s_maze() -> None:
    maze = oar.make("maze")
    assert len(maze.action_set) == 4096
    assert maze.num_envs == 64


def test_learners_of_points_refuse_a_plain_log(log: oar.Log) -> None:
    with pytest.raises(ValueError, match="re-label the log first"):
        oar.train(log, "cql", steps=1, seed=0)


def test_the_verbs_are_functions_and_not_the_modules_of_their_name() -> None:
    for verb in ("collect", "fit", "probe", "relabel", "train", "evaluate", "estimate", "run"):
        assert inspect.isfunction(getattr(oar, verb)), verb


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_says_what_it_is(name: str) -> None:
    value = getattr(oar, name)
    assert value.__module__.startswith("offline_actrep.")
    words = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert words, f"{name} has no docstring"
    if is_dataclass(value):
        assert not words.startswith(f"{name}("), f"{name} has only the docstring of a dataclass"


def test_there_is_a_public_face() -> None:
    assert {"read_log", "fit", "relabel", "train", "make", "evaluate", "estimate"} <= set(NAMES)
