"""The online learners by name, and what can be set. Needs no stable-baselines3."""

from typing import Any

from pydantic.dataclasses import dataclass

from offline_actrep.core.settings import STRICT, changed

POINTS = ("ppo", "a2c", "vpg", "sac", "td3")
"""Learners of points."""
IDS = ("discrete_ppo", "discrete_a2c")
"""Learners of ids."""
JUDGE_POINTS = ("sac", "td3")
"""Learners whose critic judges points in a state; that of all others judges states."""


@dataclass(frozen=True, config=STRICT)
class OnlineConfig:
    """What can be set; a learner ignores what it does not have. Names are stable-baselines3's.

    A step of all worlds is one decision in each of the B.
    """

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers (ReLU) of every actor and critic."""
    learning_rate: float = 3e-4
    gamma: float = 0.99
    """Discount a decision."""
    reward_scale: float | None = None
    """What rewards are multiplied by. None: 1 / the larger of the world's random and best known
    return in magnitude, 1 where it knows neither."""
    batch_size: int = 256
    """PPO, SAC, TD3: rows of a gradient step."""

    n_steps: int | None = 128
    """PPO, A2C, VPG: steps of all worlds between two updates; None for the world's horizon."""
    n_epochs: int = 10
    """PPO: passes over the rows of an update."""
    gae_lambda: float = 0.95
    """PPO, A2C, VPG: weight of far returns; 1 for returns to the end of the rollout."""
    clip_range: float = 0.2
    """PPO: how far the ratio of probabilities may leave 1."""
    ent_coef: float = 0.0
    """PPO, A2C, VPG: weight of the entropy."""
    vf_coef: float = 0.5
    """PPO, A2C, VPG: weight of the value's loss."""
    max_grad_norm: float = 0.5
    """PPO, A2C, VPG: gradients are cut to this length."""
    normalize_advantage: bool = True
    """PPO, A2C, VPG: advantages of a batch to mean 0 and deviation 1."""
    log_std_init: float = 0.0
    """PPO, A2C, VPG on points: log of the first deviation, in the cube."""

    buffer_size: int = 1_000_000
    """SAC, TD3: rows that are remembered."""
    learning_starts: int = 5_000
    """SAC, TD3: uniform decisions before the first gradient step."""
    train_freq: int = 1
    """SAC, TD3: steps of all worlds between two updates."""
    gradient_steps: int = 8
    """SAC, TD3: gradient steps of an update."""
    tau: float = 0.005
    """SAC, TD3: share of the new weights that a target takes a step."""
    action_noise: float = 0.2
    """TD3: deviation of the noise on points while acting, in the cube."""
    target_policy_noise: float = 0.2
    """TD3: deviation of the noise on target points, in the cube; clipped at 2.5 times that."""
    policy_delay: int = 2
    """TD3: gradient steps of the critics for one of the actor."""
    initial_temperature: float = 0.1
    """SAC: of the entropy term, before it is learnt."""


DEFAULTS: dict[str, OnlineConfig] = {
    "ppo": OnlineConfig(n_epochs=5, batch_size=512, ent_coef=0.01),
    "a2c": OnlineConfig(learning_rate=7e-4, n_steps=16, gae_lambda=1.0),
    "vpg": OnlineConfig(learning_rate=1e-3, n_steps=None, gae_lambda=1.0),
    "sac": OnlineConfig(),
    "td3": OnlineConfig(),
    "discrete_ppo": OnlineConfig(),
    "discrete_a2c": OnlineConfig(learning_rate=7e-4, n_steps=16, gae_lambda=1.0),
}
"""Each learner's own defaults."""


def settings(name: str, changes: dict[str, Any]) -> OnlineConfig:
    """The learner's defaults with some fields changed.

    Raises:
        ValueError: an unknown learner or field; the message names the near ones.
    """
    return changed("online learner", name, DEFAULTS, changes)
