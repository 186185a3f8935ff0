"""What a search must know of an encoder: a row an action, a head a state.

Both encoders have the form, clamped to the cube,

    phi(a; s) = W(s) h + c(s),   h = u_a  or  relu(u_a + q(s)),  further layers relu(V h + b)

with u_a the action's share of the first layer and q, W and c the state's. A bilinear encoder
takes h = u_a and a matrix W a state; an MLP takes the rectified sum and one W for all.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

LANES = 128
"""Actions that the fused scan takes side by side."""


@dataclass(frozen=True, eq=False)
class Codes:
    """What does not depend on the state.

    Attributes:
        table: u_a, a row an action.
        bent: whether h is rectified and takes the state's shift.
        layers: V of the further hidden layers, all as wide as the first; `[0, J, J]` for none.
        biases: their b.
    """

    table: Float32[np.ndarray, "A J"]
    bent: bool
    layers: Float32[np.ndarray, "L J J"]
    biases: Float32[np.ndarray, "L J"]

    @staticmethod
    def shallow(table: Float32[np.ndarray, "A J"], bent: bool) -> "Codes":
        """Without further layers."""
        width = table.shape[1]
        return Codes(
            table, bent, np.zeros((0, width, width), np.float32), np.zeros((0, width), np.float32)
        )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def width(self) -> int:
        """J."""
        return self.table.shape[1]

    @property
    def is_shallow(self) -> bool:
        """Whether no layer stands between h and the point: what the compiled scans need."""
        return not len(self.layers)

    @cached_property
    def blocks(self) -> Float32[np.ndarray, "n J lanes"]:
        """The table, `LANES` actions side by side; the last action fills the last block."""
        missing = -len(self) % LANES
        rows = np.concatenate([self.table, np.repeat(self.table[-1:], missing, axis=0)])
        return np.ascontiguousarray(rows.reshape(-1, LANES, self.width).transpose(0, 2, 1))

    def part(self, actions: slice | Int64[np.ndarray, " n"]) -> "Codes":
        """Of some actions only."""
        return Codes(self.table[actions], self.bent, self.layers, self.biases)


@dataclass(frozen=True, eq=False)
class Heads:
    """What does not depend on the action, a row a state (or one row for all).

    Attributes:
        shift: q(s); not looked at where h is not bent.
        weight: W(s), the affine map into the cube included.
        bias: c(s), likewise.
    """

    shift: Float32[np.ndarray, "B_or_1 J"]
    weight: Float32[np.ndarray, "b E J"]
    bias: Float32[np.ndarray, "b E"]

    def rows(self, rows: slice | Int64[np.ndarray, " n"]) -> "Heads":
        """The heads of some states; what all share stays."""
        shift, weight, bias = (
            part if len(part) == 1 else part[rows] for part in (self.shift, self.weight, self.bias)
        )
        return Heads(shift, weight, bias)


def points_of(codes: Codes, heads: Heads) -> Float[Tensor, "b A E"]:
    """phi(a; s) of all actions in the cube, plainly."""
    h = torch.from_numpy(codes.table)[None]
    if codes.bent:
        h = (h + torch.from_numpy(heads.shift)[:, None]).relu_()
        for layer, bias in zip(codes.layers, codes.biases, strict=True):
            h = (h @ torch.from_numpy(layer).T).add_(torch.from_numpy(bias)).relu_()
    weight, bias = torch.from_numpy(heads.weight), torch.from_numpy(heads.bias)
    return (h @ weight.mT).add_(bias[:, None]).clamp_(-1.0, 1.0)
