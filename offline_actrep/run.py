"""The stages of a pipeline in order: the only file that knows it.

A stage is a function from artifacts to an artifact, in a folder named by the hash of its settings
and inputs. A finished one is skipped, so a killed run goes on where it was with the same command.
Representations, and then learners, run side by side, one process and one torch thread each.
"""

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from offline_actrep.behaviour import collect, make_behaviour
from offline_actrep.core.choices import Choices, choices
from offline_actrep.core.cost import costing
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy, DecodedPolicy
from offline_actrep.core.progress import OnStep, note
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.evaluate import estimate
from offline_actrep.files.artifact import (
    DONE,
    digest,
    is_made_from,
    is_whole,
    new_artifact,
    read_json,
    sha256,
    write_json,
)
from offline_actrep.files.exchange.complete_journey import read_complete_journey
from offline_actrep.files.manifest import MANIFEST
from offline_actrep.files.parquet import (
    list_files,
    read_log,
    write_action_table,
    write_log,
)
from offline_actrep.files.store import is_store, open_store
from offline_actrep.made_by import made_by
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.offline.learner import revision
from offline_actrep.offline.train import Policy, train
from offline_actrep.online.policies import Critic, OnlinePolicy
from offline_actrep.online.train import train_online
from offline_actrep.ope.fqe import FqeConfig
from offline_actrep.recipe import (
    LearnerRecipe,
    LogSource,
    OnlineLearnerRecipe,
    Recipe,
    RepresentationRecipe,
)
from offline_actrep.relabel import Relabelled, relabel
from offline_actrep.representations.catalog import fit
from offline_actrep.representations.probe import probe
from offline_actrep.rollout import episode_returns, play_episodes
from offline_actrep.saved import (
    load_policy,
    load_representation,
    save_policy,
    save_representation,
    write_critic,
    write_policy,
)

VERSION = version("offline_actrep")
WORLDS_AT_ONCE = 64
EVALUATION_SEED = 10_000
"""Worlds of an evaluation are seeded with this plus the run's seed: never those of a log."""
CURVE_SEED = 20_000
"""The same for the looks of a learning curve."""
CANDIDATES = "candidates"
"""Folder of the policies that FQE may choose among, in a policy's own."""
NEAR = 0.05
"""A wanted point is near a real one if no coordinate is, on average, further off than this."""


AnyLearner = LearnerRecipe | OnlineLearnerRecipe
"""Both give a policy."""


@dataclass(frozen=True)
class Event:
    """Where one stage stands; `done == total` is its end."""

    stage: str
    done: int
    total: int
    note: str = ""


OnEvent = Callable[[Event], None]
OnJudged = Callable[[AnyLearner, int], None]
"""Called with a learner and a seed when their judgement lies on disk."""
OnFailure = Callable[[str, Exception], None]
"""Called with the stage that failed and why; the stages that need it are left out."""


class WorkerDied(RuntimeError):
    """A process that ran stages was killed from outside."""


