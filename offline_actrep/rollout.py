"""The one loop that steps a world. Collecting, evaluating and online training are its users."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.policy import AbstractBehaviour, AbstractPolicy
from offline_actrep.core.simulator import AbstractSimulator


@dataclass(frozen=True)
class Transitions:
    """One decision in each of B worlds; `first` marks a fresh episode's first row."""

    first: Bool[np.ndarray, " B"]
    observations: Float32[np.ndarray, "B S"]
    actions: Int64[np.ndarray, " B"]
    probabilities: Float64[np.ndarray, " B"]
    rewards: Float64[np.ndarray, " B"]
    terminated: Bool[np.ndarray, " B"]
    truncated: Bool[np.ndarray, " B"]
    next_observations: Float32[np.ndarray, "B S"]
    allowed: AllowedActions | None = None


def play(
    actor: AbstractPolicy | AbstractBehaviour, world: AbstractSimulator, *, seed: int
) -> Iterator[Transitions]:
    """Plays for ever: every world that ends begins a new episode at once.

    A policy's probabilities are 1. The seed fixes the worlds' noise and the behaviour's draws.

    Raises:
        ValueError: the actor's catalogue is not the world's, or it takes an action that is not
            allowed.
    """
    actor.action_set.must_equal(world.action_set, "the policy", "the world")
    acting, worlds = np.random.SeedSequence(seed).spawn(2)
    generator = np.random.default_rng(acting)
    world.reseed(worlds)
    fresh = np.ones(world.num_envs, bool)
    observations, _ = world.reset()
    while True:
        allowed = world.allowed()
        if isinstance(actor, AbstractBehaviour):
            if fresh.any():
                actor.begin(fresh, generator)
            actions, probabilities = actor.draw(observations, generator, allowed)
        else:
            actions = actor.choose(observations, allowed)
            probabilities = np.ones(len(actions))
        actions = world.checked(actions, allowed)
        following, rewards, terminated, truncated = world.advance(actions)
        yield Transitions(
            fresh,
            observations,
            actions,
            probabilities,
            rewards,
            terminated,
            truncated,
            following,
            allowed,
        )
        fresh = terminated | truncated
        observations = world.restart(fresh) if fresh.any() else following


@dataclass(frozen=True)
class Played:
    """Whole episodes of one actor.

    Attributes:
        returns: under each of G discounts.
        actions: all N decisions, in order, episode after episode; also those of episodes of the
            last round that `returns` leaves out.
        first: marks every episode's first decision.
    """

    returns: Float64[np.ndarray, "G episodes"]
    actions: Int64[np.ndarray, " N"]
    first: Bool[np.ndarray, " N"]


def episode_returns(
    actor: AbstractPolicy | AbstractBehaviour,
    world: AbstractSimulator,
    *,
    episodes: int,
    seed: int,
    gamma: float = 1.0,
) -> Float64[np.ndarray, " episodes"]:
    """Returns of whole episodes, discounted by gamma a decision; see `play_episodes`."""
    return play_episodes(actor, world, episodes=episodes, seed=seed, gammas=(gamma,)).returns[0]


def play_episodes(
    actor: AbstractPolicy | AbstractBehaviour,
    world: AbstractSimulator,
    *,
    episodes: int,
    seed: int,
    gammas: Sequence[float] = (1.0,),
) -> Played:
    """Plays whole episodes: their returns under several discounts a decision, and what was chosen.

    Every world plays the same number of episodes (the last round may be cut), so that short
    episodes are not counted more often than long ones.

    Raises:
        ValueError: no episodes asked for.
    """
    if episodes < 1:
        raise ValueError(f"at least one episode is needed, got {episodes}")
    rounds = -(-episodes // world.num_envs)
    discounts = np.asarray(gammas, np.float64)[:, None]
    returns = np.zeros((len(discounts), rounds, world.num_envs))
    done = np.zeros(world.num_envs, np.int64)
    weight = np.ones((len(discounts), world.num_envs))
    everyone = np.arange(world.num_envs)
    decided: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for row in play(actor, world, seed=seed):
        counts = done < rounds
        decided.append((counts, row.actions, row.first))
        returns[:, done[counts], everyone[counts]] += (weight * row.rewards)[:, counts]
        weight = np.where(row.terminated | row.truncated, 1.0, weight * discounts)
        done += row.terminated | row.truncated
        if (done >= rounds).all():
            counted, actions, first = (
                np.stack(each, axis=1) for each in zip(*decided, strict=True)
            )
            return Played(
                returns.reshape(len(discounts), -1)[:, :episodes], actions[counted], first[counted]
            )
    raise AssertionError("play never ends")
