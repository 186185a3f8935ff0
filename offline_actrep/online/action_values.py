"""What every action is worth in one state: the world's own next step, then a critic's judgement.

Idea: as many worlds as there are actions draw the same random numbers and follow the same policy,
so that all stand in one state; then each takes another action. The step is the world's own, and
what follows it is what a learner in the world came to expect.

Formula: Q(s, a) = E[r + gamma V(s')], V(s') = 0 where the step terminates the episode, with V the
critic of a policy that was trained in the world; the mean over `outcomes` draws of the step, the
same draws for every action. A world that settles its chance when an episode begins (a dialogue's
user) has one outcome. Of what observations do not show (the recommender's time budget) only the
step itself knows: V has no eyes for it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from offline_actrep.core.policy import AbstractPolicy
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.online.policies import Critic


@dataclass(frozen=True, eq=False)
class ActionValues:
    """One state of a world.

    Attributes:
        observation: what is seen of it.
        values: Q of every action, in the world's unit of reward, discounted.
    """

    observation: Float32[np.ndarray, " S"]
    values: Float64[np.ndarray, " A"]


def action_values(
    world: AbstractSimulator,
    policy: AbstractPolicy,
    critic: Critic,
    *,
    decisions: int,
    seed: int,
    outcomes: int = 1,
) -> ActionValues:
    """Q of every action in the state that an episode is in after some decisions of the policy.

    Args:
        world: as many worlds as it has actions, `make(name, n_actions)`; they begin anew.
        policy: leads to the state.
        critic: judges what comes of an action; `train_online` hands it to `on_critic`.
        decisions: how many the policy takes first; 0 for the start.
        seed: of the episode, and of what comes of the actions.
        outcomes: draws of the step that are averaged.

    Raises:
        ValueError: a policy of other actions, another number of worlds than actions, a world that
            forbids actions or whose copies do not live one life, a critic of other observations, a
            negative number of decisions, no outcome to average, or an episode that ends earlier.
    """
    policy.action_set.must_equal(world.action_set, "the policy", "the world")
    _check(world, critic, decisions, outcomes)
    every, total = np.arange(world.num_envs), np.zeros(world.num_envs)
    observation = np.zeros(0, np.float32)
    for outcome in range(outcomes):
        observation = _lead(world, policy, decisions, seed)
        world.reseed(np.random.SeedSequence((seed, outcome)), alike=True)
        following, rewards, terminated, _ = world.advance(every)
        total += rewards + critic.gamma * critic.values(following) * ~terminated
    return ActionValues(observation, total / outcomes)


def _check(world: AbstractSimulator, critic: Critic, decisions: int, outcomes: int) -> None:
    actions, size = len(world.action_set), len(world.observation_names)
    if world.num_envs != actions:
        raise ValueError(
            f"an action needs a world of its own: make {actions} worlds, got {world.num_envs}"
        )
    if world.allowed() is not None:
        raise ValueError("a forbidden action has no value: take a world that allows all")
    if len(critic.features.shift) != size:
        raise ValueError(
            f"the critic takes observations of {len(critic.features.shift)} columns, the world "
            f"gives {size}: take the critic that was trained in this world"
        )
    if decisions < 0 or outcomes < 1:
        raise ValueError(
            "the policy takes 0 or more decisions and at least one outcome is averaged, got "
            f"{decisions} and {outcomes}"
        )


def _lead(
    world: AbstractSimulator, policy: AbstractPolicy, decisions: int, seed: int
) -> Float32[np.ndarray, " S"]:
    """Brings all worlds into one state; what is seen of it."""
    world.reseed(seed, alike=True)
    observations = world.restart(np.ones(world.num_envs, bool))
    for decision in range(decisions):
        chosen = policy.choose(observations[:1]).repeat(world.num_envs)
        observations, _, terminated, truncated = world.advance(chosen)
        if (terminated | truncated).any():
            raise ValueError(
                f"this episode ends with decision {decision + 1}, there is no state after "
                f"{decisions}: ask for fewer decisions, or take another seed"
            )
    if (observations != observations[0]).any():
        raise ValueError(
            "the worlds draw the same numbers and act alike, but do not live one life: a world "
            "must take all its chance from `draws`"
        )
    return observations[0]
