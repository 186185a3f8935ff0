"""What every learner is: settings and batches in; points, or a score for every id, out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.settings import STRICT
from offline_actrep.nets.computing import CPU
from offline_actrep.offline.columns import Batch

CONTINUOUS = ("cql", "bcq", "td3_plus_bc", "plas", "iql", "td3_decoded", "candidate_bcq")
"""Learners of points."""
DECODING = ("td3_decoded", "candidate_bcq")
"""Learners of points that look at real actions while they learn; they are fed observations and ids
beside features and points, and see allowed actions if they are logged."""
MASKED = ("masked_discrete_cql", "masked_discrete_bcq", "masked_weighted_bc")
"""Learners of ids that see which actions each state allowed; the log must say it."""
DISCRETE = ("discrete_cql", "discrete_bcq", "discrete_bc", "weighted_bc", *MASKED)
"""Learners of ids."""
IMITATING = frozenset({"discrete_bc", "weighted_bc", "masked_weighted_bc"})
"""Learners that never look at a next state."""
REVISIONS: dict[str, int] = {"bcq": 2}
"""How many ways a learner has had of making a policy of the same settings, where more than one; it
goes into the keys of what is kept, so that a policy or a row of before is not taken for today's."""


def revision(name: str) -> tuple[int, ...]:
    """What goes into a learner's keys beside its settings; nothing where it never changed."""
    return (REVISIONS[name],) if name in REVISIONS else ()


@dataclass(frozen=True, config=STRICT)
class LearnerConfig:
    """What can be set; a learner ignores what it does not have. Names are d3rlpy's."""

    steps: Annotated[int, Field(ge=1)] = 6_000
    """Gradient steps."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 128)
    """Widths of the hidden layers of every actor and critic."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.97
    """Discount a decision."""
    actor_learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    critic_learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Of critics, of imitators, and of every learner of ids."""
    conservative_weight: Annotated[float, Field(ge=0)] = 0.05
    """CQL: weight of the conservative term, on the scale of the scaled rewards."""
    n_action_samples: Annotated[int, Field(ge=1)] = 4
    """CQL: sampled actions of each of three kinds a row. BCQ, candidate BCQ: candidates a row."""
    neighbours: Annotated[int, Field(ge=1)] = 1
    """Decoded TD3: how many actions nearest to the actor's point Q chooses among when it acts."""
    initial_temperature: Annotated[float, Field(gt=0)] = 0.1
    """CQL: of the entropy term, before it is learnt."""
    alpha: Annotated[float, Field(ge=0)] = 5.0
    """TD3+BC: weight of Q against imitation. Discrete CQL: weight of the conservative term."""
    tau: Annotated[float, Field(gt=0, le=1)] = 0.005
    """Learners of points: share of the new weights that a target takes a step."""
    target_noise: Annotated[float, Field(ge=0)] = 0.2
    """TD3+BC: deviation of the noise on target points, in the cube; clipped at 2.5 times that."""
    action_flexibility: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Discrete and candidate BCQ: threshold on relative probability. BCQ: reach of the
    perturbation."""
    lam: Annotated[float, Field(ge=0, le=1)] = 0.75
    """BCQ and PLAS: weight of the minimum over critics in the target."""
    beta: Annotated[float, Field(ge=0)] = 0.5
    """BCQ and PLAS: weight of the KL term. Discrete and candidate BCQ and BC, plain or weighted:
    weight of the squared log-probabilities."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """PLAS: share of the steps in which the VAE alone learns; it stands still in the others."""
    expectile: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """IQL: of Q that the value is drawn to."""
    weight_temp: Annotated[float, Field(ge=0)] = 3.0
    """IQL and weighted BC: factor on the advantage before it enters the exponential."""
    max_weight: Annotated[float, Field(gt=0)] = 100.0
    """IQL and weighted BC: what the exponential is clipped at."""
    weighting: Literal["advantage", "return"] = "advantage"
    """Weighted BC: what a row's weight rises with."""
    target_update_interval: Annotated[int, Field(ge=1)] = 1000
    """Discrete CQL and BCQ: steps between copies of the target."""


class AbstractLearner(ABC):
    """Made with its first weights; learns a batch at a time.

    Attributes:
        name: one of `CONTINUOUS` or `DISCRETE`.
        config: its settings.
        device: where its networks are; batches and arrays are brought there, results come back.
    """

    name: str
    config: LearnerConfig
    device: torch.device = CPU

    @abstractmethod
    def update(self, batch: Batch) -> Mapping[str, float]:
        """One gradient step; the losses."""

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Its networks by name."""

    @final
    def brought(self, array: np.ndarray) -> Tensor:
        """An array as a tensor where the networks are."""
        return torch.from_numpy(array).to(self.device)

    @final
    def tensors(self) -> dict[str, Tensor]:
        """A copy of all weights by name, on the CPU."""
        return {
            f"{part}.{name}": tensor.detach().to(CPU, copy=True)
            for part, module in self.modules().items()
            for name, tensor in module.state_dict().items()
        }

    @final
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes weights that `tensors` gave."""
        for part, module in self.modules().items():
            prefix = f"{part}."
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )


class AbstractPointLearner(AbstractLearner):
    """Learns where in the cube to go."""

    @abstractmethod
    def points(
        self,
        features: Float32[np.ndarray, "B F"],
        observations: Float32[np.ndarray, "B S"],
        allowed: AllowedActions | None = None,
    ) -> Float32[np.ndarray, "B E"]:
        """Where it goes; what it draws on the way is drawn from a fixed seed in each call.

        Args:
            features: what it was trained on, of the states.
            observations: the states themselves, for a learner that looks at real actions.
            allowed: what each state allows, for the same; None for all.
        """

    @abstractmethod
    def value(
        self, features: Float32[np.ndarray, "B F"], points: Float32[np.ndarray, "B E"]
    ) -> Float32[np.ndarray, " B"]:
        """Q of each point, in scaled reward."""


class AbstractIdLearner(AbstractLearner):
    """Learns a score for every id; the largest is taken."""

    @abstractmethod
    def scores(
        self, features: Float32[np.ndarray, "B F"], mask: Bool[np.ndarray, "B A"] | None = None
    ) -> Float32[np.ndarray, "B A"]:
        """Q, or the log-probability of an imitator; -inf where it would never go.

        Args:
            features: of the states.
            mask: the ids that each state allows, at least one; None for all.
        """

    @abstractmethod
    def value(
        self, features: Float32[np.ndarray, "B F"], actions: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, " B"]:
        """Q of each id, in scaled reward; NaN from an imitator, which has none."""
