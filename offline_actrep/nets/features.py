"""What networks see of an observation: standardised columns, and Fourier features of some.

A smooth network leaks value through a thin wall; sines and cosines of a position let it be sharp.
The same features serve every method that is compared.
"""

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from offline_actrep.core.settings import STRICT


@dataclass(frozen=True, config=STRICT)
class FeatureConfig:
    """What to make of the observation's columns."""

    fourier: tuple[int, ...] = ()
    """Columns that also enter as sin and cos of k pi x, x being the column scaled to [0, 1]."""
    harmonics: int = 6
    """k runs from 1 to this."""


@final
class ObservationFeatures(nn.Module):
    """Columns that hold only 0 and 1 are left as they are; all others are standardised.

    Made from a size it scales nothing; `of` takes the scales of a log.

    Raises:
        ValueError: a Fourier column that is not there.
    """

    shift: Tensor
    scale: Tensor
    low: Tensor
    span: Tensor
    columns: Tensor
    waves: Tensor

    def __init__(self, size: int, config: FeatureConfig) -> None:
        super().__init__()
        missing = [column for column in config.fourier if not 0 <= column < size]
        if missing:
            raise ValueError(
                f"Fourier features are asked of column {missing[0]}, "
                f"but the observation has columns 0..{size - 1}"
            )
        chosen = len(config.fourier)
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("low", torch.zeros(chosen))
        self.register_buffer("span", torch.ones(chosen))
        self.register_buffer("columns", torch.tensor(config.fourier, dtype=torch.int64))
        self.register_buffer("waves", torch.pi * torch.arange(1.0, config.harmonics + 1))
        self.config = config
        self.size = size + 2 * chosen * config.harmonics

    @staticmethod
    def of(
        observations: Float32[np.ndarray, "N S"], config: FeatureConfig
    ) -> "ObservationFeatures":
        """With the scales of these observations."""
        features = ObservationFeatures(observations.shape[1], config)
        binary = is_binary(observations)
        std = observations.std(axis=0, dtype=np.float64)
        mean = observations.mean(axis=0, dtype=np.float64)
        chosen = observations[:, list(config.fourier)]
        low, high = chosen.min(axis=0), chosen.max(axis=0)
        fitted = {
            features.shift: np.where(binary, 0.0, mean),
            features.scale: np.where(binary | (std < 1e-6), 1.0, std),
            features.low: low,
            features.span: np.maximum(high - low, 1e-6),
        }
        for buffer, values in fitted.items():
            buffer.copy_(torch.from_numpy(values))
        return features

    def forward(self, observations: Float[Tensor, "B S"]) -> Float[Tensor, "B F"]:
        """Features of each observation.

        Raises:
            ValueError: observations with other columns than the features were made for.
        """
        if observations.shape[1] != len(self.shift):
            raise ValueError(
                f"observations need the {len(self.shift)} columns that the features were made for, "
                f"got {observations.shape[1]}"
            )
        standard = (observations - self.shift) / self.scale
        if not len(self.columns):
            return standard
        unit = (observations[:, self.columns] - self.low) / self.span
        angles = (unit[:, :, None] * self.waves).flatten(start_dim=1)
        return torch.cat([standard, angles.sin(), angles.cos()], dim=1)

    def numpy(self, observations: Float32[np.ndarray, "B S"]) -> Float32[np.ndarray, "B F"]:
        """The same at the border."""
        with torch.no_grad():
            return self(torch.from_numpy(np.ascontiguousarray(observations))).numpy()


def is_binary(columns: Float32[np.ndarray, "N S"]) -> np.ndarray:
    """Which columns hold only 0 and 1."""
    return np.atleast_1d(np.isin(columns, (0.0, 1.0)).all(axis=0))


def fourier_columns(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Positions of named columns.

    Raises:
        ValueError: a name that no column has; the message lists those there are.
    """
    for name in wanted:
        if name not in names:
            raise ValueError(f"no observation column is called {name!r}; there are {list(names)}")
    return tuple(names.index(name) for name in wanted)
