"""The logs of a bench: data sets as their recipes say, made again with another seed, or changed.

A changed log (another number of actions in a sweep, or a catalogue that comes and goes) is played
by the mixture of the data set that it comes from. Checkpoints on points of external features keep
their networks and their frame and decode among the other actions: the same players, another
catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from offline_actrep.behaviour import Expert, collect, make_behaviour
from offline_actrep.bench.plan import BenchRecipe, Cell
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.estimate import Estimate, mean_estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy, DecodedPolicy
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.dataset import (
    VERSION,
    Dataset,
    DatasetRecipe,
    keep_log,
    make_dataset,
    mixture,
    read_dataset,
    rounding_alike,
)
from offline_actrep.evaluate import evaluate
from offline_actrep.files.artifact import (
    digest,
    is_made_from,
    new_artifact,
    read_json,
    write_json,
)
from offline_actrep.files.parquet import read_log
from offline_actrep.portable import OnStage
from offline_actrep.recipe import WorldRecipe
from offline_actrep.representations.frame import Frame
from offline_actrep.representations.point_table import PointTable

REFERENCE_EPISODES = 500
"""Of random actions and of the expert, where no headroom table knows them."""


@dataclass(frozen=True)
class CellData:
    """What makes the log of a cell.

    Attributes:
        base: the data set that it comes from.
        world: where it is played, and where policies are judged.
        seed: of the worlds and the behaviour.
        name: of its folder.
    """

    base: DatasetRecipe
    world: WorldRecipe
    seed: int
    name: str

    @property
    def changed(self) -> bool:
        """Whether the world is another than the data set's."""
        return self.world != self.base.world

    def facts(self) -> dict[str, Any]:
        """All that the log depends on, for hashes."""
        told = {"name", "about", "sample_rows", "cloning_steps", "seed"}
        base = self.base.model_dump(mode="json", exclude=told)
        return {"base": base, "world": self.world.facts(), "seed": self.seed}

    def facts_but_players(self) -> dict[str, Any]:
        """The same without who plays: what settings are chosen on is another log in any case."""
        facts = self.facts()
        base = {k: v for k, v in facts["base"].items() if k not in ("online", "parts")}
        return facts | {"base": base}


def cell_data(bench: BenchRecipe, cell: Cell, seed: int | None = None) -> CellData:
    """What makes the log of a cell; with a seed, another log by the same players.

    Raises:
        ValueError: there is no such data set, or its world lacks the setting.
    """
    about = bench.world(cell.world)
    base = read_dataset(Path(bench.datasets) / about.folder / f"{cell.tier}.toml")
    world = base.world.model_dump()
    if about.changing_actions is not None:
        world["changing_actions"] = about.changing_actions
    if cell.setting:
        name, _, value = cell.setting.partition("=")
        world["settings"] = base.world.settings | {name: int(value)}
    made = seed is not None and seed != base.seed
    return CellData(
        base,
        WorldRecipe.model_validate(world),
        base.seed if seed is None else seed,
        cell.name + (f"-seed{seed}" if made else ""),
    )


def make_log(data: CellData, logs: Path, *, on_stage: OnStage) -> Path:
    """The folder of the log and its action table; made unless it is there."""
    if not data.changed:
        changes: dict[str, Any] = {"seed": data.seed}
        if data.seed != data.base.seed:
            changes["name"] = f"{data.base.name}-seed{data.seed}"
        return make_dataset(data.base.model_copy(update=changes), logs, on_stage=on_stage).log
    folder = logs / data.name / "log"
    key = digest("bench log", VERSION, data.facts() | data.base.rounding)
    if is_made_from(folder, key):
        return folder
    base = make_dataset(data.base, logs, on_stage=on_stage)
    rounding_alike(data.base, partial(_make_changed, data, base, folder, key), on_stage)
    return folder


def _make_changed(data: CellData, base: Dataset, folder: Path, key: str, on_stage: OnStage) -> None:
    del on_stage  # nothing here is long
    world = data.world.make(data.base.worlds)
    players = mixture(data.base, _players(base, world), world)
    log = collect(players, world, rows=data.base.rows, seed=data.seed)
    keep_log(log, folder, key)


