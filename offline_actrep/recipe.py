"""A pipeline as TOML: checked whole before anything runs.

Numbers have their default and meaning where they are used (`MerlionConfig`, `LearnerConfig`,
`FqeConfig`); a recipe only names what differs. Paths are relative to the recipe's own folder.
"""

import inspect
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from offline_actrep.behaviour import BEHAVIOURS
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.files.parquet import ColumnMapping
from offline_actrep.files.store import is_store
from offline_actrep.files.toml import Strict, read_toml
from offline_actrep.nets.features import FeatureConfig, fourier_columns
from offline_actrep.offline.learner import CONTINUOUS, LearnerConfig
from offline_actrep.offline.train import settings as learner_settings
from offline_actrep.online.learners import JUDGE_POINTS, POINTS, OnlineConfig
from offline_actrep.online.learners import settings as online_settings
from offline_actrep.ope.fqe import FqeConfig
from offline_actrep.representations.catalog import checked_settings
from offline_actrep.simulators.catalog import REVISIONS, WORLDS, make
from offline_actrep.simulators.wrappers import ChangingConfig


class CollectSource(Strict):
    """`[log.collect]`: play the recipe's world and log it."""

    behaviour: str
    """Who plays: a key of `BEHAVIOURS`."""
    rows: Annotated[int, Field(ge=1)]
    """At least this many rows, in whole episodes."""
    seed: int = 0
    """Of the worlds and the behaviour."""
    worlds: Annotated[int, Field(ge=1)] = 64
    """How many worlds play side by side."""

    @model_validator(mode="after")
    def _known(self) -> "CollectSource":
        return _one_of(self, "behaviour", self.behaviour, BEHAVIOURS)


class JourneySource(Strict):
    """`[log.complete_journey]`: the Complete Journey purchase log."""

    folder: str
    """Where its parquet files lie."""
    min_purchases: Annotated[int, Field(ge=1)] = 200
    """A product is an action if it was bought at least this often."""
    recent: Annotated[int, Field(ge=1)] = 3
    """How many purchases back the state tells."""
    max_episode: Annotated[int, Field(ge=2)] = 50
    """Most purchases of a session."""


