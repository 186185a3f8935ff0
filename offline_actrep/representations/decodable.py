"""An encoder and its frame in the form that the search of the nearest action takes."""

from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from offline_actrep.decoding.decoder import Head
from offline_actrep.decoding.points import Codes, Heads
from offline_actrep.nets.bilinear import BilinearEncoder
from offline_actrep.nets.features import ObservationFeatures
from offline_actrep.nets.mlp import ActionStateEncoder
from offline_actrep.representations.frame import Frame

Encoder = ActionStateEncoder | BilinearEncoder


@final
class Watch:
    """Sees whether a weight has been written to since."""

    def __init__(self, *parts: nn.Module) -> None:
        self.weights = [w for part in parts for w in (*part.parameters(), *part.buffers())]
        self.then = self._now()

    def _now(self) -> list[int]:
        return [number for w in self.weights for number in (w.data_ptr(), w._version)]

    def saw_nothing(self) -> bool:
        """Whether all is as it was when the watch began."""
        return self._now() == self.then


@torch.no_grad()
def codes_of(encoder: Encoder) -> Codes:
    """The actions' share: the first layer's table, or the vectors of a bilinear encoder."""
    table = np.ascontiguousarray(encoder.per_action().numpy())
    if isinstance(encoder, BilinearEncoder):
        return Codes.shallow(table, bent=False)
    hidden = _linears(encoder.rest)[:-1]
    if not hidden:
        return Codes.shallow(table, bent=True)
    layers = torch.stack([layer.weight for layer in hidden]).numpy()
    biases = torch.stack([layer.bias for layer in hidden]).numpy()
    return Codes(table, bent=True, layers=layers, biases=biases)


def head_of(encoder: Encoder, features: ObservationFeatures, frame: Frame) -> Head:
    """The states' share; the frame's affine map is taken into the last layer."""
    if isinstance(encoder, BilinearEncoder):
        return _bilinear_head(encoder, features, frame)
    return _mlp_head(encoder, features, frame)


@torch.no_grad()
def _bilinear_head(encoder: BilinearEncoder, features: ObservationFeatures, frame: Frame) -> Head:
    below, last = encoder.from_state[:-1], _linears(encoder.from_state)[-1]
    dim, rank = encoder.dim, encoder.actions.embedding_dim
    half = frame.half_range[:, None, None]
    scaled = last.weight.unflatten(0, (dim, rank + 1)) / half
    shifts = last.bias.unflatten(0, (dim, rank + 1)) / half[:, 0]
    shifts[:, -1] -= frame.centre / frame.half_range
    rows = torch.cat([scaled[:, :-1].flatten(0, 1), scaled[:, -1]])  # B(s), then c(s)
    biases = torch.cat([shifts[:, :-1].flatten(), shifts[:, -1]])
    unused = np.zeros((1, rank), np.float32)

    @torch.no_grad()
    def head(observations: Float[Tensor, "B S"]) -> Heads:
        both = nn.functional.linear(below(features(observations)), rows, biases).numpy()
        weight = np.ascontiguousarray(both[:, : dim * rank]).reshape(-1, dim, rank)
        return Heads(unused, weight, np.ascontiguousarray(both[:, dim * rank :]))

    return head


@torch.no_grad()
def _mlp_head(encoder: ActionStateEncoder, features: ObservationFeatures, frame: Frame) -> Head:
    last = _linears(encoder.rest)[-1]
    weight = (last.weight / frame.half_range[:, None]).numpy()[None]
    bias = ((last.bias - frame.centre) / frame.half_range).numpy()[None]

    @torch.no_grad()
    def head(observations: Float[Tensor, "B S"]) -> Heads:
        return Heads(encoder.from_state(features(observations)).numpy(), weight, bias)

    return head


def _linears(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]
