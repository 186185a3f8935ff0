"""The slot machine: every reel is turned by hand, 8^4 = 4,096 ways to turn four of them.

Each reel carries six numbers. An action turns each reel by a tenth to eight tenths of a full turn;
what then shows on the front pays if at least three reels show the same number. Reels move without
chance: only the start is drawn. After Pritz et al. (2021), "Jointly-Trained State-Action
Embedding for Efficient Reinforcement Learning", section 5.1 and appendix A.4.1.

The paper calls the numbers on the front a discrete state, and turns six faces by tenths. Both are
true at once only if the reels come to rest on whole faces and no reel repeats a number. So this is
assumed in the `paper` preset: a turn is rounded to the nearest face (1, 1, 2, 2, 3, 4, 4 or 5 of
them), which leaves 5^4 = 625 actions that differ, and the numbers of a reel are drawn from 0..8
without replacement. The `angles` preset turns by the fraction itself and shows where each reel
stands; all 4,096 actions differ. Assumed in both: every reel starts anywhere with equal chance.

Observation `[4]` float32: the number on the front of each reel, or (`angles`) its angle, from 0 to
1 full turn; face k is on the front from k/6 to (k+1)/6.
Action: index whose four base-8 digits, first reel most significant, are tenths of a turn less one.
Reward: the sum of the shown numbers that at least three reels show.
Ends: never terminated; truncated after `horizon` decisions.
"""

from dataclasses import dataclass
from typing import Literal, final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8
from PIL import Image, ImageDraw, ImageFont

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.simulator import AbstractSimulator

REELS = 4
FACES = 6
"""Numbers on a reel."""
NUMBERS = 9
"""A number is one of 0..8."""
FRACTIONS = 8
"""A reel turns by 1 to 8 tenths of a full turn."""
TICKS = 30
"""Ticks of a full turn: the fewest in which a tenth of it and a face are both whole."""
TENTH = TICKS // 10
"""Ticks of a tenth of a turn."""
FACE = TICKS // FACES
"""Ticks of a face."""
SPAN = 60
"""Pixels a face is high in a picture, and a reel wide."""


@dataclass(frozen=True)
class SlotMachineConfig:
    """Everything that makes one slot machine differ from another, but for its numbers."""

    whole_faces: bool = True
    """Reels rest on whole faces, turns are rounded to the nearest; otherwise anywhere."""
    shows: Literal["numbers", "angles"] = "numbers"
    """What is observed. Numbers hide the angle of a reel that may rest anywhere."""
    least: int = 3
    """Reels that must show a number for it to pay."""
    horizon: int = 20
    """Decisions of an episode."""
    random_return: float = float("nan")
    """Mean return of uniform actions, for layout 0."""
    best_return: float = float("nan")
    """Mean return of the optimal policy, for layout 0. Both are exact but for the rounding."""


PRESETS: dict[str, SlotMachineConfig] = {
    "paper": SlotMachineConfig(random_return=14.88, best_return=499.3),
    "angles": SlotMachineConfig(
        whole_faces=False, shows="angles", random_return=14.88, best_return=511.3
    ),
}


