"""A tracked data set: a recipe that makes a log from nothing, with one command.

Online learners are trained on points and leave checkpoints of different quality; episodes are
played by one of several policies (checkpoints, scripted ones, uniform actions) under uniform noise,
after the data recipe of Gu et al. (2022, appendix A.4): checkpoints of sub-optimal online policies,
50 % random actions. Propensities are exact, given the policy that played the episode.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from offline_actrep.behaviour import (
    BEHAVIOURS,
    EpisodeMixture,
    Expert,
    Greedy,
    NearExpert,
    Noisy,
    collect,
    make_behaviour,
)
from offline_actrep.card import (
    TOO_EASY,
    Coverage,
    Headroom,
    coverage,
    coverage_table,
    headroom,
    headroom_table,
)
from offline_actrep.core.estimate import Estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractBehaviour, AbstractPolicy
from offline_actrep.core.progress import OnStep
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.evaluate import evaluate
from offline_actrep.files.artifact import (
    digest,
    is_made_from,
    is_whole,
    new_artifact,
    read_json,
    sha256,
    write_json,
    write_text,
)
from offline_actrep.files.parquet import read_log, write_action_table, write_log
from offline_actrep.files.toml import Strict, read_toml
from offline_actrep.online.learners import IDS
from offline_actrep.online.learners import settings as online_settings
from offline_actrep.online.train import train_online
from offline_actrep.portable import ENVIRONMENT, OnStage, portably
from offline_actrep.recipe import PATHS, FeaturesRecipe, WorldRecipe
from offline_actrep.report import Table, markdown_table
from offline_actrep.representations.external import external_points
from offline_actrep.saved import load_policy, write_policy

VERSION = version("offline_actrep")
CHECKPOINT = "checkpoint-"
"""Begins the name of a part that is the k-th checkpoint: `checkpoint-2`."""
NEAR_EXPERT = re.compile(r"near-expert-([1-9]\d*)")
"""The name of a part that draws among the k actions nearest to the expert's."""
LOOK_SEED = 30_000
"""Worlds in which a checkpoint is looked at are seeded with this plus the learner's seed."""
LOOK_EPISODES = 200
CHECKSUMS = "checksums.json"
"""Beside the recipes: what their cards say of the logs' bits."""
ROUNDED = (
    "other releases of the libraries, or another kind of processor, round or sort otherwise, and "
    "from there on all goes another way"
)
"""Why one recipe makes two logs."""
ANOTHER_LOG = (
    f"not the log of its card: {ROUNDED}; hold nothing learnt on it against what was learnt on "
    "that one"
)
"""Said of a made log whose fingerprint is not the stated one."""


