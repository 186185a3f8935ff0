"""How fast is MERLION fitted? Run: `OMP_NUM_THREADS=1 python tests/benchmarks/fit_speed.py`.

Numbers of actions may follow, or `probe`; without them 4,096, 100,000 and 1,000,000 are timed
(8 GB, some minutes) and the probe is made.

A *paper step* moves all four models once on 128 logged rows (Alg. 2). Plain is how one would write
it: `DataLoader`, an Adam a model, the full softmax, one forward pass an action, `.item()` of every
loss. It has our networks (two layers of 256 in the encoder, one in the others) and points of 10
coordinates, so that only the way of computing differs. Ours fits G first and then the encoder;
a paper step of ours is a step of each. By default a fit takes 3 steps of G for 40 of the encoder,
which is enough: that is a row of its own. Batches of 1,024 rows are counted by row.

Steps are timed in turn in this process, one thread's CPU time; the table shows the median of a
step with the middle half, and what 10,000 paper steps cost, with all that is done once. Plain is
not run on a million actions: its step is taken to cost ten times that on 100,000, and called
extrapolated. Floors stand beside: the products of a step alone, at the speed this core multiplies.

`probe` fits both on a log of the maze with 4,096 actions, same numbers of steps, and says how good
the points are; then our fit of 100,000 actions with and without features, 10,000 steps of 128.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from offline_actrep.behaviour import collect, make_behaviour
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.nets.batches import batches
from offline_actrep.nets.computing import products_in
from offline_actrep.nets.descent import Descent
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.full_softmax import FullSoftmax
from offline_actrep.nets.gaussian import w2
from offline_actrep.nets.sampled_softmax import Proposal, SampledSoftmax
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations import merlion
from offline_actrep.representations.merlion import Merlion, MerlionConfig
from offline_actrep.representations.outcomes import Outcomes, Support, outcomes
from offline_actrep.representations.probe import probe
from offline_actrep.simulators.catalog import make

STATE, DIM, LATENT, ROWS = 16, 10, 8, 100_000
PAPER = MerlionConfig(dim=DIM, hidden=256, depth=2, embedding=32, batch_size=128)
STEPS = 10_000
CONSOLE = Console(width=118)
Step = Callable[[], object]


def synthetic_log(n_actions: int, featured: bool = True) -> Log:
    """A state moves by tanh(M(s) z_a); 8 numbers z_a are an action's features."""
    draws = np.random.default_rng(0)
    latent = draws.normal(size=(n_actions, LATENT)).astype(np.float32)
    states = draws.normal(size=(ROWS, STATE)).astype(np.float32)
    often = draws.exponential(size=n_actions)
    actions = draws.choice(n_actions, size=ROWS, p=often / often.sum())
    moved = states + effects_of(states, latent[actions])
    return Log(
        action_set=ActionSet(np.arange(n_actions), features=latent if featured else None),
        observations=states,
        actions=actions,
        rewards=np.tanh(latent[actions] @ np.ones(LATENT, np.float32) / LATENT**0.5),
        terminated=np.zeros(ROWS, bool),
        truncated=np.ones(ROWS, bool),
        next_observations=moved,
        has_next=np.ones(ROWS, bool),
        episode_offsets=np.arange(ROWS + 1),
        episode_ids=np.arange(ROWS),
    )


