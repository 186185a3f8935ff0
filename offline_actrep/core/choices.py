"""What an actor chooses: how many of the actions, how often the commonest, how often one twice.

A return does not say it. A policy on points that hardly move from state to state names the same few
actions over and over, which costs nothing in one world and everything in another.
"""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Int64


@dataclass(frozen=True)
class Choices:
    """Of one actor's decisions.

    Attributes:
        distinct_actions: how many different actions were chosen.
        largest_share: the commonest action's share of all decisions.
        repeated: share of decisions that chose the action of the decision before, each episode's
            first apart; None where every episode has but one.
    """

    distinct_actions: int
    largest_share: float
    repeated: float | None

    def as_dict(self) -> dict[str, int | float | None]:
        """For JSON."""
        return asdict(self)


def choices(actions: Int64[np.ndarray, " N"], first: Bool[np.ndarray, " N"]) -> Choices:
    """Of decisions (dense indices) in order, episode after episode; `first`: where each begins.

    Raises:
        ValueError: there are no decisions, or the first one begins no episode.
    """
    if not len(actions) or not first[0]:
        raise ValueError("choices need at least one decision, the first of them an episode's first")
    counts = np.bincount(actions)
    again = (actions[1:] == actions[:-1])[~first[1:]]
    return Choices(
        distinct_actions=int(np.count_nonzero(counts)),
        largest_share=float(counts.max() / len(actions)),
        repeated=float(again.mean()) if len(again) else None,
    )