class OnlineRecipe(Strict):
    """`[online]`: the learner whose checkpoints play."""

    learner: str = "ppo"
    """A learner of points (the world's external features) or of ids; needs the extra `online`."""
    dim: int | None = None
    """Principal components of the external features; None for all features."""
    checkpoint_every: Annotated[int, Field(ge=1)]
    """Decisions between two checkpoints."""
    checkpoints: Annotated[int, Field(ge=1)]
    """How many are kept; training ends with the last."""
    worlds: Annotated[int, Field(ge=1)] = 64
    """How many worlds are learnt in side by side."""
    seed: int = 0
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of `OnlineConfig`."""

    @model_validator(mode="after")
    def _known(self) -> "OnlineRecipe":
        online_settings(self.learner, self.settings)
        if self.checkpoint_every < self.worlds:
            raise ValueError(
                f"checkpoint_every = {self.checkpoint_every} is less than one step of all "
                f"{self.worlds} worlds: take more, or fewer worlds"
            )
        return self


class PartRecipe(Strict):
    """`[[parts]]`: one of the policies that play episodes."""

    policy: str
    """`checkpoint-k` (the k-th of `[online]`, from 1), `expert`, `near-expert-k` (draws among the k
    actions nearest to the expert's), or a key of `BEHAVIOURS`."""
    weight: Annotated[float, Field(gt=0)]
    """Share of the episodes."""


class DatasetRecipe(Strict):
    """One data set."""

    name: str
    """`<world>-<tier>`."""
    about: str
    """What the mixture is and why, for the card."""
    rows: Annotated[int, Field(ge=1)] = 100_000
    """At least so many, in whole episodes."""
    seed: int = 1
    """Of the worlds and the behaviour."""
    worlds: Annotated[int, Field(ge=1)] = 64
    """How many worlds play side by side."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of actions that are replaced by uniform ones."""
    sample_rows: Annotated[int, Field(ge=0)] = 0
    """Rows of the tracked sample, in whole episodes; 0 for none."""
    cloning_steps: Annotated[int, Field(ge=1)] = 3000
    """Gradient steps of the clone that the headroom table shows."""
    world: WorldRecipe
    features: FeaturesRecipe = FeaturesRecipe()
    online: OnlineRecipe | None = None
    parts: Annotated[tuple[PartRecipe, ...], Field(min_length=1)]

    @property
    def rounding(self) -> dict[str, Any]:
        """What networks that play are told of how to round; for keys."""
        return {} if self.online is None else {"rounding": ENVIRONMENT}

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetRecipe":
        for part in self.parts:
            if part.policy.startswith(CHECKPOINT):
                last = 0 if self.online is None else self.online.checkpoints
                if part.policy not in [f"{CHECKPOINT}{k}" for k in range(1, last + 1)]:
                    raise ValueError(f"part {part.policy!r}: [online] keeps {last} checkpoints")
            elif part.policy not in (*BEHAVIOURS, "expert") and not NEAR_EXPERT.fullmatch(
                part.policy
            ):
                known = ", ".join(
                    sorted([*BEHAVIOURS, "expert", "near-expert-k", f"{CHECKPOINT}k"])
                )
                raise ValueError(f"unknown policy {part.policy!r}; there are {known}")
        return self


def read_dataset(path: str | Path) -> DatasetRecipe:
    """A data set's recipe from its TOML.

    Raises:
        ValueError: no such file, broken TOML, an unknown key (with the near ones), a bad value.
    """
    return read_toml(Path(path), DatasetRecipe, PATHS)


@dataclass(frozen=True)
class Dataset:
    """The folders of one data set.

    Attributes:
        recipe: what makes it.
        folder: `out/<name>`.
    """

    recipe: DatasetRecipe
    folder: Path

    @property
    def checkpoints(self) -> Path:
        """The online learner's checkpoints; the same for every tier that asks for the same."""
        online = self.recipe.online
        key = digest(
            "checkpoints",
            VERSION,
            self.recipe.world.facts(),
            self.recipe.features.model_dump(mode="json"),
            None if online is None else online.model_dump(mode="json") | self.recipe.rounding,
        )
        return self.folder.parent / "checkpoints" / f"{self.recipe.world.name}-{key}"

    @property
    def log(self) -> Path:
        """The log and its action table."""
        return self.folder / "log"

    def key(self) -> str:
        """Names the log by what makes it."""
        kept = self.recipe.model_dump(
            mode="json", exclude={"about", "sample_rows", "cloning_steps"}
        )
        told = kept | {"world": self.recipe.world.facts()} | self.recipe.rounding
        return digest("dataset", VERSION, told)

    def is_made(self) -> bool:
        """Whether all of it is there, as the recipe says it now."""
        online = self.recipe.online
        trained = online is None or is_whole(self.checkpoints)
        return trained and is_made_from(self.log, self.key())

    def policies(self) -> dict[str, AbstractPolicy]:
        """The checkpoints by name."""
        online = self.recipe.online
        names = (
            [] if online is None else [f"{CHECKPOINT}{k + 1}" for k in range(online.checkpoints)]
        )
        return {name: load_policy(self.checkpoints / name) for name in names}

    def read_log(self) -> Log:
        """The finished log."""
        return read_log(self.log / "log.parquet", action_table=self.log / "actions.parquet")


def make_dataset(recipe: DatasetRecipe, out: str | Path, *, on_stage: OnStage) -> Dataset:
    """Trains what must be trained, plays, and keeps the log; finished stages are skipped.

    Networks learn and play in a process of their own that rounds alike on all processors
    of one maker (`offline_actrep.portable`).

    Raises:
        ImportError: the recipe trains online and stable-baselines3 is not installed.
        ChildProcessError: that process died.
    """
    made = Dataset(recipe, Path(out) / recipe.name)
    if not made.is_made():
        rounding_alike(recipe, partial(_make, made), on_stage)
    return made


def rounding_alike(
    recipe: DatasetRecipe, work: Callable[[OnStage], None], on_stage: OnStage
) -> None:
    """Does a work portably if networks of the recipe play in it, else here."""
    if recipe.online is None:
        work(on_stage)
    else:
        portably(work, on_stage)


def _make(made: Dataset, on_stage: OnStage) -> None:
    recipe = made.recipe
    if recipe.online is not None and not is_whole(made.checkpoints):
        _train(made, recipe.online, on_stage(f"{recipe.name}: {recipe.online.learner}"))
    world = recipe.world.make(recipe.worlds)
    log = collect(behaviour_of(made, world), world, rows=recipe.rows, seed=recipe.seed)
    keep_log(log, made.log, made.key())


def keep_log(log: Log, folder: Path, key: str) -> None:
    """The log and its action table, whole or not at all.

    Args:
        log: what is kept.
        folder: where; what was there is replaced.
        key: names the log by what makes it.
    """
    with new_artifact(folder, {"kind": "log", "key": key}) as draft:
        write_log(log, draft / "log.parquet")
        write_action_table(log.action_set, draft / "actions.parquet")


def behaviour_of(made: Dataset, world: AbstractSimulator) -> AbstractBehaviour:
    """The mixture that plays: one part an episode, under the recipe's noise."""
    return mixture(made.recipe, made.policies(), world)


def mixture(
    recipe: DatasetRecipe, checkpoints: Mapping[str, AbstractPolicy], world: AbstractSimulator
) -> AbstractBehaviour:
    """The same with checkpoints that the caller brings, by name."""

    def part(name: str) -> AbstractBehaviour:
        if name in checkpoints:
            return Greedy(checkpoints[name])
        if near := NEAR_EXPERT.fullmatch(name):
            return NearExpert(world, int(near[1]))
        return Expert(world) if name == "expert" else make_behaviour(name, world.action_set)

    weights = np.array([each.weight for each in recipe.parts])
    parts = [part(each.policy) for each in recipe.parts]
    return Noisy(EpisodeMixture(parts, (weights / weights.sum()).tolist()), recipe.noise)


def _train(made: Dataset, online: OnlineRecipe, on_step: OnStep) -> None:
    world, judging = made.recipe.world.make(online.worlds), made.recipe.world.make(LOOK_EPISODES)
    features = made.recipe.features.config(world.observation_names)
    points = None
    if online.learner not in IDS:
        size = len(world.observation_names)
        points = external_points(world.action_set, observation_size=size, dim=online.dim)
    looks: list[dict[str, Any]] = []
    with new_artifact(made.checkpoints, {"kind": "checkpoints"}) as draft:

        def keep(steps: int, policy: Any) -> None:
            if len(looks) == online.checkpoints:
                return
            played = evaluate(policy, judging, episodes=LOOK_EPISODES, seed=LOOK_SEED + online.seed)
            looks.append({"steps": steps, "return": played.as_dict()})
            name = f"{CHECKPOINT}{len(looks)}"
            with new_artifact(draft / name, {"kind": "policy", **looks[-1]}) as place:
                write_policy(policy, place)

        train_online(
            world,
            online.learner,
            points,
            steps=online.checkpoint_every * online.checkpoints,
            seed=online.seed,
            features=features,
            checkpoint_every=online.checkpoint_every,
            on_step=on_step,
            on_checkpoint=keep,
            **online.settings,
        )
        write_json(draft / "curve.json", looks)


def is_another(made: Dataset, recipe: Path) -> bool:
    """Whether the card beside the recipe speaks of another log; it is read only if there is one."""
    file = recipe.parent / CHECKSUMS
    stated = read_json(file).get(made.recipe.name, {}) if file.is_file() else {}
    return "fingerprint" in stated and stated["fingerprint"] != made.read_log().fingerprint


def measure(made: Dataset, *, episodes: int, on_step: OnStep | None = None) -> dict[str, Any]:
    """Headroom and coverage of a finished data set, kept beside it.

    The best known is the highest of the world's scripted expert and the checkpoints.
    """
    folder = made.folder / "headroom"
    key = digest("headroom", made.key(), made.recipe.cloning_steps, episodes)
    if is_made_from(folder, key):
        return read_json(folder / "headroom.json")
    log, world = made.read_log(), made.recipe.world.make(min(episodes, 64))
    found = headroom(
        log,
        world,
        seed=made.recipe.seed,
        episodes=episodes,
        steps=made.recipe.cloning_steps,
        features=made.recipe.features.config(world.observation_names),
        candidates=made.policies(),
        on_step=on_step,
    )
    parquet = made.log / "log.parquet"
    measured = {
        "rows": len(log),
        "episodes": log.n_episodes,
        "actions": len(log.action_set),
        "observation": len(log.observation_names),
        "headroom": found.as_dict(),
        "coverage": asdict(coverage(log)),
        "evaluation_episodes": episodes,
        "checkpoints": _curve(made),
        "fingerprint": log.fingerprint,
        "sha256": sha256(parquet),
        "bytes": parquet.stat().st_size,
    }
    with new_artifact(folder, {"kind": "headroom", "key": key}) as draft:
        write_json(draft / "headroom.json", measured)
    return measured


def _curve(made: Dataset) -> list[dict[str, Any]]:
    return [] if made.recipe.online is None else read_json(made.checkpoints / "curve.json")


def publish(
    recipes: Sequence[Path],
    made: Sequence[Dataset],
    measured: Sequence[Mapping[str, Any]],
    folder: Path,
) -> None:
    """Keeps the headroom table in a folder; cards, samples, checksums beside each recipe.

    A card is the `about.md` that lies beside the recipes and a chapter for each of them that the
    table knows. Rows of the table that are of other data sets stay.
    """
    file = folder / "headroom.json"
    named = dict(read_json(file)) if file.exists() else {}
    named |= {each.recipe.name: dict(row) for each, row in zip(made, measured, strict=True)}
    write_json(file, named)
    write_text(
        folder / "headroom.md", f"# Headroom of the data sets\n\n{markdown_table(overview(named))}"
    )
    for recipe, each in zip(recipes, made, strict=True):
        _publish_sample(each, recipe.parent)
    for place in dict.fromkeys(recipe.parent for recipe in recipes):
        _publish_card(place, named)


def _publish_sample(made: Dataset, folder: Path) -> None:
    """The first episodes, where the recipe asks for some."""
    if not made.recipe.sample_rows:
        return
    log = made.read_log()
    kept = int(np.searchsorted(log.episode_offsets, made.recipe.sample_rows))
    write_log(log.take_episodes(np.arange(min(kept, log.n_episodes))), folder / "sample.parquet")
    write_action_table(log.action_set, folder / "sample.actions.parquet")


def _publish_card(folder: Path, measured: Mapping[str, Mapping[str, Any]]) -> None:
    """The card and the checksums of a folder's data sets, of all that were ever measured."""
    recipes = [read_dataset(file) for file in sorted(folder.glob("*.toml"))]
    known = [(each, measured[each.name]) for each in recipes if each.name in measured]
    kept_facts = ("rows", "episodes", "fingerprint", "sha256", "bytes")
    write_json(
        folder / CHECKSUMS,
        {each.name: {fact: found[fact] for fact in kept_facts} for each, found in known},
    )
    about = (folder / "about.md").read_text(encoding="utf-8").strip()
    chapters = [_tier(each, found) for each, found in known]
    write_text(folder / "README.md", "\n\n".join([about, *chapters]) + "\n")


def _tier(recipe: DatasetRecipe, found: Mapping[str, Any]) -> str:
    parts = ", ".join(f"{each.policy} {each.weight:g}" for each in recipe.parts)
    lines = [
        f"## `{recipe.name}`",
        recipe.about.strip(),
        f"{found['rows']:,} rows, {found['episodes']:,} episodes, {found['actions']:,} actions, "
        f"{found['observation']} observation columns. Episodes by part: {parts}; "
        f"{recipe.noise:.0%} of the actions replaced by uniform ones.",
        markdown_table(headroom_table(_headroom(found))),
        markdown_table(coverage_table(Coverage(**found["coverage"]), found["actions"])),
    ]
    if found["checkpoints"]:
        assert recipe.online is not None
        lines.append(
            f"Checkpoints of {recipe.online.learner} on external features: "
            + "; ".join(
                f"{k + 1}: {look['steps']:,} decisions, return {look['return']['value']:.1f}"
                for k, look in enumerate(found["checkpoints"])
            )
            + "."
        )
    lines.append(f"SHA-256 of `log.parquet`: `{found['sha256']}` ({found['bytes']:,} bytes).")
    return "\n\n".join(lines)


def _headroom(found: Mapping[str, Any]) -> Headroom:
    stated = dict(found["headroom"])
    stated.pop("cloned")
    best_by = stated.pop("best_by")
    return Headroom(**{name: Estimate(**each) for name, each in stated.items()}, best_by=best_by)


def overview(measured: Mapping[str, Mapping[str, Any]]) -> Table:
    """The headroom table: a row a data set, by name."""
    rows = []
    for name, found in measured.items():
        room = _headroom(found)
        cells = [name, f"{found['rows']:,}"]
        for _, estimate in room.rows():
            cells.append(f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]")
        easy = " (too easy)" if room.cloned >= TOO_EASY else ""
        seen = found["coverage"]
        cells += [
            room.best_by,
            f"{room.cloned:.2f}{easy}",
            f"{seen['actions_seen']:.0%}",
            f"{seen['actions_a_cell']:.1%}",
            f"{seen['least_propensity']:.1e}",
        ]
        rows.append(cells)
    return Table(
        (
            "data set", "rows", "random", "behaviour", "behaviour cloning", "best known", "by",
            "cloning's share", "actions seen", "seen in a group of states", "least propensity",
        ),
        rows,
        caption="Mean undiscounted return with 95 % bootstrap interval; the share is that of the "
        "way from random to best known.",
    )  # fmt: skip
