"""The n-gram recommender: a shop that suggests one item a visit, made from a purchase log.

A customer's next purchase depends on the last two; recommending an item makes its purchase three
times as likely, before probabilities are normalised again. The recommender lives on what is bought,
suggested or not. After Pritz et al. (2021), "Jointly-Trained State-Action Embedding for Efficient
Reinforcement Learning", appendix A.4, who adopt the user model of Shani, Heckerman and Brafman
(2005), "An MDP-Based Recommender System", JMLR 6.

Assumptions, where the paper is silent: pairs of items that the log hardly knows back off to the
last item and then to general popularity (`ngram_chain` has the formula; Shani et al. smooth by
skipping, clustering and mixing instead); an episode begins after a pair of purchases drawn from the
log by its frequency; an item has one price; nobody leaves the shop.

Observation `[S]` float32: for the last item (`last1`) and the one before it (`last2`) a one-hot
category, log price and log number of purchases (both standardised over the items), and the item's
rank by purchases in [0, 1], 0 the most bought. No two items have the same rank, so the observation
names both items exactly: it is the whole state. Decisions left are not shown.
Action: index of the item recommended.
Reward: price of the item bought, in the log's currency.
Ends: never terminated, truncated after `horizon` decisions.
"""

import colorsys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from PIL import Image, ImageDraw

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.simulator import AbstractSimulator, Outcome
from offline_actrep.simulators.ngram_chain import NgramChain, Plan, extra_share
from offline_actrep.simulators.ngram_tables import NgramTables, synthetic_tables

REMEMBERED = 2
"""n: how many purchases the next one depends on."""
WIDTH, HEIGHT = 360, 200
"""Of a picture, in pixels."""
FLOOR, TALLEST = 150, 115
"""Where the bars of a picture stand, and the length of the dearest item's, in pixels."""
BARS = 30
"""Most purchases that a picture shows: the last ones."""
NOTHING = -1
"""Stands for no recommendation."""