@final
class SlotMachine(AbstractSimulator):
    """B slot machines with the same numbers on their reels.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        layout: seed of the numbers on the reels, which stay the same in all episodes.
        seed: of where the reels start.

    Raises:
        ValueError: an unknown preset.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | SlotMachineConfig = "paper",
        layout: int = 0,
        seed: int = 0,
    ) -> None:
        settings = _preset(preset)
        self.settings = settings
        self.numbers = reel_numbers(layout)
        self._pays = payments(self.numbers, settings.least)
        fractions = spins()
        self._gap = FACE if settings.whole_faces else TENTH
        self._turns = turns(settings.whole_faces)
        self._turned = self._turns[fractions.T - 1]
        self.action_set = ActionSet(
            np.arange(len(fractions), dtype=np.int64),
            names=tuple(" ".join(f"0.{tenth}" for tenth in row) for row in fractions.tolist()),
            features=(fractions / 10).astype(np.float32),
            feature_names=tuple(f"turn_{reel}" for reel in range(REELS)),
        )
        kind = settings.shows.removesuffix("s")
        self.observation_names = tuple(f"{kind}_{reel}" for reel in range(REELS))
        self.horizon = settings.horizon
        self.random_return = settings.random_return if layout == 0 else float("nan")
        self.best_return = settings.best_return if layout == 0 else float("nan")
        self._plans: dict[int, Int32[np.ndarray, "T P P P P"]] = {}
        self.ticks = np.zeros((REELS, n_worlds), np.int64)
        # Ticks beyond the whole ones: a face at rest shows its middle.
        self.part = np.full((REELS, n_worlds), FACE / 2)
        self.clock = np.zeros(n_worlds, np.int64)
        high = NUMBERS - 1.0 if settings.shows == "numbers" else 1.0
        self._open(n_worlds, gym.spaces.Box(0.0, high, (REELS,), np.float32), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B 4"]:
        drawn = self.draws.uniform(REELS, worlds)
        if self.settings.whole_faces:
            self.ticks[:, worlds] = (drawn * FACES).astype(np.int64) * FACE
        else:
            self.part[:, worlds], whole = np.modf(drawn * TICKS)
            self.ticks[:, worlds] = whole.astype(np.int64)
        self.clock[worlds] = 0
        return self._observe()

    def advance(
        self, actions: Int64[np.ndarray, " B"]
    ) -> tuple[
        Float32[np.ndarray, "B 4"],
        Float64[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
    ]:
        self.clock += 1
        self.ticks += self._turned.take(actions, axis=1)
        self.ticks -= TICKS * (self.ticks >= TICKS)
        never = np.zeros(self.num_envs, bool)
        rewards = self._pays[tuple(self._faces())]
        return self._observe(), rewards, never, self.clock >= self.horizon

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B 4"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 4"]:
        """How far each reel really turns, in full turns; the same wherever it stands."""
        del observations
        return self._turned[:, actions].T / TICKS

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The optimal spin, by dynamic programming over the decisions that are left.

        From where it starts a reel can reach only 6 places (or 10, at any angle), the notches, so
        a table over the notches of all four reels holds every future. It knows hidden angles.
        """
        notch, offset = np.divmod(self.ticks, self._gap)
        keys = np.ravel_multi_index(tuple(offset), (self._gap,) * REELS)
        left = np.maximum(self.horizon - self.clock, 1)
        chosen = np.zeros(self.num_envs, np.int64)
        for key in np.unique(keys):
            group = np.flatnonzero(keys == key)
            plan = self._plan(int(key))
            chosen[group] = self._best(plan, notch[:, group], left[group])
        return chosen

    def _best(
        self,
        plan: Int32[np.ndarray, "T P P P P"],
        notch: Int64[np.ndarray, "4 N"],
        left: Int64[np.ndarray, " N"],
    ) -> Int64[np.ndarray, " N"]:
        steps, digits = np.unique(self._turns // self._gap, return_index=True)
        ends = (notch[:, :, None] + steps) % plan.shape[1]
        first, second, third, fourth = ends
        worth = plan[
            (left - 1)[:, None, None, None, None],
            first[:, :, None, None, None],
            second[:, None, :, None, None],
            third[:, None, None, :, None],
            fourth[:, None, None, None, :],
        ]
        best = np.unravel_index(worth.reshape(len(left), -1).argmax(axis=1), worth.shape[1:])
        return digits[np.stack(best, axis=1)] @ FRACTIONS ** np.arange(REELS)[::-1]

    def _plan(self, key: int) -> Int32[np.ndarray, "T P P P P"]:
        """Row t: what arriving at four notches is worth if t more decisions follow.

        `key` says how many ticks after the first one of a notch each reel rests.
        """
        if key not in self._plans:
            notches = np.arange(TICKS // self._gap)
            offsets = np.unravel_index(key, (self._gap,) * REELS)
            faces = [(notches * self._gap + int(offset)) // FACE for offset in offsets]
            pays = self._pays[np.ix_(*faces)].astype(np.int32)
            steps = np.unique(self._turns // self._gap)
            reach = (notches[:, None] + steps) % len(notches)
            self._plans[key] = plan_ahead(pays, reach, self.horizon)
        return self._plans[key]

    def render(self) -> tuple[UInt8[np.ndarray, "220 280 3"], ...]:
        """A picture of every world: three faces of each reel, the front one framed."""
        pays = self._pays[tuple(self._faces())]
        places = (self.ticks + self.part) / FACE
        captions = [
            f"pays {pay:.0f}    decision {clock} of {self.horizon}"
            for pay, clock in zip(pays, self.clock, strict=True)
        ]
        return tuple(
            _picture(self.numbers, place, caption)
            for place, caption in zip(places.T, captions, strict=True)
        )

    def _faces(self) -> Int64[np.ndarray, "4 B"]:
        return self.ticks // FACE

    def _observe(self) -> Float32[np.ndarray, "B 4"]:
        if self.settings.shows == "angles":
            return ((self.ticks + self.part) / TICKS).T.astype(np.float32, order="C")
        shown = self.numbers[np.arange(REELS)[:, None], self._faces()]
        return shown.T.astype(np.float32, order="C")


def reel_numbers(layout: int) -> Int64[np.ndarray, "4 6"]:
    """The numbers on the reels, none twice on one."""
    generator = np.random.default_rng(layout)
    return np.stack([generator.permutation(NUMBERS)[:FACES] for _ in range(REELS)])


def payments(numbers: Int64[np.ndarray, "4 6"], least: int) -> Float64[np.ndarray, "6 6 6 6"]:
    """What four faces pay: the sum of v_i over reels i whose number at least `least` reels show."""
    shown = np.stack(np.meshgrid(*numbers, indexing="ij"))
    counts = (shown[:, None] == shown).sum(axis=1)
    return (shown * (counts >= least)).sum(axis=0).astype(np.float64)


def spins() -> Int64[np.ndarray, "A 4"]:
    """Tenths of a turn of each reel in each action; the first reel is the most significant."""
    return np.stack(np.unravel_index(np.arange(FRACTIONS**REELS), (FRACTIONS,) * REELS), axis=1) + 1


def turns(whole_faces: bool) -> Int64[np.ndarray, " 8"]:
    """Ticks that a reel turns by when asked for 1 to 8 tenths."""
    asked = np.arange(1, FRACTIONS + 1) * TENTH
    return (asked + FACE // 2) // FACE * FACE if whole_faces else asked


def plan_ahead(
    pays: Int32[np.ndarray, "P P P P"], reach: Int64[np.ndarray, "P M"], horizon: int
) -> Int32[np.ndarray, "T P P P P"]:
    """Row t: what arriving somewhere pays at once and, spun well, in t more decisions.

    `reach` names the notches that one spin may lead a reel to from each notch. Reels move apart
    from each other, so the best of what they can reach is a maximum along one axis after another.
    """
    worth = np.zeros((horizon, *pays.shape), np.int32)
    worth[0] = pays
    for more in range(1, horizon):
        ahead = worth[more - 1]
        for axis in range(REELS):
            ahead = ahead.take(reach, axis=axis).max(axis=axis + 1)
        worth[more] = pays + ahead
    return worth


def _picture(
    numbers: Int64[np.ndarray, "4 6"], places: Float64[np.ndarray, " 4"], caption: str
) -> UInt8[np.ndarray, "220 280 3"]:
    """Reels side by side; `places` says in faces where each stands."""
    drums = Image.new("RGB", (REELS * SPAN, 3 * SPAN), "white")
    pen, font = ImageDraw.Draw(drums), ImageFont.load_default(SPAN // 2)
    for reel, place in enumerate(places):
        front, past = int(place), place % 1.0
        for away in range(-2, 3):
            number = str(numbers[reel, (front + away) % FACES])
            middle = ((reel + 0.5) * SPAN, (1.0 - away + past) * SPAN)
            pen.text(middle, number, "gray" if away else "black", font, anchor="mm")
        pen.line([(reel * SPAN, 0), (reel * SPAN, 3 * SPAN)], "silver", 2)
    pen.rectangle([(0, SPAN), (REELS * SPAN - 1, 2 * SPAN)], outline="red", width=3)
    image = Image.new("RGB", (REELS * SPAN + 40, 3 * SPAN + 40), "gainsboro")
    image.paste(drums, (20, 10))
    pen = ImageDraw.Draw(image)
    pen.text((20, 3 * SPAN + 15), caption, "black", ImageFont.load_default(16))
    return np.array(image)


def _preset(preset: str | SlotMachineConfig) -> SlotMachineConfig:
    if isinstance(preset, SlotMachineConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown slot machine preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
