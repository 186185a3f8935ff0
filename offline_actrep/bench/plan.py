"""A bench as TOML: which methods meet in which worlds, with what budget, and what is claimed.

A cell is a log (world, tier, and in a sweep one changed setting of the world). A method is a
learner, on points or on ids. Every method of a cell has the same log, features, discount, reward
scale and budget; what differs is what its table says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from offline_actrep.files.toml import Strict, read_toml
from offline_actrep.offline.learner import CONTINUOUS, MASKED, LearnerConfig
from offline_actrep.offline.train import settings as learner_settings
from offline_actrep.ope.fqe import FqeConfig
from offline_actrep.recipe import EvaluateRecipe, FeaturesRecipe
from offline_actrep.representations.catalog import checked_settings, method
from offline_actrep.simulators.wrappers import ChangingConfig

BEHAVIOUR = "behaviour"
"""What a claim calls the policy that wrote the log."""
PATHS = (("datasets",), ("headroom",))
"""Keys that hold a path."""


@dataclass(frozen=True, order=True)
class Cell:
    """One log that methods are compared on.

    Attributes:
        world: a name in `[[worlds]]`.
        tier: how the log was played.
        setting: what a sweep changed, e.g. "actuators=8"; empty outside sweeps.
    """

    world: str
    tier: str
    setting: str = ""

    @property
    def name(self) -> str:
        """Of folders and in tables."""
        return f"{self.world}-{self.tier}" + (f"@{self.setting}" if self.setting else "")


class Trial(Strict):
    """One of the settings that are tried for a method; empty for its defaults."""

    learner: dict[str, Any] = Field(default_factory=dict)
    """Changes of the learner's settings."""
    points: dict[str, Any] = Field(default_factory=dict)
    """Changes of the settings of its points."""


class BenchWorld(Strict):
    """`[[worlds]]`: where the methods meet."""

    name: str
    """What tables and figures call it."""
    dataset: str = ""
    """Folder of its data sets' recipes; empty for one of the world's name."""
    tiers: Annotated[tuple[str, ...], Field(min_length=1)]
    gamma: Annotated[float, Field(gt=0, lt=1)]
    """Discount a decision, for every method."""
    dim: Annotated[int, Field(ge=1)]
    """E of every representation that does not bring its own."""
    learner: dict[str, Any] = Field(default_factory=dict)
    """Changes of the budget of its learners, for every method."""
    features: FeaturesRecipe | None = None
    """What every network sees of an observation; None for what the data set's recipe says."""
    changing_actions: ChangingConfig | None = None
    """Actions come and go, in the log and in play; None for what the data set's recipe says."""
    methods: tuple[str, ...] | None = None
    """The methods that are run here; None for all."""
    trials_of: str = ""
    """A world whose chosen trials are taken over, for one that differs from it in its budget or its
    features; empty for trials of its own."""

    @property
    def folder(self) -> str:
        """Of its data sets' recipes."""
        return self.dataset or self.name


class Budget(Strict):
    """`[budget]`: the same for every method; a world may have more of it or less."""

    learner: dict[str, Any] = Field(default_factory=dict)
    """Fields of `LearnerConfig`."""
    points: dict[str, Any] = Field(default_factory=dict)
    """Settings of every method that has them."""


class BenchPoints(Strict):
    """`[[representations]]`: points that methods share."""

    name: str
    method: str
    settings: dict[str, Any] = Field(default_factory=dict)
    of_world: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Further settings in the worlds that are named."""
    own_dim: bool = False
    """Whether E is the method's own affair (external features as they are) and not the world's."""

    @model_validator(mode="after")
    def _known(self) -> "BenchPoints":
        for settings in ({}, *self.of_world.values()):
            checked_settings(self.method, self.settings | settings)
        return self


class BenchMethod(Strict):
    """`[[methods]]`: a learner, and the points it learns on."""

    name: str
    learner: str
    """One of `CONTINUOUS` or `DISCRETE`."""
    representation: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    of_world: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Further settings of the learner in the worlds that are named."""
    worlds: tuple[str, ...] | None = None
    """The worlds where it is run; None for all that want it."""
    tiers: tuple[str, ...] | None = None
    """The tiers that it is run on, outside sweeps, which name their methods; None for all."""
    trials: tuple[Trial, ...] = ()
    """What tuning tries; every method the same number."""
    trials_of: str | None = None
    """A method whose chosen trial is taken over, for variants that differ in one thing alone."""

    @model_validator(mode="after")
    def _known(self) -> "BenchMethod":
        for settings in ({}, *self.of_world.values(), *(trial.learner for trial in self.trials)):
            learner_settings(self.learner, self.settings | settings)
        if (self.learner in CONTINUOUS) != (self.representation is not None):
            needs = "needs a" if self.learner in CONTINUOUS else "takes no"
            raise ValueError(f"method {self.name!r}: {self.learner} {needs} representation")
        return self


