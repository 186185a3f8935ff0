"""A slate recommender: six items are shown at once, and they sell each other.

A user picks one item of the slate or none. What makes picking likely is less that single items
please than that the slate is complementary: of one category, but of different subcategories of it
(the complementary product reward, CPR). Only 20 candidates of the catalogue can be shown in a
session. After Jain et al. (2022), "Know Your Action Set: Learning Action Relations for
Reinforcement Learning", the list-wise RecSim with CPR.

An action places ONE item; the slate is built up position by position and shown when it is full, the
sixth decision. Slates as actions of their own would be 20! / 14! = 28 million a session, other ones
in each; so the catalogue stays the action set, whatever its size, the half-built slate stands in
the observation, and `allowed` names the candidates not yet placed. The user does not mind the order
of the items. A slate's reward comes with its last item: discounted with 1 within a slate, returns
are those of whole slates.

Observation `[S]` float32: the 10 interests in [-1, 1]; the budget left, as a share; the vectors of
the items placed so far (6 times 10, zeros where none is); how many of each of the 20 subcategories
are placed, in slates; how many candidates of each are left, in candidates.
Action: index of an item. Its features are its vector; its name tells category and subcategory.
Reward: 1 if an item of the full slate is picked, plus `cpr_reward` times the slate's CPR; otherwise
0.
Ends: terminated when the budget is used up (four slates ignored), truncated after 15 slates.

What the authors leave open and is assumed here, where possible as in their code: two subcategories
a category; CPR capped (see `complementarity`) since the plain ratio of entropies has no value for a
slate of one category; a budget of 200 minutes, of which an ignored slate takes 50 and a picked item
4; users begin with interests cut to [-1, 1]. Interests move as in the authors' code: by
`0.3 (1 - |u|) e (e - u)`, up with probability `sum_k (1 + u_k) / 2 e_k` (cut to [0, 1]), and not as
their text prints it, by `(1 - |u|) (1 - u)` times a step and with `(u . e + 1) / 2`. Left out: the
change of the budget by the quality of a picked item, less than a tenth of a minute on average.
"""

from dataclasses import dataclass, replace
from typing import final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.simulator import AbstractSimulator, Outcome

CATEGORIES = 10
"""Also the length of the vectors of items and interests."""
KINDS = 2
"""Subcategories of a category."""
SUBCATEGORIES = CATEGORIES * KINDS
SLATE = 6
"""Items of a slate."""
SLATES = 15
"""Most slates of a session."""
CANDIDATES = 20
"""Items that a session can show."""
MOST_ALIKE = 8
"""Candidates of the session's main category: this many or up to LESS_ALIKE fewer."""
LESS_ALIKE = 2
FEWEST_ITEMS = CATEGORIES * MOST_ALIKE
"""Of a catalogue: every category must be able to be the main one."""
CENTRE_SPREAD = 0.5
"""The centre of a subcategory is its category's unit vector plus U(-0.5, 0.5) a coordinate."""
ITEM_SPREAD = 0.1**0.5
"""Standard deviation of an item's, and of a user's, coordinates about the centre."""
AFFINITY_WEIGHT = 0.3
"""Of the product of interests and item vector in an item's score."""
CPR_WEIGHT = 5.0
"""Of the slate's CPR in the score of each of its items."""
IGNORE_SCORE = 4.0
"""Score of picking nothing."""
STEEPEST_STEP = 0.3
"""How far an interest of 0 moves for a picked item whose vector is 1 there."""
BUDGET = 200.0
"""Minutes that a session begins with."""
PICK_COST = 4.0
"""Minutes that a picked item takes."""
IGNORE_COST = 50.0
"""Minutes that an ignored slate takes."""
SLATE_AT = CATEGORIES + 1
PLACED_AT = SLATE_AT + SLATE * CATEGORIES
LEFT_AT = PLACED_AT + SUBCATEGORIES
"""Columns of the observation at which the vectors and the two kinds of counts begin."""
EMPTY = -1
"""Stands for the item of a position not yet filled."""


