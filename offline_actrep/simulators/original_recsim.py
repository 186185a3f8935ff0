"""RecSim's own interest evolution world behind our contract, to hold the recommender against.

Every world is a genuine RecSim 0.2.4 environment (`interest_evolution.create_environment`, slates
of one video, the catalogue drawn once). Observation, actions, reward and ends are those of
`Recommender(preset="recsim")`, and so is the life of a world: fed with the same seed and actions,
the two differ by rounding alone. It is no entry of `WORLDS`; make it with
`OriginalRecSim(n_worlds)`.

RecSim is no extra of this package, since it asks for TensorFlow and Dopamine, gigabytes that this
world never uses. It is imported when a world is made, and installed by

    pip install --no-deps recsim==0.2.4
    pip install absl-py gin-config six gym

Two modules that it imports, `gin.tf` and `recsim.simulator.runner_lib`, need TensorFlow; empty ones
stand in for them while RecSim is imported.

What the adapter keeps away from its callers:

- RecSim's observation is the array that the next click changes in place: it is copied.
- RecSim draws clicks and changes of interest from numpy's global generator. Before each step of a
  world that generator is set to yield what the world's own stream draws; afterwards it is put back.
- RecSim's users come from the seed of the catalogue, so that all worlds would meet the same ones:
  a session's user is drawn from the world's own stream, too.

Worlds are stepped in a Python loop, and RecSim lists its whole catalogue at each step: with 1,000
videos it makes some 2,500 steps a second, where `Recommender` makes millions.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8, UInt32

from offline_actrep.core.simulator import AbstractSimulator, Outcome
from offline_actrep.simulators.recommender import NOTHING, TOPICS, Recommender

MODULE = "recsim.environments.interest_evolution"
NEEDS_TENSORFLOW = ("gin.tf", "recsim.simulator.runner_lib")
INSTALL = "pip install --no-deps recsim==0.2.4 && pip install absl-py gin-config six gym"
LANES = 2
"""Numbers a decision: whether the video is watched, and which way the interest then moves."""
STATE_WORDS = 624
"""32-bit words of the state of numpy's global generator, the Mersenne twister MT19937."""
TEMPERING = ((-18, 0xFFFFFFFF), (15, 0xEFC60000), (7, 0x9D2C5680), (-11, 0xFFFFFFFF))
"""How MT19937 makes an output of a word, last step first: bits shifted to the left, and the mask
(Matsumoto and Nishimura 1998)."""


@final
class OriginalRecSim(AbstractSimulator):
    """B users of RecSim.

    Attributes:
        originals: the RecSim environments, one a world.
        twin: our recommender of the same catalogue, kept in the state of the originals. It never
            steps: it observes, draws pictures and knows what actions do.

    Args:
        n_worlds: B.
        videos, pool_seed: of the catalogue, instead of the `recsim` preset's.
        seed: of the users and what they do.

    Raises:
        ImportError: RecSim, or what it needs, is not installed.
        ValueError: a catalogue that `RecommenderConfig` refuses.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        videos: int | None = None,
        pool_seed: int | None = None,
        seed: int = 0,
    ) -> None:
        recsim = _recsim()
        self.twin = Recommender(
            n_worlds, preset="recsim", videos=videos, pool_seed=pool_seed, seed=seed
        )
        self.action_set = self.twin.action_set
        self.observation_names = self.twin.observation_names
        self.horizon = self.twin.horizon
        self.random_return, self.best_return = self.twin.random_return, self.twin.best_return
        options = {
            "num_candidates": self.twin.settings.videos,
            "slate_size": 1,
            "resample_documents": False,
            "seed": self.twin.settings.pool_seed,
        }
        self.originals: list[Any] = [recsim.create_environment(options) for _ in range(n_worlds)]
        self._open(n_worlds, self.twin.single_observation_space, seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        chosen = np.flatnonzero(worlds)
        states = generator_words(self.draws.uniform(TOPICS, worlds))
        for world, words in zip(chosen, states, strict=True):
            original = self.originals[world]
            original.environment.user_model._user_sampler._rng.set_state(_state(words))
            self._note(world, original.reset()["user"])
        self.twin.shown[worlds] = NOTHING
        self.twin.clock[worlds] = 0
        return self._observe()

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        minutes, over = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        states = generator_words(self.draws.uniform(LANES))
        with _global_generator_put_back():
            for world, original in enumerate(self.originals):
                np.random.set_state(_state(states[world]))
                seen, minutes[world], over[world], _ = original.step([actions[world]])
                self._note(world, seen["user"])
        self.twin.shown = self.twin.topics[actions]
        self.twin.clock += 1
        return self._observe(), minutes, over, (self.twin.clock >= self.horizon) & ~over

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B D"]:
        """As `Recommender.effects`."""
        return self.twin.effects(observations, actions)

    def expert(self) -> Int64[np.ndarray, " B"]:
        """As `Recommender.expert`."""
        return self.twin.expert()

    def render(self) -> tuple[UInt8[np.ndarray, "200 320 3"], ...]:
        """As `Recommender.render`."""
        return self.twin.render()

    def _note(self, world: int | np.integer, interests: Float64[np.ndarray, "20"]) -> None:
        """Copies the state of an original, of which the budget is nowhere observed."""
        self.twin.interests[world] = interests
        state = self.originals[world].environment.user_model._user_state
        self.twin.budget[world] = state.time_budget

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        return self.twin.interests.astype(np.float32)


def generator_words(
    uniforms: Float64[np.ndarray, "lanes N"],
) -> UInt32[np.ndarray, "N words"]:
    """The words in a Mersenne twister's state that make it yield these numbers, a row a world.

    A uniform is a multiple of 2^-53, as are those of `Draws`: numpy takes its first 27 bits from
    the top of one output and the other 26 from the top of the next.
    """
    bits = (uniforms.T * 2.0**53).astype(np.uint64)
    pairs = np.stack([bits >> 26 << 5, (bits & (2**26 - 1)) << 6], axis=-1)
    words = pairs.reshape(len(bits), 2 * bits.shape[1]).astype(np.uint32)
    for shift, mask in TEMPERING:
        outputs = words
        for _ in range(32 // abs(shift)):  # each round gets `shift` more bits right
            shifted = words << shift if shift > 0 else words >> -shift
            words = outputs ^ (shifted & mask)
    return words


def _state(
    words: UInt32[np.ndarray, " words"],
) -> tuple[str, UInt32[np.ndarray, "624"], int, int, float]:
    """As numpy's `set_state` takes it: the words given are used next, no normal is in store."""
    state = np.zeros(STATE_WORDS, np.uint32)
    first = STATE_WORDS - len(words)
    state[first:] = words
    return "MT19937", state, first, 0, 0.0


@contextmanager
def _global_generator_put_back() -> Iterator[None]:
    before = np.random.get_state(legacy=False)
    try:
        yield
    finally:
        np.random.set_state(before)


def _recsim() -> ModuleType:
    try:
        with _stand_ins():
            return importlib.import_module(MODULE)
    except ImportError as missing:
        raise ImportError(
            f"OriginalRecSim needs RecSim 0.2.4, which cannot be imported ({missing}): {INSTALL}"
        ) from missing


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Empty modules, for as long as RecSim is imported, instead of those that need TensorFlow."""
    absent = [name for name in NEEDS_TENSORFLOW if name not in sys.modules]
    sys.modules.update({name: ModuleType(name) for name in absent})
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