class Sweep(Strict):
    """`[[sweeps]]`: one setting of a world takes several values, at fixed data otherwise."""

    world: str
    tier: str
    setting: str
    """Of the world, e.g. "actuators"."""
    values: Annotated[tuple[int, ...], Field(min_length=2)]
    plain: int | None = None
    """The value that the world has as it is: its rows outside the sweep count here too."""
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    learner: dict[str, Any] = Field(default_factory=dict)
    """Changes of the budget of its learners; only without `plain`, whose rows have the world's."""
    tuned: Literal["each", "world"] = "each"
    """Where trials choose its methods' settings: at each value, on its own tier, or in the world as
    it is. What is right for 4,000 actions may be wrong for 64."""

    @model_validator(mode="after")
    def _one_budget(self) -> "Sweep":
        if self.learner and self.plain is not None:
            raise ValueError(
                f"the sweep of {self.setting!r} has a budget of its own, and rows from outside of "
                f"it (plain = {self.plain}) another: leave one of them out"
            )
        return self

    @property
    def name(self) -> str:
        """In tables and figures."""
        return f"{self.world}-{self.tier}, {self.setting}"

    def cells(self) -> list[Cell]:
        """One a value."""
        settings = ["" if k == self.plain else f"{self.setting}={k}" for k in self.values]
        return [Cell(self.world, self.tier, setting) for setting in settings]


class Tuning(Strict):
    """`[tuning]`: the trials before the bench."""

    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    """Of points, learners and worlds; none of the bench's."""
    data_seed: int
    """Of the log that the trials learn on: the same policies play, in other episodes."""
    tier: str
    """The trials learn on this tier; what they choose holds for the world's other tiers too. Only a
    sweep that is tuned at each value has trials on its own logs."""
    trials: Annotated[int, Field(ge=1)]
    """How many a method has, exactly."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Gradient steps of a trial; None for those of the bench."""
    looks: Annotated[int, Field(ge=1)] = 3
    """A trial counts by the mean return of so many last looks of its learning curve."""

    @property
    def rule(self) -> str:
        """How a trial is chosen, in words."""
        steps = "" if self.steps is None else f" of {self.steps:,} steps"
        return (
            f"highest mean, over tuning seeds {', '.join(map(str, self.seeds))}, of the return in "
            f"the last {self.looks} looks of the learning curve{steps}; on the {self.tier} tier's "
            f"log made again with data seed {self.data_seed}; of equal trials the first"
        )


class Claim(Strict):
    """`[[claims]]`: what the bench must show, or explain."""

    text: str
    better: Annotated[tuple[str, ...], Field(min_length=1)]
    """Methods that are claimed to be better."""
    than: Annotated[tuple[str, ...], Field(min_length=1)]
    """Methods, or `behaviour`."""
    tier: str = ""
    """Where it is claimed: in every world's log of this tier."""
    falls_less: bool = False
    """Instead, in every sweep: that those in `than` fall, and those in `better` fall less."""

    @model_validator(mode="after")
    def _somewhere(self) -> "Claim":
        if bool(self.tier) == self.falls_less:
            raise ValueError("a claim has either a tier or falls_less = true")
        return self


class Figures(Strict):
    """`[figures]`: which methods are drawn where."""

    headline: Annotated[tuple[str, ...], Field(min_length=1)]
    """Those of curves, profiles and costs; they have the first colours."""
    ablation: tuple[str, ...] = ()
    """Those of the penalty ablation, in the order of its axis."""
    over: tuple[str, ...] = ()
    """Those that the probability of improvement is measured over."""


class Check(Strict):
    """`[check]`: what running again may change."""

    rows: Annotated[int, Field(ge=1)] = 3
    """How many are run again."""
    seed: int = 0
    """Of their choice."""
    tolerance: Annotated[float, Field(gt=0)] = 0.1
    """On another machine: most difference of a normalised return."""


