"""Task dialogue: choose what to say, in dialogue acts, to someone who wants something.

A user has a goal in up to three of seven domains (restaurants, hotels, trains, ...): constraints,
questions, bookings. It opens; every system turn is one of 1,500 combinations of acts and slots, to
which a decoder adds values from the tables; the user hears it and replies by its agenda. After
ConvLab's MultiWOZ environment at the level of dialogue acts (Lee et al. 2019), without language:
its user and its state are followed rule by rule. The `paper` preset has the number of actions of Gu
et al. (2022), appendix A.4; `convlab` has ConvLab's own.

The town, its tables, wishes and turns of speech are made up from a seed; `data` names a folder that
holds MultiWOZ's own.

Observation `[392]` float32 of 0 and 1: row counts, belief, requests, the user's last act.
Action: index into the vocabulary; its features are its pairs of act and slot.
Reward: -1 a turn; instead of it 80 or -40 with the end, by success as the user or the evaluator
sees it.
Ends: terminated when the user leaves content, gives up, or leaves after 20 turns without having
heard the last one. As in ConvLab that turn pays the final reward, and none is to come after it: an
end, never a cut. How many turns are left is not observed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.dialogue.conversation import Conversation
from offline_actrep.simulators.dialogue.corpus import Corpus, invented_corpus, read_corpus
from offline_actrep.simulators.dialogue.effects import effects
from offline_actrep.simulators.dialogue.render import picture
from offline_actrep.simulators.dialogue.tracker import STATE_NAMES, STATE_SIZE
from offline_actrep.simulators.dialogue.user import MOST_TURNS
from offline_actrep.simulators.dialogue.vocabulary import Skeleton, Vocabulary

HORIZON = MOST_TURNS // 2
"""System turns of a dialogue at most."""
SUCCESS_REWARD = 2.0 * MOST_TURNS
FAILURE_REWARD = -1.0 * MOST_TURNS
TURN_REWARD = -1.0
SEEDS = 2**53
"""Different dialogues there can be of one town: what one uniform draw tells apart."""

SUCCESS: dict[str, Callable[[Conversation], bool]] = {
    "user": lambda talk: talk.user.content,
    "evaluator": lambda talk: talk.evaluator.success(),
}
"""Whose judgement is paid."""


@dataclass(frozen=True)
class DialogueConfig:
    """Everything that makes one dialogue world differ from another."""

    actions: int = 1500
    """Size of the vocabulary, at least 140."""
    success: str = "evaluator"
    """Whose judgement is paid, `user` or `evaluator`; `info` tells both."""
    town_seed: int = 0
    """Of the tables, wishes and turns of speech that are made up."""
    random_return: float = float("nan")
    """Measured mean return of uniform actions."""
    best_return: float = float("nan")
    """Measured mean return of the wizard on the vocabulary."""


PRESETS: dict[str, DialogueConfig] = {
    "paper": DialogueConfig(random_return=-43.0, best_return=76.5),
    "convlab": DialogueConfig(actions=300, random_return=-49.2, best_return=75.9),
}


@final
class Dialogue(AbstractSimulator):
    """B dialogues.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        success: replaces the preset's judge.
        data: a folder with MultiWOZ's tables, goal model and act counts (see `corpus`); the town is
            made up if None.
        seed: of the generators that draw goals and what users leave to chance.

    Raises:
        ValueError: an unknown preset or judge, a vocabulary of a size that cannot be, or a folder
            that lacks a file.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | DialogueConfig = "paper",
        success: str | None = None,
        data: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        found = _preset(preset)
        settings = found if success is None else replace(found, success=success)
        if settings.success not in SUCCESS:
            raise ValueError(
                f"success is judged by one of {', '.join(SUCCESS)}, got {settings.success!r}"
            )
        self.settings = settings
        self.corpus = _corpus(settings, data)
        self.vocabulary = Vocabulary(self.corpus.combinations, settings.actions)
        self.action_set = ActionSet(
            np.arange(settings.actions, dtype=np.int64),
            names=tuple(map(_name, self.vocabulary.skeletons)),
            features=self.vocabulary.bits,
            feature_names=tuple(f"{act} {slot}" for act, slot in self.vocabulary.pairs),
        )
        self.horizon = HORIZON
        measured = data is None and settings == found
        self.random_return = settings.random_return if measured else float("nan")
        self.best_return = settings.best_return if measured else float("nan")
        self.observation_names = STATE_NAMES
        self.talks: dict[int, Conversation] = {}
        self.clock = np.zeros(n_worlds, np.int64)
        self._succeeded = {judge: np.zeros(n_worlds, bool) for judge in SUCCESS}
        self._open(n_worlds, gym.spaces.Box(0.0, 1.0, (STATE_SIZE,), np.float32), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B 392"]:
        seeds = self.draws.integers(1, SEEDS, worlds)[0]
        for world, seed in zip(np.flatnonzero(worlds).tolist(), seeds.tolist(), strict=True):
            self.talks[world] = Conversation(self.corpus, seed)
        self.clock[worlds] = 0
        for succeeded in self._succeeded.values():
            succeeded[worlds] = False
        return self._observe()

    def advance(
        self, actions: Int64[np.ndarray, " B"]
    ) -> tuple[
        Float32[np.ndarray, "B 392"],
        Float64[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
    ]:
        rewards = np.full(self.num_envs, TURN_REWARD)
        over = np.zeros(self.num_envs, bool)
        for world, action in enumerate(actions.tolist()):
            talk = self.talks[world]
            if talk.over:
                continue
            talk.take_turn(self.vocabulary.skeletons[action])
            if talk.over:
                over[world] = True
                rewards[world] = self._judge(world)
        self.clock += 1
        return self._observe(), rewards, over, np.zeros(self.num_envs, bool)

    def _judge(self, world: int) -> float:
        for judge, succeeded in self._succeeded.items():
            succeeded[world] = SUCCESS[judge](self.talks[world])
        paid = self._succeeded[self.settings.success][world]
        return SUCCESS_REWARD if paid else FAILURE_REWARD

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B 392"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B D"]:
        """What the user can hear of each action: the columns are `effects.WORDS`."""
        return effects([self.vocabulary.skeletons[a] for a in actions.tolist()], observations)

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The action nearest to what the wizard would say, which knows the tracked belief."""
        nearest = self.vocabulary.nearest
        return np.array([nearest(talk.wizard_act()) for talk in self.talks.values()], np.int64)

    def info(self) -> dict[str, np.ndarray]:
        """Whether a dialogue that has just ended succeeded, as each judge sees it."""
        return {f"{judge}_success": won.copy() for judge, won in self._succeeded.items()}

    def render(self) -> tuple[UInt8[np.ndarray, "300 400 3"], ...]:
        """The last turns of every dialogue as text."""
        return tuple(map(picture, self.talks.values()))

    def _observe(self) -> Float32[np.ndarray, "B 392"]:
        bits = b"".join([talk.tracker.bits for talk in self.talks.values()])
        return np.frombuffer(bits, np.uint8).reshape(-1, STATE_SIZE).astype(np.float32)


def _name(action: Skeleton) -> str:
    """`Hotel-Inform[Area Name] general-reqmore`."""
    return " ".join(
        act if slots == ("none",) else f"{act}[{' '.join(slots)}]" for act, slots in action
    )


def _corpus(settings: DialogueConfig, data: str | Path | None) -> Corpus:
    if data is None:
        return invented_corpus(settings.town_seed)
    return read_corpus(Path(data).expanduser().resolve())


def _preset(preset: str | DialogueConfig) -> DialogueConfig:
    if isinstance(preset, DialogueConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown dialogue preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
