"""Random numbers for a batch of worlds: one stream a world, all drawn at once.

A stream is SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"):
a counter with a large odd stride, mixed. World b starts at a key that depends on the seed and b
alone and counts only its own draws, so it lives the same life in a batch of 1 and of 1,024,
whatever the other worlds do.
"""

from typing import final

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import ndtri

STRIDE = np.uint64(0x9E3779B97F4A7C15)
_MIX_ONE = np.uint64(0xBF58476D1CE4E5B9)
_MIX_TWO = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = (np.uint64(k) for k in (11, 27, 30, 31))
_UNIT = 2.0**-53


@final
class Draws:
    """B independent streams.

    Args:
        seed: an integer, or a `SeedSequence`.
        n_worlds: B.
        alike: all streams are the first one: worlds that act alike then live one life.
    """

    def __init__(
        self, seed: int | np.random.SeedSequence, n_worlds: int, *, alike: bool = False
    ) -> None:
        source = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        self.counters = source.generate_state(n_worlds, np.uint64)
        if alike:
            self.counters[:] = self.counters[0]

    def uniform(
        self, lanes: int, worlds: Bool[np.ndarray, " B"] | None = None
    ) -> Float64[np.ndarray, "lanes N"]:
        """Uniform in [0, 1): `lanes` numbers for each of the worlds named (all if None)."""
        chosen = self.counters if worlds is None else self.counters[worlds]
        steps = np.arange(1, lanes + 1, dtype=np.uint64)[:, None] * STRIDE
        bits = chosen + steps
        spare = np.empty_like(bits)
        np.right_shift(bits, _S30, out=spare)
        np.bitwise_xor(bits, spare, out=bits)
        np.multiply(bits, _MIX_ONE, out=bits)
        np.right_shift(bits, _S27, out=spare)
        np.bitwise_xor(bits, spare, out=bits)
        np.multiply(bits, _MIX_TWO, out=bits)
        np.right_shift(bits, _S31, out=spare)
        np.bitwise_xor(bits, spare, out=bits)
        np.right_shift(bits, _S11, out=bits)
        if lanes and worlds is None:
            self.counters += steps[-1]
        elif lanes:
            self.counters[worlds] += steps[-1]
        return bits * _UNIT

    def integers(
        self, lanes: int, high: int, worlds: Bool[np.ndarray, " B"] | None = None
    ) -> Int64[np.ndarray, "lanes N"]:
        """Uniform in 0..high-1 (for high far below 2^53)."""
        return (self.uniform(lanes, worlds) * high).astype(np.int64)

    def normal(
        self, lanes: int, worlds: Bool[np.ndarray, " B"] | None = None
    ) -> Float64[np.ndarray, "lanes N"]:
        """Standard normal, by the inverse of its distribution; one uniform a number."""
        return ndtri(self.uniform(lanes, worlds) + _UNIT / 2)