class BenchRecipe(Strict):
    """The whole bench."""

    name: str
    title: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    datasets: str
    """Folder of the data sets' recipes."""
    headroom: str | None = None
    """What random actions and the best known policy earn; measured where it does not say."""
    budget: Budget = Budget()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    estimate: FqeConfig | None = None
    """`[estimate]`: settings of FQE; None for no estimates."""
    estimated_on: str | None = None
    """Name of the representation whose points FQE's Q sees for learners of ids."""
    worlds: Annotated[tuple[BenchWorld, ...], Field(min_length=1)]
    representations: tuple[BenchPoints, ...] = ()
    methods: Annotated[tuple[BenchMethod, ...], Field(min_length=1)]
    sweeps: tuple[Sweep, ...] = ()
    tuning: Tuning | None = None
    claims: tuple[Claim, ...] = ()
    figures: Figures
    check: Check = Check()

    @model_validator(mode="after")
    def _consistent(self) -> "BenchRecipe":
        _refuse_twins(self)
        _refuse_strangers(self)
        _refuse_bad_settings(self)
        if self.tuning is not None:
            _refuse_unequal_trials(self, self.tuning)
        return self

    def world(self, name: str) -> BenchWorld:
        """The named world."""
        return next(each for each in self.worlds if each.name == name)

    def method(self, name: str) -> BenchMethod:
        """The named method."""
        return next(each for each in self.methods if each.name == name)

    def points(self, name: str) -> BenchPoints:
        """The named representation."""
        return next(each for each in self.representations if each.name == name)

    def cells(self) -> list[Cell]:
        """Every log, worlds in order, the sweeps last."""
        plain = [Cell(world.name, tier) for world in self.worlds for tier in world.tiers]
        return plain + [cell for sweep in self.sweeps for cell in sweep.cells() if cell.setting]

    def sweep_of(self, cell: Cell) -> Sweep | None:
        """The sweep whose log it is; None where the world is as it is."""
        found = (each for each in self.sweeps if cell.setting and cell in each.cells())
        return next(found, None)

    def tried_on(self, tuning: Tuning, cell: Cell) -> Cell:
        """Where trials choose the settings of a log's methods."""
        sweep = self.sweep_of(cell)
        if sweep is not None and sweep.tuned == "each":
            return cell
        return Cell(self.world(cell.world).trials_of or cell.world, tuning.tier)

    def methods_in(self, cell: Cell) -> list[BenchMethod]:
        """Those that are run on a log."""
        world, sweep = self.world(cell.world), self.sweep_of(cell)
        named = world.methods if sweep is None else sweep.methods
        return [
            each
            for each in self.methods
            if (named is None or each.name in named)
            and (each.worlds is None or cell.world in each.worlds)
            and (each.tiers is None or sweep is not None or cell.tier in each.tiers)
            and (each.learner not in MASKED or world.changing_actions is not None)
        ]

    @property
    def order(self) -> list[str]:
        """Methods in the order of their colours: the headline ones, then the others."""
        rest = [each.name for each in self.methods if each.name not in self.figures.headline]
        return [*self.figures.headline, *rest]


def read_bench(path: str | Path) -> BenchRecipe:
    """A bench from a TOML file; paths in it become absolute.

    Raises:
        ValueError: no such file, broken TOML, an unknown key (with the near ones), a bad value.
    """
    return read_toml(Path(path), BenchRecipe, PATHS)


def points_settings(bench: BenchRecipe, points: BenchPoints, world: BenchWorld) -> dict[str, Any]:
    """What a representation is fitted with in a world: budget, world's E, then its own words."""
    known = {field.name for field in fields(method(points.method).config)}
    shared = {key: value for key, value in bench.budget.points.items() if key in known}
    if not points.own_dim:
        shared["dim"] = world.dim
    return shared | points.settings | points.of_world.get(world.name, {})


def stated(config: object) -> dict[str, Any]:
    """The fields of a config that are not its class's defaults.

    A field that is added later, with a default that changes nothing, leaves it as it is.
    """
    plain = type(config)()
    values = {field.name: getattr(config, field.name) for field in fields(config)}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if value != getattr(plain, name)}


