"""PPO, A2C, VPG, SAC and TD3 of stable-baselines3, on points of any representation or on ids.

The only file that imports stable-baselines3 (the extra `online`). It sees a batch of worlds as its
own vector environment: features come out, a point in [-1, 1]^E goes in and is decoded to the
nearest action that is allowed. VPG is the policy gradient with a learnt baseline and returns to
the horizon: A2C with one Adam step on whole rollouts. What is handed back holds the actor alone,
in plain torch.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, final

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import nn

from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.core.progress import OnStep
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.seeding import seeded
from offline_actrep.online.learners import IDS, JUDGE_POINTS, OnlineConfig, settings
from offline_actrep.online.policies import (
    Critic,
    NetworkActor,
    NetworkPolicy,
    OnlinePolicy,
    Squash,
)

try:
    from stable_baselines3 import A2C, PPO, SAC, TD3
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as missing:
    raise ImportError(
        'stable-baselines3 is not installed: pip install "offline_actrep[online]"'
    ) from missing

OnCheckpoint = Callable[[int, OnlinePolicy], None]
"""Called with (decisions made, a copy of the policy as it stands)."""
OnCritic = Callable[[Critic], None]
"""Called with a copy of the critic of states."""
TELLS = 100
"""How often a training says where it stands."""


@final
class PolicyWorlds(VecEnv):
    """B worlds as stable-baselines3 wants them.

    A world that ends begins anew in the same step; its last observation is in the infos under
    `terminal_observation`, and `TimeLimit.truncated` says whether it was cut off. The infos of an
    end also hold the episode's return and length, in the world's own unit.

    Args:
        world: is stepped, and belongs to this object while it is used.
        representation: decodes points; None where actions are dense ids.
        features: what is shown of an observation.
        reward_scale: what rewards are multiplied by.
        seed: of the worlds' noise.
    """

    def __init__(
        self,
        world: AbstractSimulator,
        representation: AbstractRepresentation | None,
        features: ObservationFeatures,
        *,
        reward_scale: float,
        seed: int,
    ) -> None:
        self.world, self.representation, self.features = world, representation, features
        self.reward_scale, self.noise_seed = reward_scale, seed
        self.observations = np.zeros((world.num_envs, len(features.shift)), np.float32)
        self.wanted = np.zeros(0, np.float32)
        self.returns = np.zeros(world.num_envs)
        self.lengths = np.zeros(world.num_envs, np.int64)
        super().__init__(
            world.num_envs,
            gym.spaces.Box(-np.inf, np.inf, (features.size,), np.float32),
            gym.spaces.Discrete(len(world.action_set))
            if representation is None
            else gym.spaces.Box(-1.0, 1.0, (representation.dim,), np.float32),
        )

    def reset(self) -> Float32[np.ndarray, "B F"]:
        """Begins every world and its noise anew."""
        self.world.reseed(np.random.SeedSequence(self.noise_seed))
        self.observations = self.world.restart(np.ones(self.num_envs, bool))
        self.returns[:] = 0.0
        self.lengths[:] = 0
        return self.features.numpy(self.observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the points `[B, E]` or ids `[B]` for `step_wait`."""
        self.wanted = actions

    def step_wait(
        self,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One decision in every world: features `[B, F]`, scaled rewards, ends, infos."""
        following, rewards, terminated, truncated = self.world.advance(self._actions())
        ended = terminated | truncated
        self.returns += rewards
        self.lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        seen = self.features.numpy(following)
        if ended.any():
            for b in np.flatnonzero(ended):
                infos[b] = {
                    "terminal_observation": seen[b],
                    "TimeLimit.truncated": bool(truncated[b]),
                    "episode": {"r": self.returns[b], "l": self.lengths[b]},
                }
            self.returns[ended] = 0.0
            self.lengths[ended] = 0
            following = self.world.restart(ended)
            seen = self.features.numpy(following)
        self.observations = following
        return seen, (rewards * self.reward_scale).astype(np.float32), ended, infos

    def _actions(self) -> Int64[np.ndarray, " B"]:
        if self.representation is None:
            return self.wanted.astype(np.int64)
        points = torch.from_numpy(self.wanted.astype(np.float32))
        observations = torch.from_numpy(self.observations)
        with torch.no_grad():
            chosen = self.representation.decode(observations, points, self.world.allowed())
        return chosen.numpy()

    def close(self) -> None:
        """Nothing: the world is its owner's."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batch's attribute, once for each of the worlds named."""
        return [getattr(self.world, attr_name)] * self._count(indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: the worlds are one object."""
        raise AttributeError(f"{attr_name} cannot be set in single worlds of a batch: {indices}")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refused: the worlds are one object."""
        raise AttributeError(f"{method_name} cannot be called in single worlds of a batch")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never."""
        return [False] * self._count(indices)

    def _count(self, indices: int | Iterable[int] | None) -> int:
        if indices is None:
            return self.num_envs
        return 1 if isinstance(indices, int) else len(list(indices))


def world_features(world: AbstractSimulator, config: FeatureConfig) -> ObservationFeatures:
    """Features scaled by the bounds of the world's observations: these become about [-1.2, 1.2].

    Raises:
        ValueError: a column has no finite bounds.
    """
    space = world.single_observation_space
    assert isinstance(space, gym.spaces.Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    endless = np.flatnonzero(~np.isfinite(high - low))
    if len(endless):
        raise ValueError(
            f"observation {world.observation_names[endless[0]]!r} has no finite bounds to scale it "
            "by: collect a log and hand in features=ObservationFeatures.of(log.observations, ...)"
        )
    return ObservationFeatures.of(np.stack([low, (low + high) / 2, high]).astype("f4"), config)


def reward_scale(world: AbstractSimulator, config: OnlineConfig) -> float:
    """The config's own, or what makes the largest known return 1 in magnitude."""
    if config.reward_scale is not None:
        return config.reward_scale
    known = [abs(r) for r in (world.random_return, world.best_return) if np.isfinite(r)]
    return 1.0 / max(known) if any(known) else 1.0


def train_online(
    world: AbstractSimulator,
    name: str,
    representation: AbstractRepresentation | None,
    *,
    steps: int,
    seed: int,
    features: FeatureConfig | ObservationFeatures = FeatureConfig(),  # noqa: B008
    checkpoint_every: int = 0,
    on_step: OnStep | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    on_critic: OnCritic | None = None,
    **changes: Any,
) -> OnlinePolicy:
    """Trains the named learner in the worlds, e.g. `train_online(world, "ppo", points, ...)`.

    Args:
        world: is stepped from a fresh start; judge checkpoints in another.
        name: a learner of points, or of ids (`discrete_ppo`, `discrete_a2c`).
        representation: gives the points; None for a learner of ids.
        steps: decisions, those of all worlds counted together. PPO, A2C and VPG make whole
            rollouts and may go over by less than one.
        seed: of first weights, exploration, batches and the worlds' noise.
        features: what networks see of an observation, scaled by the world's bounds; or ready-made.
        checkpoint_every: decisions between two checkpoints; 0 for never.
        on_step: is told about a hundred times where the training stands: mean return of the last
            100 episodes, then losses.
        on_checkpoint: is handed copies of the policy, the last one when training is done.
        on_critic: is handed the critic when training is done.
        changes: fields of `OnlineConfig`.

    Returns:
        The actor's choice without noise: a `DecodedPolicy`, or a `NetworkPolicy` of ids.

    Raises:
        ValueError: an unknown learner or field, no steps, points of another world, points missing
            or not wanted, a learner of ids in a world that forbids actions, a critic asked of SAC
            or TD3, or no more steps than these only explore.
    """
    config = settings(name, changes)
    _check(world, name, representation, steps)
    if name in JUDGE_POINTS and steps <= config.learning_starts:
        raise ValueError(
            f"{name} begins to learn after {config.learning_starts:,} decisions (learning_starts), "
            f"and only {steps:,} are asked for: take more steps, or let it begin earlier"
        )
    if on_critic is not None and name in JUDGE_POINTS:
        raise ValueError(
            f"{name} has no critic of states, only one of points: take another than "
            f"{' or '.join(JUDGE_POINTS)}"
        )
    ready = isinstance(features, ObservationFeatures)
    seen = features if ready else world_features(world, features)
    worlds = PolicyWorlds(
        world, representation, seen, reward_scale=reward_scale(world, config), seed=seed
    )
    with seeded(seed):
        model = MAKERS[name](worlds, config, steps, seed)
        model.set_logger(Logger(None, []))

        def policy() -> OnlinePolicy:
            return _policy(name, model, worlds)

        def checkpoint() -> None:
            if on_checkpoint is not None and checkpoint_every:
                with seeded(seed):
                    on_checkpoint(model.num_timesteps, policy())

        watch = _Watch(model, steps, checkpoint_every, on_step, checkpoint)
        model.learn(steps, callback=watch, log_interval=steps + 1)  # no logs
        watch.tell(steps)
        checkpoint()
        if on_critic is not None:
            on_critic(_critic(model, worlds, config))
        return policy()


@final
class _Watch:
    """Called after every step of all worlds."""

    def __init__(
        self,
        model: BaseAlgorithm,
        steps: int,
        every: int,
        on_step: OnStep | None,
        checkpoint: Callable[[], None],
    ) -> None:
        self.model, self.steps, self.every = model, steps, every
        self.on_step, self.checkpoint = on_step, checkpoint
        self.told, self.kept = 0, 0

    def __call__(self, local: dict[str, Any], outer: dict[str, Any]) -> bool:
        del local, outer
        done = self.model.num_timesteps
        if done >= self.steps:
            return True
        if self.every and done // self.every > self.kept:
            self.kept = done // self.every
            self.checkpoint()
        if done * TELLS // self.steps > self.told:
            self.told = done * TELLS // self.steps
            self.tell(done)
        return True

    def tell(self, done: int) -> None:
        if self.on_step is None:
            return
        episodes = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        known = {"return": float(np.mean(episodes))} if episodes else {}
        losses = {
            key.removeprefix("train/"): float(value)
            for key, value in self.model.logger.name_to_value.items()
            if key.startswith("train/")
        }
        self.on_step(done, self.steps, known | losses)


def _check(
    world: AbstractSimulator,
    name: str,
    representation: AbstractRepresentation | None,
    steps: int,
) -> None:
    if steps < 1:
        raise ValueError(f"at least one step is needed, got {steps}")
    if name in IDS:
        if representation is not None:
            raise ValueError(f"{name} learns on ids: hand in None instead of a representation")
        if world.allowed() is not None:
            raise ValueError(
                f"{name} cannot keep to what this world allows; take a learner of points"
            )
        return
    if representation is None:
        raise ValueError(f"{name} learns on points: hand in a representation")
    if not representation.action_set.same_as(world.action_set):
        raise ValueError(
            f"the representation has points of {len(representation.action_set)} actions, the world "
            f"has {len(world.action_set)}, and they are not the same list"
        )
    size = len(world.observation_names)
    if representation.observation_size != size:
        raise ValueError(
            f"the representation takes observations of {representation.observation_size} columns, "
            f"the world gives {size}"
        )


def _policy(name: str, model: BaseAlgorithm, worlds: PolicyWorlds) -> OnlinePolicy:
    """A copy of the actor behind its features."""
    layers, squash = _actor(model)
    network = nn.Sequential(*copy.deepcopy(layers))
    if worlds.representation is None:
        return NetworkPolicy(name, network, worlds.features, worlds.world.action_set)
    actor = NetworkActor(name, network, worlds.features, squash)
    return DecodedPolicy(actor, worlds.representation)


def _actor(model: BaseAlgorithm) -> tuple[list[nn.Module], Squash]:
    """The layers from features to what is squashed."""
    if isinstance(model, SAC):
        return [*model.actor.latent_pi, model.actor.mu], "tanh"
    if isinstance(model, TD3):
        return list(model.actor.mu)[:-1], "tanh"
    assert isinstance(model.policy, ActorCriticPolicy)
    return [*model.policy.mlp_extractor.policy_net, model.policy.action_net], "clip"


def _critic(model: BaseAlgorithm, worlds: PolicyWorlds, config: OnlineConfig) -> Critic:
    """A copy of the critic behind its features."""
    assert isinstance(model.policy, ActorCriticPolicy)
    layers = [*model.policy.mlp_extractor.value_net, model.policy.value_net]
    return Critic(
        nn.Sequential(*copy.deepcopy(layers)),
        worlds.features,
        reward_scale=worlds.reward_scale,
        gamma=config.gamma,
    )


def _ppo(worlds: PolicyWorlds, config: OnlineConfig, steps: int, seed: int) -> PPO:
    return PPO(
        **_on_policy(worlds, config, steps, seed),
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        clip_range=config.clip_range,
    )


def _a2c(worlds: PolicyWorlds, config: OnlineConfig, steps: int, seed: int) -> A2C:
    return A2C(**_on_policy(worlds, config, steps, seed))


def _vpg(worlds: PolicyWorlds, config: OnlineConfig, steps: int, seed: int) -> A2C:
    return A2C(**_on_policy(worlds, config, steps, seed), use_rms_prop=False)


def _sac(worlds: PolicyWorlds, config: OnlineConfig, steps: int, seed: int) -> SAC:
    return SAC(
        **_off_policy(worlds, config, steps, seed),
        ent_coef=f"auto_{config.initial_temperature}",
    )


def _td3(worlds: PolicyWorlds, config: OnlineConfig, steps: int, seed: int) -> TD3:
    dim = worlds.action_space.shape or ()
    return TD3(
        **_off_policy(worlds, config, steps, seed),
        action_noise=NormalActionNoise(np.zeros(dim), np.full(dim, config.action_noise)),
        policy_delay=config.policy_delay,
        target_policy_noise=config.target_policy_noise,
        target_noise_clip=2.5 * config.target_policy_noise,
    )


def _shared(worlds: PolicyWorlds, config: OnlineConfig, seed: int) -> dict[str, Any]:
    return {
        "policy": "MlpPolicy",
        "env": worlds,
        "learning_rate": config.learning_rate,
        "gamma": config.gamma,
        "device": "cpu",
        "seed": seed % 2**32,
    }


def _on_policy(worlds: PolicyWorlds, config: OnlineConfig, steps: int, seed: int) -> dict[str, Any]:
    """A rollout is never longer than the training."""
    span = worlds.world.horizon if config.n_steps is None else config.n_steps
    return {
        **_shared(worlds, config, seed),
        "n_steps": min(span, -(-steps // worlds.num_envs)),
        "gae_lambda": config.gae_lambda,
        "ent_coef": config.ent_coef,
        "vf_coef": config.vf_coef,
        "max_grad_norm": config.max_grad_norm,
        "normalize_advantage": config.normalize_advantage,
        "policy_kwargs": {
            "net_arch": {"pi": list(config.hidden), "vf": list(config.hidden)},
            "activation_fn": nn.ReLU,
            "log_std_init": config.log_std_init,
        },
    }


def _off_policy(
    worlds: PolicyWorlds, config: OnlineConfig, steps: int, seed: int
) -> dict[str, Any]:
    """No more rows are kept ready than there will be."""
    return {
        **_shared(worlds, config, seed),
        "batch_size": config.batch_size,
        "buffer_size": min(config.buffer_size, steps + worlds.num_envs),
        "learning_starts": config.learning_starts,
        "train_freq": config.train_freq,
        "gradient_steps": config.gradient_steps,
        "tau": config.tau,
        "policy_kwargs": {"net_arch": list(config.hidden)},
    }


MAKERS: dict[str, Callable[[PolicyWorlds, OnlineConfig, int, int], BaseAlgorithm]] = {
    "ppo": _ppo,
    "a2c": _a2c,
    "vpg": _vpg,
    "sac": _sac,
    "td3": _td3,
    "discrete_ppo": _ppo,
    "discrete_a2c": _a2c,
}