@dataclass(frozen=True)
class SlateConfig:
    """Everything that makes one slate recommender differ from another.

    Raises:
        ValueError: a catalogue too small, or an unknown split.
    """

    items: int = 250
    """A, the size of the catalogue."""
    pool_seed: int = 0
    """Of the subcategories' centres and the items; episodes have a seed of their own."""
    split: str = "train"
    """`train` or `test`: two catalogues about the same centres that share no item, for trials with
    unseen ones."""
    cpr_reward: float = 0.0
    """What a slate's CPR pays, beside the pick."""
    random_return: float = float("nan")
    """Measured mean return of uniform allowed actions."""
    best_return: float = float("nan")
    """Measured mean return of `expert`."""

    def __post_init__(self) -> None:
        if self.items < FEWEST_ITEMS:
            raise ValueError(f"a catalogue has at least {FEWEST_ITEMS} items, got {self.items}")
        if self.split not in ("train", "test"):
            raise ValueError(f"split is train or test, got {self.split!r}")


PRESETS: dict[str, SlateConfig] = {
    "paper": SlateConfig(random_return=0.89, best_return=8.6),
    "direct": SlateConfig(cpr_reward=1.0, random_return=1.42, best_return=15.3),
}


@final
class SlateRecommender(AbstractSimulator):
    """B users.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        items, pool_seed, split: replace the preset's.
        seed: of the users, their candidates and what they do.

    Raises:
        ValueError: an unknown preset, or what `SlateConfig` refuses.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | SlateConfig = "paper",
        items: int | None = None,
        pool_seed: int | None = None,
        split: str | None = None,
        seed: int = 0,
    ) -> None:
        base = _preset(preset)
        given = {"items": items, "pool_seed": pool_seed, "split": split}
        settings = replace(base, **{k: value for k, value in given.items() if value is not None})
        self.settings = settings
        self.subcategories = _subcategories(settings.items)
        self.centres, self.vectors = _draw_pool(settings, self.subcategories)
        self.action_set = _action_set(self.vectors, self.subcategories)
        self.horizon = SLATES * SLATE
        self.random_return = base.random_return if settings == base else float("nan")
        self.best_return = base.best_return if settings == base else float("nan")
        self.observation_names = _observation_names()
        empty = np.zeros((1, CATEGORIES), np.float32)
        self._shown_vectors = np.concatenate([self.vectors.astype(np.float32), empty])
        self.interests = np.zeros((n_worlds, CATEGORIES))
        self.budget = np.zeros(n_worlds)
        self.candidates = np.zeros((n_worlds, CANDIDATES), np.int64)
        self.left = np.ones((n_worlds, CANDIDATES), bool)
        self.slate = np.full((n_worlds, SLATE), EMPTY)
        self.placed = np.zeros((n_worlds, SUBCATEGORIES), np.int64)
        self.offered = np.zeros((n_worlds, SUBCATEGORIES), np.int64)
        self.cpr = np.zeros(n_worlds)
        self.clock = np.zeros(n_worlds, np.int64)
        self._everyone = np.arange(n_worlds)
        self._open(n_worlds, _space(self._shown_vectors), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        self.interests[worlds] = self._users(worlds)
        self.candidates[worlds] = self._candidates(worlds)
        self.budget[worlds] = BUDGET
        self.left[worlds] = True
        self.slate[worlds] = EMPTY
        self.placed[worlds] = 0
        self.offered[worlds] = self._count(self.candidates[worlds])
        self.cpr[worlds] = 0.0
        self.clock[worlds] = 0
        return self._observe()

    def _users(self, worlds: Bool[np.ndarray, " B"]) -> Float64[np.ndarray, "N 10"]:
        """Mean of one draw about the centre of each subcategory of one category."""
        category = self.draws.integers(1, CATEGORIES, worlds)[0]
        noise = self.draws.normal(KINDS * CATEGORIES, worlds).T.reshape(-1, KINDS, CATEGORIES)
        centres = self.centres.reshape(CATEGORIES, KINDS, CATEGORIES)[category]
        return np.clip((centres + ITEM_SPREAD * noise).mean(axis=1), -1, 1)

    def _candidates(self, worlds: Bool[np.ndarray, " B"]) -> Int64[np.ndarray, "N 20"]:
        """Distinct items: 6 to 8 of a main category, some of each kind of it, and others.

        Items stand in the order of their categories, so that a main category is a range.
        """
        main = self.draws.integers(1, CATEGORIES, worlds)[0]
        fewer = self.draws.integers(1, LESS_ALIKE + 1, worlds)[0]
        edges = np.searchsorted(self.subcategories, np.arange(SUBCATEGORIES + 1))
        begin, middle, end = (edges[KINDS * main + k] for k in range(KINDS + 1))
        one_each = self.draws.uniform(KINDS, worlds) * np.stack([middle - begin, end - middle])
        alike = one_each.astype(np.int64) + np.stack([np.zeros_like(begin), middle - begin])
        alike = begin[:, None] + _distinct(
            self.draws.uniform(MOST_ALIKE - KINDS, worlds), end - begin, alike.T
        )
        others = _distinct(
            self.draws.uniform(CANDIDATES - MOST_ALIKE + LESS_ALIKE, worlds),
            self.settings.items - (end - begin),
            np.empty((len(main), 0), np.int64),
        )
        others += (others >= begin[:, None]) * (end - begin)[:, None]
        place = np.arange(CANDIDATES)
        count = (MOST_ALIKE - fewer)[:, None]
        source = np.where(place < count, place, place - count + MOST_ALIKE)
        return np.take_along_axis(np.concatenate([alike, others], axis=1), source, axis=1)

    def _count(self, items: Int64[np.ndarray, "N 20"]) -> Int64[np.ndarray, "N 20"]:
        """How many of the candidates are of each subcategory."""
        cells = np.arange(len(items))[:, None] * SUBCATEGORIES + self.subcategories[items]
        counts = np.bincount(cells.ravel(), minlength=len(items) * SUBCATEGORIES)
        return counts.reshape(len(items), SUBCATEGORIES)

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        self.slate[self._everyone, self.clock % SLATE] = actions
        self.left &= self.candidates != actions[:, None]
        kinds = self.subcategories[actions]
        self.placed[self._everyone, kinds] += 1
        self.offered[self._everyone, kinds] -= 1
        self.clock += 1
        self.cpr = np.zeros(self.num_envs)
        rewards = np.zeros(self.num_envs)
        draws = self.draws.uniform(2)
        full = np.flatnonzero(self.clock % SLATE == 0)
        if len(full):
            rewards[full] = self._show(full, draws[:, full])
        over = self.budget <= 0
        return self._observe(), rewards, over, (self.clock >= self.horizon) & ~over

    def _show(
        self, full: Int64[np.ndarray, " N"], draws: Float64[np.ndarray, "2 N"]
    ) -> Float64[np.ndarray, " N"]:
        """Shows the slates of these worlds and clears them; what that pays."""
        interests, vectors = self.interests[full], self.vectors[self.slate[full]]
        cpr = complementarity(self.placed[full])
        sums = np.exp(scores(interests, vectors, cpr)).cumsum(axis=1)
        threshold = draws[0] * (sums[:, -1] + np.exp(IGNORE_SCORE))
        choice = (sums <= threshold[:, None]).sum(axis=1)
        picks = choice < SLATE
        vector = vectors[np.arange(len(full)), np.minimum(choice, SLATE - 1)]
        step = STEEPEST_STEP * (1 - np.abs(interests)) * vector * (vector - interests)
        rises = draws[1] < ((1 + interests) / 2 * vector).sum(axis=1)
        moved = np.clip(interests + np.where(rises, 1, -1)[:, None] * step, -1, 1)
        self.interests[full] = np.where(picks[:, None], moved, interests)
        self.budget[full] -= np.where(picks, PICK_COST, IGNORE_COST)
        self.slate[full] = EMPTY
        self.left[full] = True
        self.offered[full] += self.placed[full]
        self.placed[full] = 0
        self.cpr[full] = cpr
        return picks + self.settings.cpr_reward * cpr

    def info(self) -> dict[str, np.ndarray]:
        """`cpr`: that of the slate which this decision showed, 0 if it showed none."""
        return {"cpr": self.cpr.copy()}

    def allowed(self) -> AllowedActions:
        """The session's candidates that are not yet in the slate."""
        offsets = np.concatenate([[0], self.left.sum(axis=1).cumsum()])
        return AllowedActions(offsets, self.candidates[self.left])

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 31"]:
        """What placing an item does.

        Columns: the expected reward of this decision (0 unless the item is the last of its slate),
        the item's vector, and its subcategory as 0/1.
        """
        seen = observations.astype(np.float64)
        rows = np.arange(len(actions))
        slate = seen[:, SLATE_AT:PLACED_AT].reshape(-1, SLATE, CATEGORIES).copy()
        placed = np.rint(seen[:, PLACED_AT:LEFT_AT] * SLATE).astype(np.int64)
        last = placed.sum(axis=1) == SLATE - 1
        slate[:, -1] = self.vectors[actions]
        placed[rows, self.subcategories[actions]] += 1
        cpr = complementarity(placed)
        weight = np.exp(scores(seen[:, :CATEGORIES], slate, cpr)).sum(axis=1)
        effects = np.zeros((len(actions), 1 + CATEGORIES + SUBCATEGORIES))
        effects[:, 0] = last * self._pays(weight, cpr)
        effects[:, 1 : 1 + CATEGORIES] = self.vectors[actions]
        effects[rows, 1 + CATEGORIES + self.subcategories[actions]] = 1
        return effects

    def _pays(
        self, weight: Float64[np.ndarray, " B"], cpr: Float64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, " B"]:
        """Expected reward of a slate, by the sum of the exponentials of its items' scores."""
        return weight / (weight + np.exp(IGNORE_SCORE)) + self.settings.cpr_reward * cpr

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The next item of the best completed slate, one tried for each main category.

        A completion takes five of the main category, three and two of its kinds if there are as
        many, and one other; among equals the items that the user likes most.
        """
        affinity = AFFINITY_WEIGHT * (self.vectors[self.candidates] * self.interests[:, None]).sum(
            axis=2
        )
        most = np.full(self.num_envs, -np.inf)
        chosen = np.zeros(self.num_envs, np.int64)
        for main in range(CATEGORIES):
            first, pays = self._completed(main, affinity)
            chosen = np.where(pays > most, first, chosen)
            most = np.maximum(pays, most)
        return self.candidates[self._everyone, chosen]

    def _completed(
        self, main: int, affinity: Float64[np.ndarray, "B 20"]
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        """The candidate to place next on the way to a slate about this category; what it pays."""
        kinds = self.subcategories[self.candidates]
        inside = kinds // KINDS == main
        left, placed = self.left.copy(), self.placed.copy()
        following = np.full(self.num_envs, EMPTY)
        for _ in range(SLATE - int((self.clock % SLATE).min())):
            short = placed.reshape(-1, CATEGORIES, KINDS)[:, main].sum(axis=1) < SLATE - 1
            wanted = inside & short[:, None]
            balanced = wanted & (np.take_along_axis(placed, kinds, axis=1) < SLATE // KINDS)
            # Each tier outweighs any difference of affinities, which are of order 1.
            rank = affinity + 1e3 * (balanced * 1.0 + wanted + ~inside * 0.5)
            best = np.where(left, rank, -np.inf).argmax(axis=1)
            unfilled = placed.sum(axis=1) < SLATE
            following = np.where(following == EMPTY, best, following)
            left[self._everyone, best] &= ~unfilled
            placed[self._everyone, kinds[self._everyone, best]] += unfilled
        cpr = complementarity(placed)
        weight = (np.exp(affinity + CPR_WEIGHT * cpr[:, None]) * ~left).sum(axis=1)
        return following, self._pays(weight, cpr)

    def render(self) -> tuple[UInt8[np.ndarray, "200 320 3"], ...]:
        """A picture of every world, 200 x 320.

        Top, the slate: a square an item in the colour of its category, its right half dark if it is
        of the second kind. Middle, the candidates, smaller, those placed left blank. Under them a
        bar for the interest in each category, upwards if positive, and the budget that is left.
        """
        pictures = []
        for world in range(self.num_envs):
            picture = np.full((200, 320, 3), 255, np.uint8)
            for place, item in enumerate(self.slate[world]):
                self._draw(picture[10:50, 10 + 50 * place : 50 + 50 * place], item)
            for place, item in enumerate(self.candidates[world]):
                shown = item if self.left[world, place] else EMPTY
                self._draw(picture[64:77, 10 + 15 * place : 23 + 15 * place], shown)
            picture[130, 10:310] = 60
            for category, interest in enumerate(self.interests[world]):
                left, tip = 12 + 30 * category, 130 - round(40 * interest)
                picture[min(tip, 130) : max(tip, 130) + 1, left : left + 26] = COLOURS[category]
            share = min(max(self.budget[world] / BUDGET, 0.0), 1.0)
            picture[184:192, 10:310] = 230
            picture[184:192, 10 : 10 + round(300 * share)] = (40, 90, 200)
            pictures.append(picture)
        return tuple(pictures)

    def _draw(self, square: UInt8[np.ndarray, "side side 3"], item: int | np.int64) -> None:
        if item == EMPTY:
            square[:] = 230
            return
        category, kind = divmod(int(self.subcategories[item]), KINDS)
        square[:] = COLOURS[category]
        if kind:
            square[:, len(square) // 2 :] = 60

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        observations = np.zeros((self.num_envs, len(self.observation_names)), np.float32)
        observations[:, :CATEGORIES] = self.interests
        observations[:, CATEGORIES] = self.budget / BUDGET
        vectors = self._shown_vectors[self.slate]
        observations[:, SLATE_AT:PLACED_AT] = vectors.reshape(self.num_envs, -1)
        observations[:, PLACED_AT:LEFT_AT] = self.placed / SLATE
        observations[:, LEFT_AT:] = self.offered / CANDIDATES
        return observations


def complementarity(placed: Int64[np.ndarray, "N 20"]) -> Float64[np.ndarray, " N"]:
    """CPR of full slates, from how many of their items are of each subcategory: 0 to 0.564.

    The entropy of the subcategories, as a share of the highest possible, times how few categories
    there are: 1 / (entropy of the categories), scaled to 1 at five of one and one of another (and
    at six of one, which would be infinite) and to 0 at six categories. Best is a slate of 3, 2, 1.
    """
    categories = placed.reshape(-1, CATEGORIES, KINDS).sum(axis=2)
    narrow, wide = _entropy(np.array([[SLATE - 1, 1]])), np.log2(SLATE)
    focus = 1 / np.maximum(_entropy(categories), narrow)
    share = (focus - 1 / wide) / (1 / narrow - 1 / wide)
    return np.maximum(share, 0.0) * _entropy(placed) / wide


def _entropy(counts: Int64[np.ndarray, "N K"]) -> Float64[np.ndarray, " N"]:
    """In bits, of a slate's items over K classes."""
    share = np.arange(1, SLATE + 1) / SLATE
    terms = np.concatenate([[0.0], -share * np.log2(share)])
    return terms[counts].sum(axis=1)