def _refuse_twins(bench: BenchRecipe) -> None:
    for kind in ("worlds", "representations", "methods"):
        names = [each.name for each in getattr(bench, kind)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two {kind} are called {min(twice)!r}; names must differ")
    cells = [cell.name for cell in bench.cells()]
    again = {name for name in cells if cells.count(name) > 1}
    if again:
        raise ValueError(f"{min(again)} is there twice: a world's tiers and values must differ")


def _refuse_strangers(bench: BenchRecipe) -> None:
    """Every name that is used must be there."""
    worlds = [each.name for each in bench.worlds]
    methods = [each.name for each in bench.methods]
    points = [each.name for each in bench.representations]
    used: list[tuple[str, str, Sequence[str], Sequence[str]]] = [
        ("figures", "method", (*bench.figures.headline, *bench.figures.ablation), methods),
        ("figures", "method", bench.figures.over, methods),
        ("estimated_on", "representation", [bench.estimated_on or ""], ["", *points]),
    ]
    for world in bench.worlds:
        place = f"world {world.name!r}"
        used.append((place, "method", world.methods or (), methods))
        used.append((place, "world", [world.trials_of or world.name], worlds))
    for each in bench.representations:
        used.append((f"representation {each.name!r}", "world", list(each.of_world), worlds))
    for each in bench.methods:
        place = f"method {each.name!r}"
        used.append((place, "representation", [each.representation or ""], ["", *points]))
        used.append((place, "world", [*each.of_world, *(each.worlds or ())], worlds))
        used.append((place, "method", [each.trials_of or methods[0]], methods))
    for sweep in bench.sweeps:
        used.append((f"sweep of {sweep.setting!r}", "world", [sweep.world], worlds))
        used.append((f"sweep of {sweep.setting!r}", "method", sweep.methods, methods))
    tiers = sorted({cell.tier for cell in bench.cells()})
    for each in bench.methods:
        used.append((f"method {each.name!r}", "tier", each.tiers or (), tiers))
    for claim in bench.claims:
        names = (*claim.better, *claim.than)
        used.append((f"claim {claim.text!r}", "tier", [claim.tier], ["", *tiers]))
        used.append((f"claim {claim.text!r}", "method", names, [*methods, BEHAVIOUR]))
    for place, what, names, there in used:
        for name in names:
            if name not in there:
                known = ", ".join(filter(None, there))
                raise ValueError(f"{place} names the {what} {name!r}; there are {known}")


def _refuse_bad_settings(bench: BenchRecipe) -> None:
    """Budget, own words and trials together must be settings that there are."""
    for world in bench.worlds:
        for points in bench.representations:
            checked_settings(points.method, points_settings(bench, points, world))
    for cell in bench.cells():
        for each in bench.methods:
            for trial in (Trial(), *each.trials):
                learner_config(bench, each, cell, trial)


def _refuse_unequal_trials(bench: BenchRecipe, tuning: Tuning) -> None:
    shared = sorted(set(tuning.seeds) & set(bench.seeds))
    if shared:
        raise ValueError(f"seed {shared[0]} is used for tuning and for the bench; take another")
    for world in bench.worlds:
        if world.trials_of and bench.world(world.trials_of).trials_of:
            raise ValueError(
                f"world {world.name!r} takes the trials of {world.trials_of!r}, which has none of "
                "its own: name the world that has"
            )
    for each in bench.methods:
        if each.trials_of is not None:
            if each.trials or bench.method(each.trials_of).trials_of is not None:
                raise ValueError(
                    f"method {each.name!r} takes the trial of {each.trials_of!r}: it has no trials "
                    "of its own, and that method must have some"
                )
        elif len(each.trials) != tuning.trials:
            raise ValueError(
                f"method {each.name!r} has {len(each.trials)} trials; every method has "
                f"{tuning.trials}, so that none is tuned more than another"
            )
        for trial in each.trials:
            if trial.points and each.representation is None:
                raise ValueError(f"method {each.name!r} has no points that a trial could change")
            if trial.points and each.representation is not None:
                points = bench.points(each.representation)
                checked_settings(points.method, points.settings | trial.points)


def learner_config(
    bench: BenchRecipe, each: BenchMethod, cell: Cell, trial: Trial
) -> tuple[dict[str, Any], LearnerConfig]:
    """What a learner is trained with on a log: the words, and the settings whole."""
    world, sweep = bench.world(cell.world), bench.sweep_of(cell)
    budget = bench.budget.learner | world.learner | ({} if sweep is None else sweep.learner)
    own = each.settings | each.of_world.get(world.name, {})
    words = budget | own | trial.learner
    return words, learner_settings(each.learner, {"gamma": world.gamma} | words)