@dataclass(frozen=True)
class Layout:
    """The folders of one run.

    Attributes:
        recipe: what is run.
        folder: `out/<name>`.
    """

    recipe: Recipe
    folder: Path

    @property
    def log(self) -> Path:
        """The log in the canonical schema, with its action table."""
        return self.folder / "log"

    def log_key(self) -> str:
        """Hash of the log's source; files by their content, a store by its manifest."""
        source, world = self.recipe.log, self.recipe.world
        files = _files(source)
        files += [Path(source.action_table)] if source.action_table else []
        if source.complete_journey is not None:
            files = sorted(Path(source.complete_journey.folder).glob("*.parquet"))
        contents = [sha256(file) for file in files]
        about = source.model_dump(mode="json", exclude={"path", "action_table"})
        if source.complete_journey is not None:
            about["complete_journey"].pop("folder")
        played = None if source.collect is None or world is None else world.facts()
        return digest("log", VERSION, about, played, contents)

    def points(self, representation: RepresentationRecipe, seed: int) -> Path:
        """The folder of a representation, its probe and its re-labelled log."""
        key = digest(
            "points",
            VERSION,
            read_json(self.log / DONE)["key"],
            representation.method,
            self.representation_settings(representation),
            self.recipe.features.model_dump(mode="json"),
            None if self.recipe.world is None else self.recipe.world.facts(),
            seed,
        )
        return self.folder / "points" / f"{representation.name}-seed{seed}-{key}"

    def policy(self, learner: AnyLearner, seed: int) -> Path:
        """The folder of a trained policy with its learning curve."""
        representation = self.representation(learner)
        online = isinstance(learner, OnlineLearnerRecipe)
        source = "the world" if online else read_json(self.log / DONE)["key"]
        made_from = source if representation is None else self.points(representation, seed).name
        key = digest(
            "policy",
            VERSION,
            made_from,
            learner.method,
            asdict(learner.config(self.recipe.gamma)),
            *revision(learner.method),
            *((learner.steps, learner.worlds) if isinstance(learner, OnlineLearnerRecipe) else ()),
            self.recipe.features.model_dump(mode="json"),
            self.recipe.evaluate.model_dump(mode="json", exclude={"episodes"}),
            None if self.recipe.world is None else self.recipe.world.facts(),
            seed,
            *(("critic",) if self.keeps_critic(learner) else ()),
        )
        return self.folder / "policies" / f"{learner.name}-seed{seed}-{key}"

    def keeps_critic(self, learner: AnyLearner) -> bool:
        """Whether the critic, too, is kept in the policy's folder: it judges all actions."""
        return self.recipe.values is not None and self.recipe.values.learner == learner.name

    def judgement(self, learner: AnyLearner, seed: int) -> Path:
        """The folder of a policy's returns and estimates."""
        recipe = self.recipe
        key = digest(
            "judgement",
            self.policy(learner, seed).name,
            recipe.evaluate.episodes,
            None
            if (points := self.judging_representation(learner)) is None
            else self.points(points, seed).name,
            None if (fqe := self.estimator(learner)) is None else asdict(fqe),
        )
        return self.folder / "judgements" / f"{learner.name}-seed{seed}-{key}"

    def estimator(self, learner: AnyLearner) -> FqeConfig | None:
        """FQE's settings for this learner; None where it is not to be estimated.

        Learners in the world are estimated only where the recipe names them.
        """
        named = self.recipe.estimated
        if named is None and isinstance(learner, OnlineLearnerRecipe):
            return None
        return self.recipe.estimate if named is None or learner.name in named else None

    def judging_representation(self, learner: AnyLearner) -> RepresentationRecipe | None:
        """Whose points FQE's Q sees for a learner of ids; None where that is not asked."""
        if learner.representation is not None or self.estimator(learner) is None:
            return None
        return self._named.get(self.recipe.estimated_on or "")

    def waits_for(self, learner: AnyLearner) -> str | None:
        """The representation that must be there before a learner can begin."""
        judging = self.judging_representation(learner)
        return learner.representation if judging is None else judging.name

    def references(self) -> Path:
        """The folder of the returns of random actions and of the behaviour."""
        key = digest(
            "references",
            read_json(self.log / DONE)["key"],
            self.recipe.evaluate.episodes,
            None if self.recipe.world is None else self.recipe.world.facts(),
        )
        return self.folder / "references" / key

    def representation(self, learner: AnyLearner) -> RepresentationRecipe | None:
        """The representation that a learner asks for."""
        return None if learner.representation is None else self._named[learner.representation]

    @property
    def _named(self) -> dict[str, RepresentationRecipe]:
        return {entry.name: entry for entry in self.recipe.representations}

    def representation_settings(self, representation: RepresentationRecipe) -> dict[str, Any]:
        """Its settings; MERLION's distance takes the recipe's discount unless it names its own."""
        inherited = {"gamma": self.recipe.gamma} if representation.method == "merlion" else {}
        return inherited | representation.settings

    def read_log(self) -> Log:
        """The run's log from its canonical copy."""
        return read_log(self.log / "log.parquet", action_table=self.log / "actions.parquet")

    def features(self, log: Log) -> FeatureConfig:
        """The recipe's features, names turned into columns."""
        return self.recipe.features.config(log.observation_names)

    def world(self, n_worlds: int = WORLDS_AT_ONCE) -> AbstractSimulator | None:
        """The recipe's simulator, if it has one."""
        asked = self.recipe.world
        return None if asked is None else asked.make(n_worlds)


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    workers: int = 1,
    on_event: OnEvent | None = None,
    on_judged: OnJudged | None = None,
    on_failure: OnFailure | None = None,
) -> Layout:
    """Every stage but the report; those already done are skipped.

    Args:
        recipe: what to run.
        out: the run's folder becomes `out/<recipe.name>`.
        workers: processes side by side; 1 runs everything in this one.
        on_event: is told where each stage stands.
        on_judged: is told of every policy that is trained and judged, as soon as it is.
        on_failure: is told what failed, and the rest goes on; without it the first error ends all.
            `results.json` is then written only if nothing failed.

    Raises:
        ValueError: the log is refused, or the recipe does not fit it.
        WorkerDied: one of several processes was killed, for want of memory say; whatever
            `on_failure` is.
    """
    layout = Layout(recipe, Path(out) / recipe.name)
    layout.folder.mkdir(parents=True, exist_ok=True)
    tell: OnEvent = on_event or (lambda event: None)
    prepare_log(layout, tell)
    layout.features(layout.read_log())
    play_references(layout, tell)
    failed: list[str] = []

    def fail(stage: str, error: Exception) -> None:
        if on_failure is None:
            raise error
        failed.append(stage)
        on_failure(stage, error)

    watch = _Watch(tell, on_judged or (lambda learner, seed: None), fail)
    if workers == 1:
        _run_in_turn(layout, watch)
    else:
        _run_side_by_side(layout, workers, watch)
    if not failed:
        write_json(layout.folder / "results.json", results(layout))
    return layout


