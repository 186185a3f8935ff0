"""What observations are standardised by and rewards multiplied by, at flat memory."""

import numpy as np
import torch
from jaxtyping import Float32, Float64

from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks, release
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures, is_binary


def observation_features(
    observations: Float32[np.ndarray, "N S"], config: FeatureConfig
) -> ObservationFeatures:
    """`ObservationFeatures.of` to the bit, without a copy of all observations."""
    n, size = observations.shape
    if size == 1:  # a lone column is small, and numpy sums it in pairs, as no pass by blocks does
        return ObservationFeatures.of(observations, config)
    features = ObservationFeatures(size, config)
    binary, chosen = np.ones(size, bool), list(config.fourier)
    low, high = np.full(len(chosen), np.inf), np.full(len(chosen), -np.inf)
    total, squares = np.zeros(size), np.zeros(size)
    for rows in blocks(n):
        block = observations[rows]
        total = _added(total, block.astype(np.float64))
        binary &= is_binary(block)
        low = np.minimum(low, block[:, chosen].min(axis=0))
        high = np.maximum(high, block[:, chosen].max(axis=0))
        release(observations)
    mean = total / n
    for rows in blocks(n):
        squares = _added(squares, (observations[rows] - mean) ** 2)
        release(observations)
    std = np.sqrt(squares / n)
    fitted = {
        "shift": np.where(binary, 0.0, mean),
        "scale": np.where(binary | (std < 1e-6), 1.0, std),
        "low": low.astype(np.float32),
        "span": np.maximum(high.astype(np.float32) - low.astype(np.float32), np.float32(1e-6)),
    }
    tensors = {name: torch.from_numpy(values) for name, values in fitted.items()}
    features.load_state_dict(features.state_dict() | tensors)
    return features


def _added(
    total: Float64[np.ndarray, " S"], block: Float64[np.ndarray, "B S"]
) -> Float64[np.ndarray, " S"]:
    """The total and every row below it, in numpy's own order of adding rows."""
    block[0] += total
    return block.sum(axis=0)


def reward_scale(log: Log, gamma: float) -> float:
    """What to multiply rewards by so that no reward, and no episode's discounted return from its
    first row, is larger than 1 in magnitude.

    Conservatism and imitation weights then mean about the same on every log. The return from a
    later row on may be larger, as where several rewards stand at the end of a long episode.
    """
    returns = log.discounted_returns(gamma)
    extremes = returns.max(), -returns.min(), log.rewards.max(), -log.rewards.min()
    release(log.rewards)
    largest = max(float(extreme) for extreme in extremes)
    return 1.0 / largest if largest > 0 else 1.0
