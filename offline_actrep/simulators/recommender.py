"""A video recommender: one of a thousand videos is shown, the user watches it or not.

A user has an interest in each of 20 topics and a time budget in minutes. A watched video moves the
interest in its topic and costs its length, less what its quality gives back; an ignored one costs
half a minute. So the interests decide what is watched, the qualities how long the session lasts.
Written after the interest evolution world of RecSim (Ie et al. 2019, "RecSim: A Configurable
Simulation Platform for Recommender Systems"), version 0.2.4, with slates of one video; the `paper`
preset after Gu et al. (2022), appendix A.4.

Observation `[S]` float32: the 20 interests in [-1, 1], then `history_len` blocks of 20, the topic
of the last watched video, of the one before and so on, as 0/1 (all 0 while there is none). The
budget and the topic shown last, on which the cost of repetition hangs, stay hidden in `recsim` and
`paper`, as the originals have it. So an ignored video leaves the observation as it was, and what a
poor or a repeated video costs is seen in no next state: whoever learns values from single
transitions cannot learn it. The `shown` preset is the paper's world with both in 21 more columns:
the topic as 0/1, then the share of the budget that is left.
Action: index of a video. Its features are its topic (20 times 0/1), quality and length in minutes.
Reward: minutes watched.
Ends: terminated when the budget is used up. Truncated after `horizon` decisions, a cap that does
not bind: while quality stays below 1 / BUDGET_RETURN no decision lengthens the session and at least
every second one is ignored, so that a session takes fewer than 4 decisions a minute on average.

What the paper leaves open and is assumed here: the history holds the last 10 watched topics; a
repeated topic costs whether or not it is watched, and the first video never does; a session also
ends when the budget is exactly used up, as in RecSim.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.simulator import AbstractSimulator, Outcome

TOPICS = 20
MOST_VIDEOS = 500_000
"""The largest catalogue; it takes some 120 MB, and a step costs the same as with a small one."""
BEST_QUALITY = 3.0
"""Mean quality of the best topic; of the worst it is the negative."""
POOR_TOPICS = 14
"""The first topics, whose mean qualities are negative or 0: 70 % of all."""
QUALITY_SPREAD = 0.1
"""Standard deviation of quality within a topic."""
LENGTH = 4.0
"""Minutes of a video, with `length="fixed"`."""
NORMAL_LENGTH = (4.3, 1.0)
"""Mean and standard deviation of the minutes, with `length="normal"` (RecSim's other sampler)."""
SHORTEST = 0.5
"""Minutes below which no length is drawn."""
IGNORE_COST = 0.5
"""Minutes that a video costs which is not watched."""
BUDGET_RETURN = 0.9 / 3.4
"""Share of the minutes watched that comes back to the budget for each unit of quality."""
IGNORE_WEIGHT = 2.0
"""Weight of watching nothing; watching a video weighs 1 + interest in its topic."""
STEEPEST_STEP = 0.3
"""How far an interest of 0 moves towards 1; the step shrinks to 0 as the interest nears +-1."""
DECISIONS_A_MINUTE = 5
SPARE_DECISIONS = 50
"""The horizon is DECISIONS_A_MINUTE * budget + SPARE_DECISIONS."""
NOTHING = -1
"""Stands for the topic where there is none yet."""


@dataclass(frozen=True)
class RecommenderConfig:
    """Everything that makes one recommender differ from another.

    Raises:
        ValueError: a catalogue, budget, cost or history out of range, or an unknown word.
    """

    videos: int = 1000
    """A, the size of the catalogue."""
    pool_seed: int = 0
    """Of the topics, qualities and lengths of the videos; episodes have a seed of their own."""
    budget: float = 200.0
    """Minutes that a session begins with."""
    repeat_cost: float = 0.0
    """Minutes lost when a video is of the same topic as the one shown before."""
    history_len: int = 0
    """Watched topics that the observation shows."""
    shows_rest: bool = False
    """Whether the observation ends with the topic shown last, watched or not, and the budget."""
    length: str = "fixed"
    """`fixed`: all videos of LENGTH; `normal`: drawn from NORMAL_LENGTH."""
    interest_update: str = "recsim"
    """How likely an interest u rises when a video is watched. `recsim`: (1 + u) / 2; `quality`,
    where the video has a say: (1 + (u + quality / BEST_QUALITY) / 2) / 2 (assumed)."""
    random_return: float = float("nan")
    """Measured mean return of uniform actions."""
    best_return: float = float("nan")
    """Measured mean return of `expert`."""

    def __post_init__(self) -> None:
        if not 1 <= self.videos <= MOST_VIDEOS:
            raise ValueError(f"a catalogue has 1 to {MOST_VIDEOS} videos, got {self.videos}")
        if self.budget <= 0 or self.repeat_cost < 0 or self.history_len < 0:
            raise ValueError(
                "a session needs a budget above 0, a repeat_cost and a history_len of 0 or more, "
                f"got {self.budget}, {self.repeat_cost} and {self.history_len}"
            )
        if self.length not in ("fixed", "normal"):
            raise ValueError(f"length is fixed or normal, got {self.length!r}")
        if self.interest_update not in ("recsim", "quality"):
            raise ValueError(f"interest_update is recsim or quality, got {self.interest_update!r}")


_PAPER = RecommenderConfig(
    budget=100.0, repeat_cost=2.5, history_len=10, random_return=64.8, best_return=196.3
)
PRESETS: dict[str, RecommenderConfig] = {
    "paper": _PAPER,
    "shown": replace(_PAPER, shows_rest=True),
    "recsim": RecommenderConfig(random_return=138.3, best_return=557.0),
}


@final
class Recommender(AbstractSimulator):
    """B users.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        videos, pool_seed, history_len, length, interest_update: replace the preset's.
        seed: of the users and what they do.

    Raises:
        ValueError: an unknown preset, or what `RecommenderConfig` refuses.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | RecommenderConfig = "paper",
        videos: int | None = None,
        pool_seed: int | None = None,
        history_len: int | None = None,
        length: str | None = None,
        interest_update: str | None = None,
        seed: int = 0,
    ) -> None:
        base = _preset(preset)
        given = {
            "videos": videos,
            "pool_seed": pool_seed,
            "history_len": history_len,
            "length": length,
            "interest_update": interest_update,
        }
        settings = replace(base, **{k: value for k, value in given.items() if value is not None})
        self.settings = settings
        self.topics, self.qualities = draw_pool(settings.videos, settings.pool_seed)
        self.lengths = _lengths(settings)
        self.action_set = _action_set(self.topics, self.qualities, self.lengths)
        self._favourites = _favourites(self.topics, self.qualities, self.lengths)
        self.horizon = ceil(DECISIONS_A_MINUTE * settings.budget) + SPARE_DECISIONS
        self.random_return = base.random_return if settings == base else float("nan")
        self.best_return = base.best_return if settings == base else float("nan")
        self.observation_names = _observation_names(settings)
        self.interests = np.zeros((n_worlds, TOPICS))
        self.budget = np.zeros(n_worlds)
        self.shown = np.zeros(n_worlds, np.int64)
        self.watched = np.zeros((n_worlds, settings.history_len), np.int64)
        self.clock = np.zeros(n_worlds, np.int64)
        self._everyone = np.arange(n_worlds)
        size = len(self.observation_names)
        blocks = np.arange(TOPICS, size - TOPICS + 1, TOPICS)
        self._blocks = size * self._everyone[:, None] + blocks
        low = np.where(np.arange(size) < TOPICS, -1.0, 0.0).astype(np.float32)
        self._open(n_worlds, gym.spaces.Box(low, np.ones(size, np.float32)), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        self.interests[worlds] = 2 * self.draws.uniform(TOPICS, worlds).T - 1
        self.budget[worlds] = self.settings.budget
        self.shown[worlds] = NOTHING
        self.watched[worlds] = NOTHING
        self.clock[worlds] = 0
        return self._observe()

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        topics, qualities = self.topics[actions], self.qualities[actions]
        interests = self.interests[self._everyone, topics]
        choice, direction = self.draws.uniform(2)
        watches = choice < watch_probability(interests)
        minutes = np.minimum(self.budget, self.lengths[actions]) * watches
        self.budget += minutes * (BUDGET_RETURN * qualities - 1)
        self.budget -= IGNORE_COST * ~watches
        self.budget -= self.settings.repeat_cost * (topics == self.shown)
        rises = direction < self._rise_probability(interests, qualities)
        moved = interests + np.where(rises, 1, -1) * interest_step(interests) * watches
        self.interests[self._everyone, topics] = np.clip(moved, -1, 1)
        self.shown = topics
        if self.settings.history_len:
            later = np.concatenate([topics[:, None], self.watched[:, :-1]], axis=1)
            self.watched = np.where(watches[:, None], later, self.watched)
        self.clock += 1
        over = self.budget <= 0
        return self._observe(), minutes, over, (self.clock >= self.horizon) & ~over

    def _rise_probability(
        self, interests: Float64[np.ndarray, " B"], qualities: Float64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, " B"]:
        if self.settings.interest_update == "recsim":
            return (1 + interests) / 2
        return (1 + (interests + qualities / BEST_QUALITY) / 2) / 2

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B D"]:
        """What showing a video brings, apart from the cost of a repeated topic.

        Columns: probability that it is watched, minutes if so, change of the budget if so (both of
        a budget that suffices), probability that the interest then rises, and for each of the
        20 topics how far its interest then moves.
        """
        rows = np.arange(len(actions))
        topics, qualities, minutes = (
            column[actions] for column in (self.topics, self.qualities, self.lengths)
        )
        interests = observations[rows, topics].astype(np.float64)
        effects = np.zeros((len(actions), 4 + TOPICS))
        effects[:, 0] = watch_probability(interests)
        effects[:, 1] = minutes
        effects[:, 2] = minutes * (BUDGET_RETURN * qualities - 1)
        effects[:, 3] = self._rise_probability(interests, qualities)
        effects[rows, 4 + topics] = interest_step(interests)
        return effects

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The most minutes watched for a minute of budget, both as expected of this decision.

        One video stands for its topic. Weighing what a watched video makes of the interests (an
        index by dynamic programming) was tried and gains no more than 1 %.
        """
        videos = self._favourites
        topics = self.topics[videos]
        watch = watch_probability(self.interests[:, topics])
        minutes = watch * self.lengths[videos]
        cost = minutes * (1 - BUDGET_RETURN * self.qualities[videos])
        cost += (1 - watch) * IGNORE_COST
        cost += self.settings.repeat_cost * (topics == self.shown[:, None])
        return videos[(minutes / cost).argmax(axis=1)]

    def render(self) -> tuple[UInt8[np.ndarray, "200 320 3"], ...]:
        """A picture of every world, 200 x 320.

        A bar for the interest in each topic, upwards from the middle if positive, red for poor
        topics and green for good ones; under it a mark at the topic shown last; a square for each
        of the topics watched, the last one left; below, the budget that is left.
        """
        colours = _colours()
        pictures = []
        for world in range(self.num_envs):
            picture = np.full((200, 320, 3), 255, np.uint8)
            picture[80, 10:310] = 60
            for topic, interest in enumerate(self.interests[world]):
                left, tip = 11 + 15 * topic, 80 - round(70 * interest)
                picture[min(tip, 80) : max(tip, 80) + 1, left : left + 13] = colours[topic]
                if topic == self.shown[world]:
                    picture[153:158, left : left + 13] = 60
            for place, topic in enumerate(self.watched[world, :TOPICS]):
                left = 11 + 15 * place
                colour = colours[topic] if topic != NOTHING else 230
                picture[163:176, left : left + 13] = colour
            share = min(max(self.budget[world] / self.settings.budget, 0.0), 1.0)
            picture[184:192, 10:310] = 230
            picture[184:192, 10 : 10 + round(300 * share)] = (40, 90, 200)
            pictures.append(picture)
        return tuple(pictures)

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        observations = np.zeros((self.num_envs, len(self.observation_names)), np.float32)
        observations[:, :TOPICS] = self.interests
        topics = self.watched
        if self.settings.shows_rest:
            topics = np.concatenate([topics, self.shown[:, None]], axis=1)
            observations[:, -1] = np.maximum(self.budget / self.settings.budget, 0.0)
        places = self._blocks + np.maximum(topics, 0)
        observations.reshape(-1)[places] = topics != NOTHING
        return observations


def watch_probability(interests: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Of a video, by the interest in its topic: 0 to 1/2."""
    return (1 + interests) / (1 + interests + IGNORE_WEIGHT)


def interest_step(interests: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """How far a watched video moves the interest in its topic, up or down."""
    return STEEPEST_STEP * (1 - np.abs(interests)) * (1 - interests)


def mean_qualities() -> Float64[np.ndarray, "20"]:
    """Of each topic: from -BEST_QUALITY up to 0, then from 0 up to BEST_QUALITY."""
    poor = np.linspace(-BEST_QUALITY, 0, POOR_TOPICS)
    return np.concatenate([poor, np.linspace(0, BEST_QUALITY, TOPICS - POOR_TOPICS)])


def draw_pool(
    videos: int, seed: int
) -> tuple[Int64[np.ndarray, "{videos}"], Float64[np.ndarray, "{videos}"]]:
    """Topic and quality of each video, the very numbers that RecSim draws for this seed.

    Its topics and qualities come in turns from one stream, hence the loop (1.2 s for 500,000).
    """
    generator = np.random.RandomState(seed)
    topics, deviations = np.empty(videos, np.int64), np.empty(videos)
    for video in range(videos):
        topics[video] = generator.randint(TOPICS)
        deviations[video] = generator.standard_normal()
    return topics, mean_qualities()[topics] + QUALITY_SPREAD * deviations


def _lengths(settings: RecommenderConfig) -> Float64[np.ndarray, " A"]:
    """Minutes of each video; drawn apart from topics and qualities, which stay the same."""
    if settings.length == "fixed":
        return np.full(settings.videos, LENGTH)
    drawn = np.random.default_rng(settings.pool_seed).normal(*NORMAL_LENGTH, settings.videos)
    return np.maximum(drawn, SHORTEST)


def _action_set(
    topics: Int64[np.ndarray, " A"],
    qualities: Float64[np.ndarray, " A"],
    lengths: Float64[np.ndarray, " A"],
) -> ActionSet:
    features = np.zeros((len(topics), TOPICS + 2), np.float32)
    features[np.arange(len(topics)), topics] = 1
    features[:, TOPICS] = qualities
    features[:, TOPICS + 1] = lengths
    return ActionSet(
        np.arange(len(topics), dtype=np.int64),
        names=tuple(
            f"topic {topic}, quality {quality:+.2f}, {minutes:.1f} min"
            for topic, quality, minutes in zip(topics, qualities, lengths, strict=True)
        ),
        features=features,
        feature_names=(*(f"topic_{k}" for k in range(TOPICS)), "quality", "length"),
    )


def _favourites(
    topics: Int64[np.ndarray, " A"],
    qualities: Float64[np.ndarray, " A"],
    lengths: Float64[np.ndarray, " A"],
) -> Int64[np.ndarray, " K"]:
    """A video for each topic there is: at full interest it costs least for a minute watched."""
    cost = 1 - BUDGET_RETURN * qualities + IGNORE_COST / lengths
    order = np.argsort(cost, kind="stable")
    return order[np.unique(topics[order], return_index=True)[1]]


def _observation_names(settings: RecommenderConfig) -> tuple[str, ...]:
    blocks = ["interest", *(f"watched_{back}_back" for back in range(1, settings.history_len + 1))]
    if settings.shows_rest:
        blocks.append("shown")
    names = tuple(f"{block}_{topic}" for block in blocks for topic in range(TOPICS))
    return (*names, "budget_left") if settings.shows_rest else names


def _colours() -> Int64[np.ndarray, "20 3"]:
    """From red for the poorest topic over grey to green for the best."""
    share = (mean_qualities()[:, None] / BEST_QUALITY + 1) / 2
    red, grey, green = np.array([(200, 60, 50), (170, 170, 150), (50, 150, 80)])
    low, high = np.minimum(2 * share, 1), np.maximum(2 * share - 1, 0)
    return np.round(red + low * (grey - red) + high * (green - grey)).astype(np.int64)


def _preset(preset: str | RecommenderConfig) -> RecommenderConfig:
    if isinstance(preset, RecommenderConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown recommender preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