@dataclass(frozen=True)
class _Watch:
    """Who is told what, while a run goes on."""

    tell: OnEvent
    judged: OnJudged
    fail: OnFailure


def _run_in_turn(layout: Layout, watch: _Watch) -> None:
    recipe = layout.recipe
    for seed in recipe.seeds:
        lost: set[str] = set()
        for representation in recipe.representations:
            try:
                make_points(layout, representation, seed, watch.tell)
            except Exception as error:
                lost.add(representation.name)
                watch.fail(_points_stage(representation.name, seed), error)
        for learner in recipe.policies:
            if layout.waits_for(learner) in lost:
                continue
            try:
                make_policy(layout, learner, seed, watch.tell)
                judge(layout, learner, seed, watch.tell)
            except Exception as error:
                watch.fail(_train_stage(learner.name, seed), error)
            else:
                watch.judged(learner, seed)


def _points_stage(name: str, seed: int) -> str:
    return f"points {name} seed {seed}"


def _train_stage(name: str, seed: int) -> str:
    return f"train {name} seed {seed}"


def _stage(made: RepresentationRecipe | AnyLearner, seed: int) -> str:
    is_points = isinstance(made, RepresentationRecipe)
    return (_points_stage if is_points else _train_stage)(made.name, seed)


def prepare_log(layout: Layout, tell: OnEvent) -> None:
    """Reads, imports or plays the log, checks it, and keeps it in the canonical schema."""
    key = layout.log_key()
    if is_made_from(layout.log, key):
        tell(Event("log", 1, 1, "kept"))
        return
    tell(Event("log", 0, 1))
    log, notes = _source(layout)
    with new_artifact(layout.log, {"kind": "log", "key": key, **notes}) as draft:
        write_log(log, draft / "log.parquet")
        write_action_table(log.action_set, draft / "actions.parquet")
    tell(Event("log", 1, 1, repr(log)))