def scores(
    interests: Float64[np.ndarray, "N 10"],
    vectors: Float64[np.ndarray, "N 6 10"],
    cpr: Float64[np.ndarray, " N"],
) -> Float64[np.ndarray, "N 6"]:
    """Of a slate's items; an item is picked with a probability proportional to exp(score)."""
    affinity = (vectors * interests[:, None]).sum(axis=2)
    return AFFINITY_WEIGHT * affinity + CPR_WEIGHT * cpr[:, None]


def _distinct(
    uniforms: Float64[np.ndarray, "K N"],
    sizes: Int64[np.ndarray, " N"],
    taken: Int64[np.ndarray, "N T"],
) -> Int64[np.ndarray, "N T_plus_K"]:
    """K more numbers of 0..size-1 a row, each uniform among those not yet taken."""
    for lane in uniforms:
        pick = (lane * (sizes - taken.shape[1])).astype(np.int64)
        for earlier in np.sort(taken, axis=1).T:
            pick += pick >= earlier
        taken = np.concatenate([taken, pick[:, None]], axis=1)
    return taken


def _subcategories(items: int) -> Int64[np.ndarray, " A"]:
    """Of each item, in order; category c holds KINDS * c and the next. Sizes as equal as can be."""
    parts = [
        len(part)
        for category in np.array_split(np.arange(items), CATEGORIES)
        for part in np.array_split(category, KINDS)
    ]
    return np.repeat(np.arange(SUBCATEGORIES), parts)


