"""What every action is worth in one state: the world's own next step, then a critic's judgement.

Idea: as many worlds as there are actions draw the same random numbers and follow the same policy,
so that all stand in one state; then each takes another action. The step is the world's own, and
what follows it is what a learner in the world came to expect.

Formula: Q(s, a) = E[r + gamma V(s')], V(s') = 0 where the step terminates the episode, with V the
critic of a policy that was trained in the world; the mean over `outcomes` draws of the step. A
world that settles its chance when an episode begins (a dialogue's user) has one outcome.
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
        world: as many worlds as it has actions; they begin anew.
        policy: leads to the state.
        critic: judges what comes of an action.
        decisions: how many the policy takes first; 0 for the start.
        seed: of the episode.
        outcomes: draws of the step that are averaged.

    Raises:
        ValueError: another number of worlds than actions, no outcome to average, a world that
            forbids actions or whose copies do not live one life, or an episode that ends earlier.
    """
    if world.num_envs != len(world.action_set):
        raise ValueError(
            f"an action needs a world of its own: make {len(world.action_set)} worlds, "
            f"got {world.num_envs}"
        )
    if outcomes < 1:
        raise ValueError(f"at least one outcome is needed, got {outcomes}")
    every, total = np.arange(world.num_envs), np.zeros(world.num_envs)
    for outcome in range(outcomes):
        observation = _lead(world, policy, decisions, seed)
        _draw_alike(world, np.random.SeedSequence((seed, outcome)))
        following, rewards, terminated, _ = world.advance(every)
        total += rewards + critic.gamma * critic.values(following) * ~terminated
    return ActionValues(observation, total / outcomes)


def _lead(
    world: AbstractSimulator, policy: AbstractPolicy, decisions: int, seed: int
) -> Float32[np.ndarray, " S"]:
    """Brings all worlds into one state; what is seen of it."""
    _draw_alike(world, np.random.SeedSequence(seed))
    observations = world.restart(np.ones(world.num_envs, bool))
    for decision in range(decisions):
        if world.allowed() is not None:
            raise ValueError("a forbidden action has no value: take a world that allows all")
        chosen = int(policy.choose(observations[:1])[0])
        observations, _, terminated, truncated = world.advance(np.full(world.num_envs, chosen))
        if (terminated | truncated).any():
            raise ValueError(
                f"this episode ends with decision {decision + 1}, there is no state after "
                f"{decisions}: ask for fewer decisions, or take another seed"
            )
    if world.allowed() is not None:
        raise ValueError("a forbidden action has no value: take a world that allows all")
    if (observations != observations[0]).any():
        raise ValueError("the worlds do not live one life: take the world without its wrappers")
    return observations[0]


def _draw_alike(world: AbstractSimulator, seed: np.random.SeedSequence) -> None:
    """From here on all worlds draw the same random numbers."""
    world.reseed(seed)
    world.draws.counters[:] = world.draws.counters[0]