class LogSource(Strict):
    """`[log]`: where the log comes from; exactly one of path, collect, complete_journey."""

    path: str | list[str] | None = None
    """A parquet file, a folder, a glob, or a list of them; or a store, which knows its own columns
    and actions."""
    action_table: str | None = None
    """A parquet file of all actions; None for the actions that the log holds."""
    columns: ColumnMapping = ColumnMapping()
    """The log's own column names."""
    collect: CollectSource | None = None
    complete_journey: JourneySource | None = None

    @model_validator(mode="after")
    def _one(self) -> "LogSource":
        given = [k for k in ("path", "collect", "complete_journey") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(
                "[log] needs exactly one of path, collect, complete_journey; "
                f"there {'are ' + ' and '.join(given) if given else 'is none'}"
            )
        said = self.action_table is not None or self.columns != ColumnMapping()
        if isinstance(self.path, str) and is_store(self.path) and said:
            raise ValueError(
                f"{self.path} is a store, which knows its columns and its actions: leave out "
                "columns and action_table"
            )
        return self


class WorldRecipe(Strict):
    """`[world]`: the simulator the log came from; leave it out for a real log."""

    name: str
    """A key of `WORLDS`."""
    preset: str | None = None
    """One of the world's presets; None for its own default."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What else the world takes, e.g. `{ actuators = 10 }` in the maze."""
    changing_actions: ChangingConfig | None = None
    """Actions come and go: `{ share = 0.5, every = "step" }`."""
    reward_noise: float = 0.0
    """Standard deviation of noise on every reward."""
    earlier_end: int | None = None
    """Most decisions of an episode, below the world's own horizon."""

    @model_validator(mode="after")
    def _known(self) -> "WorldRecipe":
        _one_of(self, "world", self.name, WORLDS)
        taken = set(inspect.signature(WORLDS[self.name]).parameters) - {
            "n_worlds",
            "seed",
            "preset",
        }
        for key in self.settings:
            _one_of(self, f"setting of the world {self.name!r}:", key, taken)
        return self

    def facts(self) -> dict[str, Any]:
        """What tells this world from all others, those of earlier rules included; for keys."""
        revision = {"revision": REVISIONS[self.name]} if self.name in REVISIONS else {}
        return self.model_dump(mode="json") | revision

    def make(self, n_worlds: int) -> AbstractSimulator:
        """B of these worlds."""
        preset: dict[str, Any] = {} if self.preset is None else {"preset": self.preset}
        return make(
            self.name,
            n_worlds,
            changing_actions=self.changing_actions,
            reward_noise=self.reward_noise,
            earlier_end=self.earlier_end,
            **preset,
            **self.settings,
        )


class FeaturesRecipe(Strict):
    """`[features]`: what every network sees of an observation, the same for all methods."""

    fourier: tuple[str, ...] = ()
    """Names of columns that also enter as sines and cosines."""
    harmonics: Annotated[int, Field(ge=1)] = 6
    """k of sin and cos of k pi x runs from 1 to this."""

    def config(self, observation_names: tuple[str, ...]) -> FeatureConfig:
        """With the names turned into columns.

        Raises:
            ValueError: a name that no column has.
        """
        columns = fourier_columns(observation_names, self.fourier)
        return FeatureConfig(fourier=columns, harmonics=self.harmonics)


class RepresentationRecipe(Strict):
    """`[[representations]]`: one set of points a seed."""

    name: str
    """What learners and the report call it."""
    method: str
    """A key of `METHODS`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of the method's config."""

    @model_validator(mode="after")
    def _known(self) -> "RepresentationRecipe":
        checked_settings(self.method, self.settings)
        return self


class LearnerRecipe(Strict):
    """`[[learners]]`: one policy a seed."""

    name: str
    """What the report calls it."""
    method: str
    """One of `CONTINUOUS` (points: cql, bcq, plas, iql, td3_plus_bc, td3_decoded, candidate_bcq)
    or of `DISCRETE` (ids: discrete_cql, discrete_bcq, discrete_bc, weighted_bc, masked_...)."""
    representation: str | None = None
    """Name of the representation, for learners of points."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of `LearnerConfig`."""

    @model_validator(mode="after")
    def _known(self) -> "LearnerRecipe":
        learner_settings(self.method, self.settings)
        if (self.method in CONTINUOUS) != (self.representation is not None):
            needs = "needs" if self.method in CONTINUOUS else "takes no"
            raise ValueError(f"learner {self.name!r}: {self.method} {needs} representation")
        return self

    def config(self, gamma: float) -> LearnerConfig:
        """The learner's settings, with the recipe's discount."""
        return learner_settings(self.method, {"gamma": gamma} | self.settings)


class OnlineLearnerRecipe(Strict):
    """`[[online]]`: a comparator that may act in the world while it learns; one policy a seed."""

    name: str
    """What the report calls it."""
    method: str
    """ppo, a2c, vpg, sac, td3 (points), discrete_ppo, discrete_a2c (ids)."""
    representation: str | None = None
    """Name of the representation, for learners of points."""
    steps: Annotated[int, Field(ge=1)]
    """Decisions, those of all worlds counted together."""
    worlds: Annotated[int, Field(ge=1)] = 64
    """How many worlds are learnt in side by side."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of `OnlineConfig`."""

    @model_validator(mode="after")
    def _known(self) -> "OnlineLearnerRecipe":
        online_settings(self.method, self.settings)
        if (self.method in POINTS) != (self.representation is not None):
            needs = "needs" if self.method in POINTS else "takes no"
            raise ValueError(f"online {self.name!r}: {self.method} {needs} representation")
        return self

    def config(self, gamma: float) -> OnlineConfig:
        """The learner's settings, with the recipe's discount."""
        return online_settings(self.method, {"gamma": gamma} | self.settings)


class EvaluateRecipe(Strict):
    """`[evaluate]`: playing the policies, if there is a world."""

    episodes: Annotated[int, Field(ge=2)] = 200
    """Of the final evaluation, a seed."""
    curve_points: Annotated[int, Field(ge=1)] = 6
    """How often a learning curve looks at the policy."""
    curve_episodes: Annotated[int, Field(ge=1)] = 64
    """Episodes of one such look."""
    candidates: Annotated[int, Field(ge=1)] = 1
    """How many of the last looks' policies are kept for FQE to choose among; 1 for none but the
    last."""


class ValuesRecipe(Strict):
    """`[values]`: the report draws points in the colours of what actions are truly worth."""

    learner: str
    """Name of the [[online]] learner whose policy leads to the states and whose critic judges; any
    but sac and td3."""
    representations: Annotated[tuple[str, ...] | None, Field(min_length=1)] = None
    """Names of the representations that are compared, a column each; None for all."""
    decisions: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 10)
    """A state, and a row, each: how many decisions of an episode lie before it."""
    outcomes: Annotated[int, Field(ge=1)] = 32
    """Draws of the world's step that are averaged; 1 where an episode's chance is settled when it
    begins."""