@dataclass(frozen=True)
class NgramConfig:
    """Everything that makes one shop differ from another, but for a log of one's own."""

    n_items: int = 1000
    """A of the synthetic shop."""
    layout_seed: int = 0
    """Draws the synthetic shop and its log."""
    min_context: int = 10
    """A pair of items, or an item, seen before fewer purchases backs off. With 1 most pairs of a
    sparse log have been seen once: the next purchase is then certain, whatever is recommended."""
    multiplier: float = 3.0
    """How much likelier a recommendation makes a purchase, before normalising; at least 1."""
    horizon: int = 20
    """Decisions of an episode."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.multiplier) and self.multiplier >= 1.0):
            raise ValueError(f"multiplier must be a number of at least 1, got {self.multiplier}")
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1 decision, got {self.horizon}")


PRESETS: dict[str, NgramConfig] = {"synthetic": NgramConfig()}


@final
class NgramRecommender(AbstractSimulator):
    """B customers of one shop.

    `random_return` and `best_return` are exact expectations, whatever the options.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        tables: counts of a log of one's own, or the file they were written to; None for the
            synthetic shop.
        n_items: replaces the preset's size of the synthetic shop.
        min_context: replaces the preset's.
        multiplier: replaces the preset's.
        horizon: replaces the preset's.
        seed: of the customers' purchases.

    Raises:
        ValueError: an unknown preset, a multiplier below 1, a horizon or min_context below 1,
            n_items beside tables, tables that cannot be read.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | NgramConfig = "synthetic",
        tables: NgramTables | str | Path | None = None,
        n_items: int | None = None,
        min_context: int | None = None,
        multiplier: float | None = None,
        horizon: int | None = None,
        seed: int = 0,
    ) -> None:
        if tables is not None and n_items is not None:
            raise ValueError(f"tables bring their own items: leave out n_items (got {n_items})")
        settings = _changed(
            _preset(preset),
            n_items=n_items,
            min_context=min_context,
            multiplier=multiplier,
            horizon=horizon,
        )
        self.settings = settings
        self.tables = _tables(tables, settings)
        self.chain, plan = _model(
            self.tables, settings.min_context, settings.multiplier, settings.horizon
        )
        self._plan = plan.actions
        self._openings = np.cumsum(self.tables.bigram_counts)
        self._described, names = describe(self.tables)
        self._by_rank = np.argsort(self._described[:, -1])
        self._outcomes = np.column_stack([_in_deviations(self.tables.prices), self._described])
        self._colours = _colours(len(self.tables.category_names))
        self.horizon = settings.horizon
        opening = self.chain.locate(*self.tables.bigrams.T)
        self.random_return, self.best_return = (
            float(np.average(worth[opening], weights=self.tables.bigram_counts))
            for worth in (plan.uniform, plan.best)
        )
        self.action_set = ActionSet(
            self.tables.ids,
            names=self.tables.names,
            features=self._described[:, :-1].copy(),
            feature_names=names[:-1],
        )
        self.observation_names = tuple(
            f"last{back}_{name}" for back in range(1, REMEMBERED + 1) for name in names
        )
        self.last = np.zeros((n_worlds, REMEMBERED), np.int64)
        self.nodes = np.zeros(n_worlds, np.int64)
        self.clock = np.zeros(n_worlds, np.int64)
        self.bought = np.zeros((n_worlds, self.horizon), np.int64)
        self.recommended = np.full((n_worlds, self.horizon), NOTHING)
        low, high = (np.tile(end(self._described, axis=0), REMEMBERED) for end in (np.min, np.max))
        self._open(n_worlds, gym.spaces.Box(low, high, dtype=np.float32), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        below = self._openings
        place = (self.draws.uniform(1, worlds)[0] * below[-1]).astype(np.int64)
        pairs = self.tables.bigrams[np.searchsorted(below, place, side="right")]
        self.last[worlds] = pairs[:, ::-1]
        self.nodes[worlds] = self.chain.locate(pairs[:, 0], pairs[:, 1])
        self.clock[worlds] = 0
        self.recommended[worlds] = NOTHING
        return self._observe()

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        draws, everyone = self.draws.uniform(1)[0], np.arange(self.num_envs)
        entries = self.chain.draw(self.nodes, actions, draws, self.settings.multiplier)
        bought = self.chain.items[entries]
        self.nodes = self.chain.following[entries]
        self.last[:, 1] = self.last[:, 0]
        self.last[:, 0] = bought
        now = np.minimum(self.clock, self.horizon - 1)
        self.bought[everyone, now] = bought
        self.recommended[everyone, now] = actions
        self.clock += 1
        ended = self.clock >= self.horizon
        return self._observe(), self.tables.prices[bought], np.zeros_like(ended), ended

    def allowed(self) -> None:
        return None

    def info(self) -> dict[str, np.ndarray]:
        """Ids of the last two items `[B, 2]`, the last first, and whether it was recommended."""
        latest = np.clip(self.clock, 1, self.horizon) - 1
        followed = self.recommended[np.arange(self.num_envs), latest] == self.last[:, 0]
        return {"items": self.tables.ids[self.last], "followed": followed}

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B D"]:
        """How the recommendation shifts the expectation of what happens next.

        The first column is the reward, in standard deviations of the items' prices; the others are
        what the next observation says of the item bought (its part `last1`). Both are against no
        recommendation: share(r) (x(r) - mean x), x being those numbers of an item and share(r) the
        probability that r is bought for the recommendation's sake. Items that nobody buys in a
        state have rows of zeros there.
        """
        newer, older = self._remembered(observations)
        states, where = np.unique(self.chain.locate(older, newer), return_inverse=True)
        seen = self.chain.find(states[where], actions)[1] / self.chain.totals(states)[where]
        share = extra_share(seen, self.settings.multiplier)
        means = self.chain.probabilities()[states] @ self._outcomes
        return share[:, None] * (self._outcomes[actions] - means[where])

    def _remembered(self, observations: Float32[np.ndarray, "B S"]) -> Int64[np.ndarray, "2 B"]:
        """The last item and the one before it: their ranks are in the observation."""
        ranks = observations.reshape(len(observations), REMEMBERED, -1)[:, :, -1]
        places = np.rint(ranks.T.astype(np.float64) * _last_rank(self.tables))
        return self._by_rank[places.astype(np.int64)]

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The recommendation that earns most in the decisions left, exactly."""
        left = self.horizon - np.minimum(self.clock, self.horizon - 1)
        return self._plan[left - 1, self.nodes]

    def render(self) -> tuple[UInt8[np.ndarray, "200 360 3"], ...]:
        """A picture of every world: a bar a purchase, log(1 + price) long, coloured by category.

        A black mark below a bar says that the item was recommended. Above stand the visit and its
        revenue, below the last two items.
        """
        return tuple(self._picture(world) for world in range(self.num_envs))

    def _picture(self, world: int) -> UInt8[np.ndarray, "200 360 3"]:
        image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        pen, clock = ImageDraw.Draw(image), min(int(self.clock[world]), self.horizon)
        bought = self.bought[world, :clock]
        revenue = self.tables.prices[bought].sum()
        pen.text((8, 6), f"purchase {clock} of {self.horizon}, revenue {revenue:,.2f}", "black")
        slot = (WIDTH - 16) / min(self.horizon, BARS)
        heights = TALLEST * np.log1p(self.tables.prices) / np.log1p(self.tables.prices.max())
        for k, step in enumerate(range(max(clock - BARS, 0), clock)):
            item = bought[step]
            left, right = 8 + k * slot, 8 + (k + 1) * slot - 2
            colour = self._colours[self.tables.categories[item]]
            pen.rectangle((left, FLOOR - heights[item], right, FLOOR), colour)
            if self.recommended[world, step] == item:
                pen.rectangle((left, FLOOR + 3, right, FLOOR + 6), "black")
        pen.line((8, FLOOR, WIDTH - 8, FLOOR), "black")
        for back, item in enumerate(self.last[world]):
            label = self.tables.names[item] if self.tables.names else str(self.tables.ids[item])
            colour = self._colours[self.tables.categories[item]]
            pen.rectangle((8, FLOOR + 14 + 15 * back, 16, FLOOR + 22 + 15 * back), colour)
            text = f"{self.tables.prices[item]:.2f}  {label[:48]}"
            pen.text((22, FLOOR + 12 + 15 * back), text, "black")
        return np.array(image)

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        return self._described[self.last].reshape(self.num_envs, -1)


def describe(tables: NgramTables) -> tuple[Float32[np.ndarray, "A F"], tuple[str, ...]]:
    """What an observation tells of an item, and the names of the columns; the rank comes last.

    A shop with one category has no column for it.
    """
    columns, names = [], []
    if len(tables.category_names) > 1:
        columns += list(np.eye(len(tables.category_names))[tables.categories].T)
        names += [f"category={name}" for name in tables.category_names]
    for name, column in (("log_price", tables.prices), ("log_purchases", tables.purchases)):
        logs = np.log(column)
        columns.append(_in_deviations(logs - logs.mean()))
        names.append(name)
    ranks = np.empty(len(tables))
    ranks[np.argsort(-tables.purchases, kind="stable")] = np.arange(len(tables))
    columns.append(ranks / _last_rank(tables))
    return np.stack(columns, axis=1).astype(np.float32), (*names, "rank")


def _last_rank(tables: NgramTables) -> int:
    return max(len(tables) - 1, 1)


def _in_deviations(column: Float64[np.ndarray, " A"]) -> Float64[np.ndarray, " A"]:
    """In standard deviations of the column; as it is where all entries are equal."""
    return column / (column.std() or 1.0)


def _colours(count: int) -> list[tuple[int, int, int]]:
    """As many hues."""
    shades = [colorsys.hsv_to_rgb(k / count, 0.65, 0.8) for k in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shades]


@lru_cache(maxsize=4)
def _model(
    tables: NgramTables, min_context: int, multiplier: float, horizon: int
) -> tuple[NgramChain, Plan]:
    """Made once for worlds of the same shop."""
    chain = NgramChain.of(tables, min_context)
    return chain, Plan.of(chain, tables.prices, multiplier, horizon)


def _tables(given: NgramTables | str | Path | None, settings: NgramConfig) -> NgramTables:
    if given is None:
        return synthetic_tables(settings.n_items, settings.layout_seed)
    return given if isinstance(given, NgramTables) else NgramTables.read(given)


def _changed(settings: NgramConfig, **changes: Any) -> NgramConfig:
    """None leaves a field as it is."""
    return replace(settings, **{name: new for name, new in changes.items() if new is not None})


def _preset(preset: str | NgramConfig) -> NgramConfig:
    if isinstance(preset, NgramConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(
            f"unknown n-gram recommender preset {preset!r}; there are {', '.join(PRESETS)}"
        )
    return PRESETS[preset]