def _source(layout: Layout) -> tuple[Log, dict[str, Any]]:
    source = layout.recipe.log
    if source.collect is not None:
        world = layout.world(source.collect.worlds)
        assert world is not None
        behaviour = make_behaviour(source.collect.behaviour, world.action_set)
        return collect(behaviour, world, rows=source.collect.rows, seed=source.collect.seed), {}
    if source.complete_journey is not None:
        log, report = read_complete_journey(**source.complete_journey.model_dump())
        return log, {"cleaning": asdict(report)}
    assert source.path is not None
    world = layout.world(1)
    if (store := _store(source)) is not None:
        log = open_store(store)
        if world is not None:
            log.action_set.must_equal(world.action_set, str(store), "the world")
        return log, {}
    log = read_log(source.path, columns=source.columns, action_table=source.action_table)
    if world is not None and not log.action_set.same_as(world.action_set):
        log = read_log(source.path, columns=source.columns, action_table=_table_of(layout, world))
    return log, {}


def _store(source: LogSource) -> Path | None:
    """The store that the source's path is; None where it is something else."""
    if isinstance(source.path, str) and is_store(source.path):
        return Path(source.path)
    return None


def _files(source: LogSource) -> list[Path]:
    """Those that hold the log."""
    if source.path is None:
        return []
    store = _store(source)
    return list_files(source.path) if store is None else [store / MANIFEST]


def _table_of(layout: Layout, world: AbstractSimulator) -> Path:
    table = layout.folder / "world-actions.parquet"
    write_action_table(world.action_set, table)
    return table


def play_references(layout: Layout, tell: OnEvent) -> None:
    """Takes the log's own returns and choices; where there is a world, plays random actions too."""
    folder, world = layout.references(), layout.world()
    if is_whole(folder):
        return
    log = layout.read_log()
    found: dict[str, Any] = {
        "behaviour": log.returns.tolist(),
        "behaviour_discounted": log.discounted_returns(layout.recipe.gamma).tolist(),
    }
    first = np.zeros(len(log), bool)
    first[log.episode_offsets[:-1]] = True
    chosen = {"behaviour": choices(log.actions, first).as_dict()}
    if world is not None:
        uniform = make_behaviour("uniform", world.action_set)
        played = play_episodes(
            uniform, world, episodes=layout.recipe.evaluate.episodes, seed=EVALUATION_SEED
        )
        found["random"] = played.returns[0].tolist()
        chosen["random"] = choices(played.actions, played.first).as_dict()
    with new_artifact(folder, {"kind": "references"}) as draft:
        write_json(draft / "references.json", found | {"choices": chosen})
    tell(Event("references", 1, 1))


def make_points(
    layout: Layout, representation: RepresentationRecipe, seed: int, tell: OnEvent
) -> Path:
    """Fits a representation, probes it, re-labels the log with it."""
    folder = layout.points(representation, seed)
    stage = _points_stage(representation.name, seed)
    if is_whole(folder):
        tell(Event(stage, 1, 1, "kept"))
        return folder
    log, world = layout.read_log(), layout.world(1)
    with costing() as fitting:
        made = fit(
            representation.method,
            log,
            seed=seed,
            features=layout.features(log),
            on_step=_telling(tell, stage),
            **layout.representation_settings(representation),
        )
    with costing() as relabelling:
        relabelled = relabel(log, made)
    probed = probe(log, made, seed=seed, effects=None if world is None else world.effects)
    about = {"kind": "points", "seed": seed, "seconds": fitting.seconds}
    about["cost"] = {"fit": fitting.as_dict(), "relabel": relabelling.as_dict()}
    with new_artifact(folder, about) as draft:
        save_representation(made, draft / "representation")
        write_json(draft / "probe.json", probed.as_dict())
        relabelled.write_parquet(draft / "relabelled.parquet")
    tell(Event(stage, 1, 1, f"{fitting.seconds:.0f} s"))
    return folder