def _draw_pool(
    settings: SlateConfig, subcategories: Int64[np.ndarray, " A"]
) -> tuple[Float64[np.ndarray, "20 10"], Float64[np.ndarray, "A 10"]]:
    """Centres of the subcategories, and the items' vectors about them."""
    centring = np.random.default_rng([settings.pool_seed, 0])
    spread = centring.uniform(-CENTRE_SPREAD, CENTRE_SPREAD, (SUBCATEGORIES, CATEGORIES))
    centres = np.eye(CATEGORIES).repeat(KINDS, axis=0) + spread
    part = 1 + ("train", "test").index(settings.split)
    noise = np.random.default_rng([settings.pool_seed, part]).standard_normal(
        (settings.items, CATEGORIES)
    )
    return centres, centres[subcategories] + ITEM_SPREAD * noise


def _action_set(
    vectors: Float64[np.ndarray, "A 10"], subcategories: Int64[np.ndarray, " A"]
) -> ActionSet:
    return ActionSet(
        np.arange(len(vectors), dtype=np.int64),
        names=tuple(
            f"category {sub // KINDS}, kind {sub % KINDS}, item {item}"
            for item, sub in enumerate(subcategories)
        ),
        features=vectors.astype(np.float32),
        feature_names=tuple(f"x{k}" for k in range(CATEGORIES)),
    )