class Recipe(Strict):
    """The whole pipeline."""

    name: str
    """Of the run's folder."""
    title: str = ""
    """Of the report."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """One fit, training and evaluation each."""
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.97
    """Discount a decision: of learners, of MERLION's distance, of FQE."""
    log: LogSource
    world: WorldRecipe | None = None
    features: FeaturesRecipe = FeaturesRecipe()
    representations: tuple[RepresentationRecipe, ...] = ()
    learners: tuple[LearnerRecipe, ...] = ()
    online: tuple[OnlineLearnerRecipe, ...] = ()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    estimate: FqeConfig | None = FqeConfig()
    """`[estimate]`: settings of FQE."""
    estimated: tuple[str, ...] | None = None
    """Names of the learners that FQE judges; None for all."""
    estimated_on: str | None = None
    """Name of the representation whose points FQE's Q sees for learners of ids; None for one
    output an id."""

    values: ValuesRecipe | None = None

    @property
    def policies(self) -> tuple[LearnerRecipe | OnlineLearnerRecipe, ...]:
        """All that gives a policy a seed: learners from the log, then those in the world."""
        return (*self.learners, *self.online)

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        points = [representation.name for representation in self.representations]
        learners = [learner.name for learner in self.policies]
        if not learners:
            raise ValueError("add at least one [[learners]] or [[online]] table; there is none")
        if self.online and self.world is None:
            raise ValueError("[[online]] learns in a world: add a [world] table")
        for kind, names in (("representations", points), ("learners", learners)):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"two {kind} are called {twice.pop()!r}; names must differ")
        for learner in self.policies:
            if learner.representation is not None and learner.representation not in points:
                raise ValueError(
                    f"learner {learner.name!r} asks for representation "
                    f"{learner.representation!r}; there are {points}"
                )
        for name in self.estimated or ():
            if name not in learners:
                raise ValueError(f"estimated names {name!r}; there are learners {learners}")
        if self.estimated_on is not None and self.estimated_on not in points:
            raise ValueError(f"estimated_on is {self.estimated_on!r}; there are {points}")
        self._check_values(points)
        if self.log.collect is not None and self.world is None:
            raise ValueError("[log.collect] plays a world: add a [world] table")
        return self

    def _check_values(self, points: list[str]) -> None:
        if self.values is None:
            return
        judges = [each.name for each in self.online if each.method not in JUDGE_POINTS]
        if self.values.learner not in judges:
            raise ValueError(
                f"values.learner is {self.values.learner!r}; of [[online]] there are {judges} "
                "whose critic judges states"
            )
        wanted = points if self.values.representations is None else self.values.representations
        if not wanted or not set(wanted) <= set(points):
            raise ValueError(f"values asks for representations {list(wanted)}; there are {points}")


def read_recipe(path: str | Path) -> Recipe:
    """A recipe from a TOML file; paths in it become absolute.

    Raises:
        ValueError: no such file, broken TOML, an unknown key (with the near ones), a bad value.
    """
    return read_toml(Path(path), Recipe, PATHS)


PATHS = (
    ("log", "path"),
    ("log", "action_table"),
    ("log", "complete_journey", "folder"),
    ("world", "settings", "tables"),
    ("world", "settings", "data"),
)
"""Keys that hold a path, or a list of them."""


def _one_of(owner: Any, what: str, name: str, known: Any) -> Any:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(sorted(known))}")
    return owner