def make_policy(layout: Layout, learner: AnyLearner, seed: int, tell: OnEvent) -> Path:
    """Trains a learner, looking at the policy now and then."""
    folder = layout.policy(learner, seed)
    stage = _train_stage(learner.name, seed)
    if is_whole(folder):
        tell(Event(stage, 1, 1, "kept"))
        return folder
    about: dict[str, Any] = {"kind": "policy", "seed": seed}
    with new_artifact(folder, about) as draft:
        look, on_step = _Look(layout, seed, draft / CANDIDATES), _telling(tell, stage)
        with costing() as cost:
            if isinstance(learner, OnlineLearnerRecipe):
                policy = _train_in_world(layout, learner, seed, look, on_step, draft)
            else:
                policy = _train_on_log(layout, learner, seed, look, on_step)
            cost.pauses = look.seconds
        about |= {"seconds": cost.seconds, "cost": {"train": cost.as_dict()}, **made_by()}
        write_policy(policy, draft)
        write_json(draft / "curve.json", look.looks)
    tell(Event(stage, 1, 1, f"{cost.seconds:.0f} s"))
    return folder


def _train_on_log(
    layout: Layout, learner: LearnerRecipe, seed: int, look: "_Look", on_step: OnStep
) -> Policy:
    log = layout.read_log()
    settings = learner.config(layout.recipe.gamma)
    return train(
        _learning_data(layout, learner, seed, log),
        learner.method,
        seed=seed,
        features=layout.features(log),
        on_step=on_step,
        on_checkpoint=lambda step, policy: look(step, policy, _inspect(policy, log, seed)),
        checkpoint_every=max(1, settings.steps // layout.recipe.evaluate.curve_points),
        **asdict(settings),
    )


def _train_in_world(
    layout: Layout,
    learner: OnlineLearnerRecipe,
    seed: int,
    look: "_Look",
    on_step: OnStep,
    draft: Path,
) -> OnlinePolicy:
    """The policy; its critic, where it is to be kept, is written into the draft."""
    world, points = layout.world(learner.worlds), layout.representation(learner)
    assert world is not None

    def keep(critic: Critic) -> None:
        write_critic(critic, draft)

    return train_online(
        world,
        learner.method,
        None
        if points is None
        else load_representation(layout.points(points, seed) / "representation"),
        steps=learner.steps,
        seed=seed,
        features=layout.recipe.features.config(world.observation_names),
        on_step=on_step,
        on_checkpoint=lambda step, policy: look(step, policy, {}),
        on_critic=keep if layout.keeps_critic(learner) else None,
        checkpoint_every=max(1, learner.steps // layout.recipe.evaluate.curve_points),
        **asdict(learner.config(layout.recipe.gamma)),
    )


@final
class _Look:
    """Plays a policy that is being learnt, and keeps what it saw; counts its own seconds.

    Where FQE is to choose, the policies of the last looks are kept as well.
    """

    def __init__(self, layout: Layout, seed: int, kept: Path) -> None:
        self.world, self.config = layout.world(), layout.recipe.evaluate
        self.seed, self.kept = seed, kept
        self.looks: list[dict[str, float | None]] = []
        self.seconds = 0.0

    def __call__(
        self, step: int, policy: Policy | OnlinePolicy, inspected: Mapping[str, float | None]
    ) -> None:
        began, played = time.perf_counter(), None
        if self.world is not None:
            seed, episodes = CURVE_SEED + self.seed, self.config.curve_episodes
            played = episode_returns(policy, self.world, episodes=episodes, seed=seed).mean()
        known = {"start_q": None, "near_share": None} | dict(inspected)
        self.looks.append({"step": step, "return": played, **known})
        if self.config.candidates > 1:
            self._keep(step, policy)
        self.seconds += time.perf_counter() - began

    def _keep(self, step: int, policy: Policy | OnlinePolicy) -> None:
        save_policy(policy, self.kept / f"{step:09d}")
        for outdated in candidates(self.kept)[: -self.config.candidates]:
            shutil.rmtree(outdated)


def candidates(kept: Path) -> list[Path]:
    """The policies that were kept in a folder, by step."""
    return sorted(kept.iterdir()) if kept.is_dir() else []


def _learning_data(layout: Layout, learner: LearnerRecipe, seed: int, log: Log) -> Log | Relabelled:
    wanted = layout.representation(learner)
    if wanted is None:
        return log
    folder = layout.points(wanted, seed) / "representation"
    return relabel(log, load_representation(folder))


def _inspect(policy: Policy, log: Log, seed: int, states: int = 256) -> dict[str, float | None]:
    draws = np.random.default_rng(seed)
    episodes = draws.integers(log.n_episodes, size=min(states, log.n_episodes))
    starts, sets = log.starts[episodes], log.allowed
    allowed = None if sets is None else sets.take(log.episode_offsets[episodes])
    chosen = policy.choose(starts, allowed)
    if not isinstance(policy, DecodedPolicy):
        q = float(policy.value(starts, chosen).mean())
        return {"start_q": q if np.isfinite(q) else None, "near_share": None}
    representation = policy.representation
    points = representation.embed(torch.from_numpy(starts), torch.from_numpy(chosen)).numpy()
    rows = draws.integers(len(log), size=states)
    gap = policy.nearest(log.observations[rows], None if sets is None else sets.take(rows))[1]
    return {
        "start_q": float(policy.actor.value(starts, points).mean()),
        "near_share": float((gap <= NEAR * representation.dim).mean()),
    }


def judge(layout: Layout, learner: AnyLearner, seed: int, tell: OnEvent) -> Path:
    """Plays a trained policy and estimates its value from the log alone."""
    folder = layout.judgement(learner, seed)
    stage = f"judge {learner.name} seed {seed}"
    if is_whole(folder):
        tell(Event(stage, 1, 1, "kept"))
        return folder
    tell(Event(stage, 0, 1))
    trained, log = layout.policy(learner, seed), layout.read_log()
    found = _judged(layout, learner, seed, load_policy(trained), log, _telling(tell, stage))
    last = _steps(learner, layout.recipe.gamma) if isinstance(learner, LearnerRecipe) else None
    tried: list[dict[str, Any]] = []
    for each in candidates(trained / CANDIDATES):
        step = int(each.name)
        again = dict(found) if step == last else None  # the policy itself
        judged = again or _judged(
            layout, learner, seed, load_policy(each), log, _telling(tell, stage)
        )
        tried.append({"step": step} | judged)
    if tried and layout.estimator(learner) is not None:
        best = max(tried, key=lambda one: one["fqe"]["value"])
        found["chosen_by_fqe"] = best
        found["candidates"] = [
            {"step": one["step"], "fqe": one["fqe"], "mean_return": _mean(one.get("returns"))}
            for one in tried
        ]
    with new_artifact(folder, {"kind": "judgement", "seed": seed}) as draft:
        write_json(draft / "judgement.json", found)
    tell(Event(stage, 1, 1))
    return folder


def _judged(
    layout: Layout,
    learner: AnyLearner,
    seed: int,
    policy: AbstractPolicy,
    log: Log,
    on_step: OnStep,
) -> dict[str, Any]:
    """Returns where there is a world, FQE where it is asked for, choices, a decision's cost."""
    found: dict[str, Any] = {"decide_seconds": _decide_seconds(policy, log, seed)}
    recipe, world = layout.recipe, layout.world()
    if world is not None:
        played = play_episodes(
            policy,
            world,
            episodes=recipe.evaluate.episodes,
            seed=EVALUATION_SEED + seed,
            gammas=(1.0, recipe.gamma),
        )
        plain, discounted = played.returns.tolist()
        found |= {"returns": plain, "discounted_returns": discounted}
        found["choices"] = choices(played.actions, played.first).as_dict()
    else:
        found["choices"] = _choices_in_log(policy, log, seed).as_dict()
    estimator = layout.estimator(learner)
    if estimator is not None:
        judged = estimate(
            policy,
            log,
            "fqe",
            seed=seed,
            representation=_points_for_judging(layout, learner, seed),
            on_step=on_step,
            **asdict(estimator),
        )
        found["fqe"] = judged.as_dict()
    return found


def _decide_seconds(policy: AbstractPolicy, log: Log, seed: int, decisions: int = 512) -> float:
    """Seconds a decision, in a batch of logged states; allowed sets apart."""
    rows = np.random.default_rng(seed).integers(len(log), size=decisions)
    states = log.observations[rows]
    policy.choose(states[:8])
    with costing() as cost:
        policy.choose(states)
    return cost.seconds / decisions


def _choices_in_log(policy: AbstractPolicy, log: Log, seed: int, batches: int = 4) -> Choices:
    """What it chooses in logged states, drawn apart: nothing comes before anything."""
    rows = np.random.default_rng(seed).integers(len(log), size=(batches, 512))
    chosen = [
        policy.choose(
            log.observations[each], None if log.allowed is None else log.allowed.take(each)
        )
        for each in rows
    ]
    return choices(np.concatenate(chosen), np.ones(rows.size, bool))


def _mean(values: list[float] | None) -> float | None:
    return None if values is None else float(np.mean(values))


def _points_for_judging(
    layout: Layout, learner: AnyLearner, seed: int
) -> AbstractRepresentation | None:
    """Points for the Q of a learner of ids, if the recipe names some; else the policy's own."""
    wanted = layout.judging_representation(learner)
    if wanted is None:
        return None
    return load_representation(layout.points(wanted, seed) / "representation")


def results(layout: Layout) -> dict[str, Any]:
    """All that the run found, in one JSON object: what a report and a result table are made of."""
    recipe = layout.recipe
    runs = [policy_result(layout, each, seed) for each in recipe.policies for seed in recipe.seeds]
    probes = [
        points_result(layout, representation, seed)
        for representation in recipe.representations
        for seed in recipe.seeds
    ]
    references, world = read_json(layout.references() / "references.json"), layout.world(1)
    if world is not None and np.isfinite(world.best_return):
        references["best_known"] = world.best_return
    chosen = references.pop("choices", {})
    return {
        "name": recipe.name,
        "version": VERSION,
        "log": read_json(layout.log / DONE),
        "reference_choices": chosen,
        "references": references,
        "probes": probes,
        "runs": runs,
    }


def policy_result(layout: Layout, learner: AnyLearner, seed: int) -> dict[str, Any]:
    """What the run found of one learner and seed, as it stands in the results."""
    policy, judged = layout.policy(learner, seed), layout.judgement(learner, seed)
    about = read_json(policy / DONE)
    return {
        "learner": learner.name,
        "method": learner.method,
        "representation": learner.representation,
        "seed": seed,
        "steps": _steps(learner, layout.recipe.gamma),
        "train_seconds": about["seconds"],
        "cost": about["cost"],
        "git_revision": about.get("git_revision", "unknown"),
        "machine": about.get("machine", "unknown"),
        "curve": read_json(policy / "curve.json"),
        **read_json(judged / "judgement.json"),
    }


def points_result(
    layout: Layout, representation: RepresentationRecipe, seed: int
) -> dict[str, Any]:
    """The same of one set of points."""
    folder = layout.points(representation, seed)
    return {
        "representation": representation.name,
        "seed": seed,
        "fit_seconds": read_json(folder / DONE)["seconds"],
        "cost": read_json(folder / DONE)["cost"],
        **read_json(folder / "probe.json"),
    }


def _steps(learner: AnyLearner, gamma: float) -> int:
    """Gradient steps; decisions of a learner in the world."""
    online = isinstance(learner, OnlineLearnerRecipe)
    return learner.steps if online else learner.config(gamma).steps


def _telling(tell: OnEvent, stage: str) -> OnStep:
    def on_step(done: int, total: int, losses: Mapping[str, float]) -> None:
        tell(Event(stage, min(done, total - 1), total, note(losses)))

    return on_step


def _run_side_by_side(layout: Layout, workers: int, watch: _Watch) -> None:
    """Points first, each learner as soon as its points are there."""
    context = multiprocessing.get_context("spawn")
    events: Any = context.SimpleQueue()
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(), events)
    )
    try:
        pending = _points_tasks(pool, layout) | _learner_tasks(pool, layout, None, None)
        while pending:
            done, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            _drain(events, watch.tell)
            for future in done:
                pending |= _ended(pool, layout, future, pending.pop(future), watch)
    finally:
        _shut_down(pool, events, watch.tell)