def effects_of(states: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """What an action does in a state; the first 8 coordinates decide how the others move."""
    draws = np.random.default_rng(1)
    base = draws.normal(size=(LATENT, STATE)).astype(np.float32)
    bent = draws.normal(size=(LATENT, LATENT)).astype(np.float32) / LATENT**0.5
    turned = latent * (1 + 0.5 * np.tanh(states[:, :LATENT] @ bent))
    return np.tanh(turned @ base / LATENT**0.5).astype(np.float32)


@dataclass
class Plain:
    """Alg. 2 as one would write it: the loop of a step over a loader."""

    model: Merlion
    data: Outcomes
    learning_rate: float
    batch_size: int
    steps: int | None = None

    def __post_init__(self) -> None:
        data, model = self.data, self.model
        rows = TensorDataset(data.features, data.actions, data.rewards, data.changes, data.has_next)
        generator = torch.Generator().manual_seed(0)
        loader = DataLoader(
            rows, self.batch_size, shuffle=True, drop_last=True, generator=generator
        )
        self.batches = (
            batch for batches in (iter(loader) for _ in cycle([0])) for batch in batches
        )
        self.optimisers = [
            torch.optim.Adam(part.parameters(), lr=self.learning_rate, foreach=False)
            for part in (model.encoder, model.transition, model.reward, model.behaviour)
        ]
        self.schedules = [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
            for optimiser in self.optimisers
            if self.steps
        ]

    def step(self) -> list[float]:
        """The four losses."""
        model, settings = self.model, self.model.settings
        features, actions, rewards, changes, has_next = next(self.batches)
        others = torch.randint(self.data.n_actions, (len(actions),))
        point_i, point_j = model.encoder(features, actions), model.encoder(features, others)
        logits = model.behaviour(features)
        with torch.no_grad():
            share = torch.softmax(logits, dim=1)
            lacks = share.gather(1, others[:, None])[:, 0] / share.max(dim=1).values
            mean_i, mean_j = (model.transition(features, p)[0] for p in (point_i, point_j))
            zero = torch.zeros_like(mean_i)
            wanted = (
                (rewards - model.reward(features, point_j)).abs()
                + settings.gamma * w2(mean_i, zero, mean_j, zero)
                + settings.penalty * (lacks <= settings.threshold)
            )
        known = has_next.float()[:, None]
        error = (model.transition(features, point_i)[0] - changes) ** 2 * known
        losses = [
            (((point_i - point_j).abs().sum(dim=1) - wanted) ** 2).mean(),
            error.sum() / known.sum().clamp_min(1.0),
            ((model.reward(features, point_i) - rewards) ** 2).mean(),
            nn.functional.cross_entropy(logits, actions),
        ]
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        sum(losses).backward()  # type: ignore[union-attr]
        for moving in (*self.optimisers, *self.schedules):
            moving.step()
        return [loss.item() for loss in losses]


def new_model(log: Log, config: MerlionConfig) -> tuple[Merlion, Outcomes]:
    """A model before its first step, and its data."""
    features = ObservationFeatures.of(log.observations, FeatureConfig())
    with seeded(0):
        known = merlion.known_of(log.action_set, config)
        made = Merlion(log.action_set, features, log.observation_size, config, known)
    return made, outcomes(log, features)


class Ours:
    """Our step of G and of the encoder, each by itself; `once` holds seconds of all the rest."""

    def __init__(self, log: Log, config: MerlionConfig) -> None:
        self.once = time.process_time()
        self.model, self.data = new_model(log, config)
        self.config, n = config, len(log)
        self.support = Support(
            self.model.behaviour, self.data.features, self.data.actions, config.threshold
        )
        merlion._fit_frame(self.model, self.data, seed=0)
        self.once = time.process_time() - self.once
        self.generator = torch.Generator().manual_seed(0)
        self.rows = batches(n, config.batch_size, 100_000, self.generator)
        head, draws = self.model.behaviour.head, merlion._draws(config, len(log.action_set))
        sparse = merlion._moves_rows(config, len(log.action_set)) and draws is not None
        self.surprise: FullSoftmax | SampledSoftmax = FullSoftmax(head)
        if draws is not None:
            self.surprise = SampledSoftmax(
                head,
                Proposal.of(draws.kind, self.data.actions, len(log.action_set)),
                negatives=draws.negatives,
                sparse=sparse,
                generator=self.generator,
            )
        self.of_g = descent([self.model.behaviour], list(head.parameters()) if sparse else [])
        parts = [self.model.encoder, self.model.transition, self.model.reward]
        self.of_encoder = descent(parts, self.model.encoder.actions.tables())

    def g(self) -> None:
        rows = next(self.rows)
        with products_in(self.config.precision):
            hidden = self.model.behaviour.body(self.data.features.index_select(0, rows)).float()
            loss = self.surprise(hidden, self.data.actions.index_select(0, rows))
        self.of_g.step({"behaviour": loss})

    def encoder(self) -> None:
        rows = next(self.rows)
        others = torch.randint(self.data.n_actions, (len(rows),), generator=self.generator)
        unsupported = self.support.lacks(rows, others)
        with products_in(self.config.precision):
            parts = merlion.loss(self.model, self.data, rows, others, unsupported)
        self.of_encoder.step(parts)


def descent(parts: list[nn.Module], tables: list[torch.Tensor]) -> Descent:
    whole = [w for part in parts for w in part.parameters()]
    whole = [w for w in whole if not any(w is table for table in tables)]
    return Descent(whole, tables=tables, learning_rate=1e-3, steps=STEPS)


def timed(steps: dict[str, Step], rounds: int = 9) -> dict[str, list[float]]:
    """CPU milliseconds of a step, the variants in turn; 50 ms or more a measurement."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            calls, began = 0, time.process_time()
            while not calls or time.process_time() - began < 0.05:
                step()
                calls += 1
            spent[name].append((time.process_time() - began) / calls * 1e3)
    return spent


def floor(n_actions: int, negatives: int | None) -> float:
    """Milliseconds of the products of a paper step of 128 rows, forwards and backwards."""
    left, right = torch.randn(1024, 256), torch.randn(256, 1024)
    speed = 2 * 1024 * 256 * 1024 / 1e3 / min(timed({"": lambda: left @ right})[""])
    wide, seen = 256, n_actions if negatives is None else negatives + 128
    encoder = 256 * (STATE * wide + wide * wide + DIM * wide + 2 * wide * PAPER.embedding)
    others = 128 * wide * (3 * (STATE + DIM) + 5 * STATE)
    return 3 * 2 * (encoder + others + 128 * wide * (STATE + seen)) / speed / 1e3


VARIANTS: dict[str, dict[str, object]] = {
    "ours": {},
    "ours, bfloat16": {"precision": "bfloat16"},
    "ours, 1,024 rows": {"batch_size": 1024},
    "ours, 1,024 rows, bfloat16": {"batch_size": 1024, "precision": "bfloat16"},
}
DRAWN: dict[str, object] = {"softmax": "frequency", "negatives": 512}


def speed(n_actions: int, plain: float | None = None) -> float:
    """Times the variants; gives the milliseconds of a plain step, measured or extrapolated."""
    log = synthetic_log(n_actions)
    variants = dict(VARIANTS)
    if n_actions <= 8192:
        variants = {"ours, full softmax": {}} | {
            name.replace("ours", "ours, 512 drawn"): changes | DRAWN
            for name, changes in VARIANTS.items()
        }
    else:
        variants["ours, free vectors"] = {"action_features": "none"}
    spent: dict[str, tuple[list[float], list[float], int, float]] = {}
    if n_actions > 100_000:  # one by one, for memory
        for name, changes in variants.items():
            made = Ours(log, replace(PAPER, **changes))  # type: ignore[arg-type]
            times = timed({"g": made.g, "encoder": made.encoder})
            spent[name] = times["g"], times["encoder"], made.config.batch_size, made.once
        plain = 10 * (plain or speed(100_000))
    else:
        model, data = new_model(log, replace(PAPER, action_features="none", optimiser="dense"))
        steps: dict[str, Step] = {"plain": Plain(model, data, 1e-3, PAPER.batch_size).step}
        makes = {name: Ours(log, replace(PAPER, **c)) for name, c in variants.items()}  # type: ignore[arg-type]
        for name, made in makes.items():
            steps |= {f"{name} g": made.g, f"{name} encoder": made.encoder}
        times = timed(steps)
        plain = statistics.median(times["plain"])
        spent = {"plain": (times["plain"], [0.0] * 9, PAPER.batch_size, 0.0)}
        for name, made in makes.items():
            pair = times[f"{name} g"], times[f"{name} encoder"]
            spent[name] = *pair, made.config.batch_size, made.once
    _show(n_actions, plain, spent)
    return plain


def _show(
    n_actions: int, plain: float, spent: dict[str, tuple[list[float], list[float], int, float]]
) -> None:
    shown = Table(
        f"{n_actions:,} actions", "ms a step", "middle half", "x plain, by row", "10,000 steps",
        title="a paper step: of 128 rows unless said",
    )  # fmt: skip
    if "plain" not in spent:
        shown.add_row("plain (extrapolated)", f"{plain:,.0f}", "", "1", f"{plain * 10:,.0f} s")
    for name, (g, encoder, batch, once) in spent.items():
        shares = {name: 1.0}
        if batch == PAPER.batch_size and name in ("ours", "ours, full softmax"):
            shares[f"{name}, 3 steps of G for 40"] = 3 / 40
        for label, share in shares.items():
            times = [share * a + b for a, b in zip(g, encoder, strict=True)]
            low, middle, high = statistics.quantiles(times, n=4)
            rows = batch / PAPER.batch_size
            shown.add_row(
                label,
                f"{middle:,.1f}",
                f"{low:,.1f}-{high:,.1f}",
                f"{plain * rows / middle:,.1f}",
                f"{middle * STEPS / rows / 1e3 + once:,.0f} s",
            )
    for name, negatives in (("all", None), ("512 drawn", 512)):
        shown.add_row(f"floor: the products, {name}", f"{floor(n_actions, negatives):,.1f}")
    CONSOLE.print(shown)
    once = ", ".join(f"{name} {s:.1f} s" for name, (_, _, _, s) in spent.items() if s)
    CONSOLE.print(f"done once (model, support, frame): {once}")


def quality() -> None:
    """The probe of the plain fit and of ours."""
    world = make("maze", 64, preset="paper")
    log = collect(make_behaviour("maze_mixture", world.action_set), world, rows=ROWS, seed=0)
    features = FeatureConfig(fourier=(0, 1))
    config = MerlionConfig(embedding=4, hidden=64, gamma=0.97, steps=1500, batch_size=1024)
    shown = Table(
        "maze, 4,096 actions", "CPU s", "nearest / random", "R2 of effects", "R2 of distances",
        title="1,500 steps of 1,024 rows (ours: 300 of G)",
    )  # fmt: skip

    def add(name: str, model: Merlion, began: float) -> None:
        spent = time.process_time() - began
        found = probe(log, model, seed=0, effects=make("maze", 1, preset="paper").effects)
        numbers = (found.neighbour_ratio, found.effect_r2, found.distance_r2)
        shown.add_row(name, f"{spent:.0f}", *(f"{number:.3f}" for number in numbers))

    for seed in range(6):
        began = time.process_time()
        seen = ObservationFeatures.of(log.observations, features)
        with seeded(seed):
            model = Merlion(log.action_set, seen, log.observation_size, config)
            data = outcomes(log, seen)
            plain = Plain(model, data, config.learning_rate, config.batch_size, config.steps)
            for _ in range(config.steps):
                plain.step()
        merlion._fit_frame(model, data, seed=seed)
        add(f"plain, seed {seed}", model.requires_grad_(False), began)
        for name, changes in (
            ("ours", {}),
            ("ours, bfloat16", {"precision": "bfloat16"}),
            ("ours, drawn softmax", {"softmax": "frequency", "negatives": 512}),
        ):
            began = time.process_time()
            variant = replace(config, **changes)  # type: ignore[arg-type]
            made = merlion.fit(log, config=variant, features=features, seed=seed)
            add(f"{name}, seed {seed}", made, began)
    CONSOLE.print(shown)


def many() -> None:
    """A fit of 100,000 actions from start to end, with features and without."""
    shown = Table(
        "100,000 actions", "CPU s", "nearest / random", "R2 of effects", "R2 of distances",
        title="10,000 steps of 128 rows, of G and of the encoder",
    )  # fmt: skip
    config = replace(PAPER, steps=STEPS, behaviour_steps=STEPS, learning_rate=1e-3)
    log = synthetic_log(100_000)
    latent = log.action_set.features
    assert latent is not None
    for name, chosen in (("features", "table"), ("free vectors", "none")):
        began = time.process_time()
        variant = replace(config, action_features=chosen)  # type: ignore[arg-type]
        made = merlion.fit(log, config=variant, features=FeatureConfig(), seed=0)
        spent = time.process_time() - began
        found = probe(
            log,
            made,
            seed=0,
            effects=lambda states, actions: effects_of(states, latent[actions]).astype(float),
            states=16,
        )
        numbers = (found.neighbour_ratio, found.effect_r2, found.distance_r2)
        shown.add_row(name, f"{spent:.0f}", *(f"{number:.3f}" for number in numbers))
    CONSOLE.print(shown)


def main() -> None:
    """Prints what was asked for, or all."""
    torch.set_num_threads(1)
    asked = sys.argv[1:] or ["4096", "100000", "1000000", "probe"]
    plain = None
    for name in asked:
        if name == "probe":
            quality()
            many()
        else:
            plain = speed(int(name), plain)


if __name__ == "__main__":
    main()