def read_cell_log(folder: Path) -> Log:
    """What `make_log` left."""
    return read_log(folder / "log.parquet", action_table=folder / "actions.parquet")


def _players(base: Dataset, world: AbstractSimulator) -> Mapping[str, AbstractPolicy]:
    """The data set's checkpoints, in the other catalogue."""
    known = base.recipe.world.make(1).action_set
    if known.same_as(world.action_set):
        return base.policies()
    return {
        name: _moved(name, policy, known, world.action_set)
        for name, policy in base.policies().items()
    }


def _moved(name: str, policy: AbstractPolicy, known: ActionSet, other: ActionSet) -> DecodedPolicy:
    points = policy.representation if isinstance(policy, DecodedPolicy) else None
    if not isinstance(points, PointTable) or points.settings.get("dim", 0) is not None:
        raise ValueError(
            f"{name} cannot play among {len(other)} actions: only a policy on points of the "
            "actions' external features, all of them, can be moved to another catalogue"
        )
    assert isinstance(policy, DecodedPolicy)
    if known.features is None or other.features is None:
        raise ValueError(f"{name} cannot play among actions without external features")
    frame = Frame(points.dim)
    frame.fit(torch.tensor(known.features))
    moved = frame.to_cube(torch.tensor(other.features))
    size = points.observation_size
    return DecodedPolicy(policy.actor, PointTable("external", points.settings, other, size, moved))


@dataclass(frozen=True)
class References:
    """What a cell's returns are held against, in the log's unit of reward.

    Attributes:
        random: mean return of uniform actions: 0 of the normalised return.
        best: of the best policy known: 1.
        best_by: who that is.
        behaviour: of the log's own episodes.
        data_hash: the log's fingerprint.
        actions: A.
    """

    random: float
    best: float
    best_by: str
    behaviour: Estimate
    data_hash: str
    actions: int

    def normalised(self, returned: float) -> float:
        """The share of the way from random to best known."""
        return (returned - self.random) / (self.best - self.random)


def references(bench: BenchRecipe, data: CellData, folder: Path) -> References:
    """From the headroom table where it knows the data set, else played and kept beside the log.

    Raises:
        ValueError: the best policy known earns no more than random actions.
    """
    log, known = read_cell_log(folder), _known(bench, data)
    found = _played(data, folder.parent) if known is None else known["headroom"]
    random, best = found["random"]["value"], found["best"]["value"]
    if best <= random:
        raise ValueError(
            f"{data.name}: the best policy known earns {best:.4g}, random actions {random:.4g}; "
            "returns cannot be normalised"
        )
    return References(
        random,
        best,
        found["best_by"],
        mean_estimate(log.returns, seed=data.seed),
        log.fingerprint,
        len(log.action_set),
    )


def published_hash(bench: BenchRecipe, data: CellData) -> str | None:
    """The log's fingerprint in the headroom table; None where that does not know it."""
    known = _known(bench, data)
    return None if known is None else known.get("fingerprint")


def _known(bench: BenchRecipe, data: CellData) -> dict[str, Any] | None:
    """The headroom table's entry."""
    if bench.headroom is None or data.changed or data.seed != data.base.seed:
        return None
    return read_json(Path(bench.headroom)).get(data.base.name)


def _played(data: CellData, place: Path) -> dict[str, Any]:
    folder = place / "references"
    key = digest("references", VERSION, data.world.facts(), REFERENCE_EPISODES)
    if is_made_from(folder, key):
        return read_json(folder / "references.json")
    world = data.world.make(64)
    players = {"random": make_behaviour("uniform", world.action_set), "best": Expert(world)}
    found: dict[str, Any] = {
        name: evaluate(
            player, world, episodes=REFERENCE_EPISODES, seed=data.base.seed + 1
        ).as_dict()
        for name, player in players.items()
    }
    found["best_by"] = "scripted"
    with new_artifact(folder, {"kind": "references", "key": key}) as draft:
        write_json(draft / "references.json", found)
    return found