_Task = tuple[RepresentationRecipe | LearnerRecipe | OnlineLearnerRecipe, int]
"""The points or the learner that is made, and its seed."""
_Pending = dict[Future[None], _Task]
"""Tasks under way."""


def _ended(
    pool: ProcessPoolExecutor, layout: Layout, future: Future[None], task: _Task, watch: _Watch
) -> _Pending:
    """Tells of a task that has ended; what can begin because of it."""
    made, seed = task
    try:
        future.result()
    except BrokenProcessPool as error:
        raise WorkerDied(
            f"a process died during {_stage(made, seed)} or what ran beside it, most often because "
            "memory ran out: give it more, or run fewer side by side (--workers 1); what is "
            "finished is kept"
        ) from error
    except Exception as error:
        watch.fail(_stage(made, seed), error)
        return {}
    if isinstance(made, RepresentationRecipe):
        return _learner_tasks(pool, layout, made.name, seed)
    watch.judged(made, seed)
    return {}


def _points_tasks(pool: ProcessPoolExecutor, layout: Layout) -> _Pending:
    return {
        pool.submit(_points_task, layout, representation, seed): (representation, seed)
        for seed in layout.recipe.seeds
        for representation in layout.recipe.representations
    }


def _learner_tasks(
    pool: ProcessPoolExecutor, layout: Layout, points: str | None, seed: int | None
) -> _Pending:
    """The learners that wait for these points; without a name, those that wait for none."""
    return {
        pool.submit(_learner_task, layout, learner, each): (learner, each)
        for each in (layout.recipe.seeds if seed is None else (seed,))
        for learner in layout.recipe.policies
        if layout.waits_for(learner) == points
    }


def _drain(events: Any, tell: OnEvent) -> None:
    while not events.empty():
        tell(events.get())


def _shut_down(pool: ProcessPoolExecutor, events: Any, tell: OnEvent) -> None:
    """Waits for the tasks under way; a task that tells something needs a reader to go on."""
    closing = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
    closing.start()
    while closing.is_alive():
        _drain(events, tell)
        closing.join(timeout=0.2)
    _drain(events, tell)


_EVENTS: list[Any] = []
"""The queue of a worker process, set once at its start."""


def _begin_worker(parent: int, events: Any) -> None:
    torch.set_num_threads(1)
    _EVENTS.append(events)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """A worker whose parent was killed must not go on writing."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _points_task(layout: Layout, representation: RepresentationRecipe, seed: int) -> None:
    make_points(layout, representation, seed, _EVENTS[0].put)


def _learner_task(layout: Layout, learner: AnyLearner, seed: int) -> None:
    make_policy(layout, learner, seed, _EVENTS[0].put)
    judge(layout, learner, seed, _EVENTS[0].put)
