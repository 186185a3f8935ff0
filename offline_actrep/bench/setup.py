"""A method as it is run on one log: its settings, their hash, and the pipeline they make."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offline_actrep.bench.data import CellData
from offline_actrep.bench.plan import (
    BenchMethod,
    BenchRecipe,
    Cell,
    Trial,
    learner_config,
    points_settings,
    stated,
)
from offline_actrep.files.artifact import digest
from offline_actrep.offline.learner import revision
from offline_actrep.recipe import (
    EvaluateRecipe,
    FeaturesRecipe,
    LearnerRecipe,
    LogSource,
    Recipe,
    RepresentationRecipe,
)
from offline_actrep.representations.catalog import checked_settings


@dataclass(frozen=True)
class Setup:
    """One method on one log.

    Attributes:
        method: its name in the bench.
        learner: its entry in the pipeline.
        points: that of its representation, for learners of points.
        judging: the representation whose points FQE sees, for learners of ids.
        tuning: where its settings come from.
        learner_settings: what differs from the defaults of the learner's config.
        points_settings: the same of the representation's; empty without one.
        hash: of everything that the bench says about it, but for the seed and for FQE.
        fqe_hash: of what it says about FQE; None where it asks for no estimates.
        trial_hash: of that part of `hash` which a choice among trials depends on: the policy, its
            learning curve, and the log but for who plays.
    """

    method: str
    learner: LearnerRecipe
    points: RepresentationRecipe | None
    judging: RepresentationRecipe | None
    tuning: str
    learner_settings: dict[str, Any]
    points_settings: dict[str, Any]
    hash: str
    fqe_hash: str | None
    trial_hash: str


def setup(
    bench: BenchRecipe,
    data: CellData,
    cell: Cell,
    each: BenchMethod,
    trial: Trial,
    tuning: str,
    *,
    name: str = "",
) -> Setup:
    """A method with a trial's settings.

    Args:
        name: of the learner's entry; empty for the method's.
    """
    world = bench.world(cell.world)
    words, config = learner_config(bench, each, cell, trial)
    points = _points(bench, cell, each, trial)
    judging = None
    if points is None and bench.estimate is not None and bench.estimated_on is not None:
        judging = _shared_points(bench, cell, bench.estimated_on)
    facts = {
        "data": data.facts(),
        "learner": [each.learner, stated(config), *revision(each.learner)],
        "points": _facts_of(points),
        "gamma": world.gamma,
        "features": features(bench, data, cell).model_dump(mode="json"),
    }
    looks = bench.evaluate.model_dump(mode="json", include={"curve_points", "curve_episodes"})
    return Setup(
        method=each.name,
        learner=LearnerRecipe(
            name=name or each.name,
            method=each.learner,
            representation=None if points is None else points.name,
            settings=words,
        ),
        points=points,
        judging=judging,
        tuning=tuning,
        learner_settings=stated(config),
        points_settings={} if points is None else _stated_points(points),
        hash=digest("bench", facts | {"evaluate": bench.evaluate.model_dump(mode="json")}),
        fqe_hash=_fqe_hash(bench, judging),
        trial_hash=digest("trial", facts | {"data": data.facts_but_players()} | looks),
    )


def _fqe_hash(bench: BenchRecipe, judging: RepresentationRecipe | None) -> str | None:
    if bench.estimate is None:
        return None
    return digest("fqe", asdict(bench.estimate), _facts_of(judging))


def _facts_of(points: RepresentationRecipe | None) -> list[Any] | None:
    return None if points is None else [points.method, _stated_points(points)]


def pipeline(
    bench: BenchRecipe,
    data: CellData,
    cell: Cell,
    log: Path,
    setups: Sequence[Setup],
    seeds: Sequence[int],
    *,
    evaluate: EvaluateRecipe | None = None,
    estimating: bool = True,
) -> Recipe:
    """The pipeline that runs the methods on the log, one after the other or side by side.

    Args:
        log: folder of the log and its action table.
        evaluate: how policies are played; None for the bench's way.
        estimating: whether FQE judges as well, if the bench wants it.
    """
    estimates = bench.estimate if estimating else None
    used = [each.points for each in setups]
    if estimates is not None:
        used += [each.judging for each in setups]
    representations = {points.name: points for points in used if points}
    return Recipe(
        name=data.name,
        seeds=tuple(seeds),
        gamma=bench.world(cell.world).gamma,
        log=LogSource(path=str(log / "log.parquet"), action_table=str(log / "actions.parquet")),
        world=data.world,
        features=features(bench, data, cell),
        representations=tuple(representations.values()),
        learners=tuple(each.learner for each in setups),
        evaluate=evaluate or bench.evaluate,
        estimate=estimates,
        estimated=None if estimates is not None else (),
        estimated_on=bench.estimated_on if bench.estimated_on in representations else None,
    )


def features(bench: BenchRecipe, data: CellData, cell: Cell) -> FeaturesRecipe:
    """What every network sees of an observation: the world's entry, or the data set's recipe."""
    own = bench.world(cell.world).features
    return data.base.features if own is None else own


def _points(
    bench: BenchRecipe, cell: Cell, each: BenchMethod, trial: Trial
) -> RepresentationRecipe | None:
    if each.representation is None:
        return None
    shared = _shared_points(bench, cell, each.representation)
    if not trial.points:
        return shared
    settings = shared.settings | trial.points
    name = f"{shared.name} {digest(settings)[:6]}"
    return RepresentationRecipe(name=name, method=shared.method, settings=settings)


def _shared_points(bench: BenchRecipe, cell: Cell, name: str) -> RepresentationRecipe:
    points = bench.points(name)
    settings = points_settings(bench, points, bench.world(cell.world))
    return RepresentationRecipe(name=name, method=points.method, settings=settings)


def _stated_points(points: RepresentationRecipe) -> dict[str, Any]:
    return stated(checked_settings(points.method, points.settings))