def _space(vectors: Float32[np.ndarray, "rows 10"]) -> gym.spaces.Box:
    counts = np.zeros(2 * SUBCATEGORIES)
    lowest_budget = -IGNORE_COST / BUDGET
    low = [-np.ones(CATEGORIES), [lowest_budget], np.tile(vectors.min(axis=0), SLATE), counts]
    high = [np.ones(CATEGORIES), [1.0], np.tile(vectors.max(axis=0), SLATE), counts + 1]
    return gym.spaces.Box(
        np.concatenate(low).astype(np.float32), np.concatenate(high).astype(np.float32)
    )


def _observation_names() -> tuple[str, ...]:
    kinds = tuple(f"{category}_{kind}" for category in range(CATEGORIES) for kind in range(KINDS))
    return (
        *(f"interest_{k}" for k in range(CATEGORIES)),
        "budget",
        *(f"slate_{place}_x{k}" for place in range(SLATE) for k in range(CATEGORIES)),
        *(f"placed_{name}" for name in kinds),
        *(f"left_{name}" for name in kinds),
    )


COLOURS = np.array(
    [
        (31, 119, 180),
        (255, 127, 14),
        (44, 160, 44),
        (214, 39, 40),
        (148, 103, 189),
        (140, 86, 75),
        (227, 119, 194),
        (127, 127, 127),
        (188, 189, 34),
        (23, 190, 207),
    ]
)
"""One a category: ten that are easily told apart (Tableau's)."""


def _preset(preset: str | SlateConfig) -> SlateConfig:
    if isinstance(preset, SlateConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown slate preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
