"""Are the points any good? Measured on a representation before anything is trained on it.

Where a simulator tells what actions truly do, the points are held against that; everything else
needs only the log. Numbers are means over states drawn from the log; above `MOST_ACTIONS` actions,
as many drawn at random stand for all, and only round trips still choose among all.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from offline_actrep.core.log import Log
from offline_actrep.core.representation import AbstractRepresentation

Effects = Callable[[np.ndarray, np.ndarray], np.ndarray | None]
"""(observations [B, S], dense actions [B]) -> true effects [B, D], or None."""

SAME = 0.02
"""Points whose coordinates agree to this grid count as one action."""
COLLAPSED = 1e-10
"""Points of less variance than this, all coordinates together, differ by rounding alone."""
MOST_ACTIONS = 8192
"""Up to here all actions are looked at in every state."""
MOST_TRIPS = 256
"""Points that are decoded where there are more actions than that."""


@dataclass(frozen=True)
class ProbeResult:
    """What was measured.

    Attributes:
        states: how many states of the log it was measured in.
        actions: A.
        distinct_actions: mean number of points that differ by more than `SAME`, among those of
            the actions looked at.
        round_trip: share of actions whose own point decodes to them or to an equal point.
        rank: effective number of dimensions of the points (exp of the spectrum's entropy).
        spread: mean deviation of a coordinate, in the cube [-1, 1]; near 0 is collapse.
        unsupported_share: share of actions held for out of distribution, if the method says.
        distance_r2: of the points' distances, before they are brought into the cube, against the
            wanted ones; on pairs drawn anew.
        disagreement: mean deviation of the wanted distance among an ensemble's members, over its
            mean, on the same pairs; None without an ensemble.
        effect_r2: of a linear map from points to true effects within a state, if effects are known.
        neighbour_effect: mean difference of true effects between nearest points.
        random_effect: the same between random actions.
        neighbour_ratio: the first over the second: 0 is perfect, 1 is noise.
    """

    states: int
    actions: int
    distinct_actions: float
    round_trip: float
    rank: float
    spread: float
    unsupported_share: float | None
    distance_r2: float | None
    disagreement: float | None
    effect_r2: float | None
    neighbour_effect: float | None
    random_effect: float | None
    neighbour_ratio: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return asdict(self)


def probe(
    log: Log,
    representation: AbstractRepresentation,
    *,
    seed: int,
    effects: Effects | None = None,
    states: int = 64,
    queries: int = 256,
) -> ProbeResult:
    """Measures a representation in `states` logged states, `queries` actions a state.

    Raises:
        ValueError: the representation has points of other actions than the log's.
    """
    representation.action_set.must_equal(log.action_set, "the representation", "the log")
    draws = np.random.default_rng(seed)
    rows = np.sort(draws.choice(len(log), size=min(states, len(log)), replace=False))
    observations = log.observations[rows]
    shown = _shown(len(log.action_set), draws)
    tables = [_points(representation, row, shown) for row in observations]
    truth = [_effects(effects, row, shown) for row in observations]
    pairs = [draws.integers(len(shown), size=(2, queries)) for _ in rows]
    near, far = _neighbour_effects(tables, truth, pairs)
    pairs = [shown[pair] for pair in pairs]
    states_of_pairs = torch.from_numpy(np.repeat(observations, queries, axis=0))
    left, right = map(torch.from_numpy, np.concatenate(pairs, axis=1))
    distances = representation.target_distance(states_of_pairs, left, right)
    deviation = representation.disagreement(states_of_pairs, left, right)
    unsupported = representation.unsupported(torch.from_numpy(observations))
    spectra = [np.linalg.svd(t - t.mean(axis=0), compute_uv=False) ** 2 / len(t) for t in tables]
    return ProbeResult(
        states=len(rows),
        actions=len(log.action_set),
        distinct_actions=_mean([len(np.unique(np.round(t / SAME), axis=0)) for t in tables]),
        round_trip=_round_trip(representation, observations, pairs),
        rank=_mean([_effective_rank(s) for s in spectra]),
        spread=_mean([float(t.std(axis=0).mean()) for t in tables]),
        unsupported_share=None if unsupported is None else float(unsupported.float().mean()),
        distance_r2=None if distances is None else _distance_r2(*distances),
        disagreement=_disagreement(distances, deviation),
        effect_r2=_optional_mean([_linear_r2(t, e) for t, e in zip(tables, truth, strict=True)]),
        neighbour_effect=near,
        random_effect=far,
        neighbour_ratio=None if near is None or not far else near / far,
    )


def distance_pairs(
    log: Log, representation: AbstractRepresentation, *, seed: int, n: int = 4000
) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]] | None:
    """(distances of points, wanted distances) of random pairs in random logged states."""
    draws = np.random.default_rng(seed)
    rows = draws.integers(len(log), size=n)
    left, right = draws.integers(len(log.action_set), size=(2, n))
    found = representation.target_distance(
        torch.from_numpy(log.observations[rows]),
        torch.from_numpy(left),
        torch.from_numpy(right),
    )
    return None if found is None else (found[0].numpy(), found[1].numpy())


def _shown(n_actions: int, draws: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """All actions, or some."""
    if n_actions <= MOST_ACTIONS:
        return np.arange(n_actions)
    return np.sort(draws.choice(n_actions, size=MOST_ACTIONS, replace=False))


def _points(
    representation: AbstractRepresentation,
    observation: Float32[np.ndarray, " S"],
    shown: Int64[np.ndarray, " n"],
) -> Float32[np.ndarray, "n E"]:
    state = torch.from_numpy(observation[None])
    if len(shown) == len(representation.action_set):
        return representation.table(state)[0].numpy()
    return representation.embed(state.expand(len(shown), -1), torch.from_numpy(shown)).numpy()


def _effects(
    effects: Effects | None, observation: np.ndarray, shown: Int64[np.ndarray, " n"]
) -> np.ndarray | None:
    if effects is None:
        return None
    return effects(np.repeat(observation[None], len(shown), axis=0), shown)


def _round_trip(
    representation: AbstractRepresentation,
    observations: Float32[np.ndarray, "B S"],
    pairs: list[Int64[np.ndarray, "2 Q"]],
) -> float:
    kept, trips = [], pairs[0].shape[1]
    if len(representation.action_set) > MOST_ACTIONS:
        trips = max(1, MOST_TRIPS // len(observations))
    for observation, (asked, _) in zip(observations, pairs, strict=True):
        actions = torch.from_numpy(asked[:trips])
        states = torch.from_numpy(observation[None]).expand(len(actions), -1)
        points = representation.embed(states, actions)
        again = representation.embed(states, representation.decode(states, points))
        kept.append(((again - points).abs().amax(dim=1) < 1e-5).float().mean())
    return float(np.mean(kept))


def _distance_r2(distance: Float[Tensor, " P"], wanted: Float[Tensor, " P"]) -> float | None:
    found, asked = (part.numpy().astype(np.float64) for part in (distance, wanted))
    return _r2(((found - asked) ** 2).sum(), ((asked - asked.mean()) ** 2).sum())


def _disagreement(
    distances: tuple[Float[Tensor, " P"], Float[Tensor, " P"]] | None,
    deviation: Float[Tensor, " P"] | None,
) -> float | None:
    if distances is None or deviation is None or not distances[1].any():
        return None
    return float(deviation.mean() / distances[1].mean())


def _linear_r2(
    table: Float32[np.ndarray, "A E"], effect: Float64[np.ndarray, "A D"] | None
) -> float | None:
    if effect is None:
        return None
    centred = effect - effect.mean(axis=0)
    design = np.column_stack([table.astype(np.float64), np.ones(len(table))])
    residual = effect - design @ np.linalg.lstsq(design, effect, rcond=None)[0]
    return _r2((residual**2).sum(), (centred**2).sum())


def _r2(residual: float, total: float) -> float | None:
    return None if total < 1e-12 else float(1.0 - residual / total)


def _neighbour_effects(
    tables: list[Float32[np.ndarray, "A E"]],
    truth: list[Float64[np.ndarray, "A D"] | None],
    pairs: list[Int64[np.ndarray, "2 Q"]],
) -> tuple[float | None, float | None]:
    near, far = [], []
    for table, effect, (asked, other) in zip(tables, truth, pairs, strict=True):
        if effect is None:
            return None, None
        distance = np.abs(table[asked][:, None] - table[None]).sum(axis=2)
        distance[np.arange(len(asked)), asked] = np.inf
        neighbour = distance.argmin(axis=1)
        near.append(np.linalg.norm(effect[asked] - effect[neighbour], axis=1).mean())
        far.append(np.linalg.norm(effect[asked] - effect[other], axis=1).mean())
    return _mean(near), _mean(far)


def _effective_rank(spectrum: Float32[np.ndarray, " E"]) -> float:
    total = float(spectrum.sum())
    if total < COLLAPSED:
        return 0.0
    share = spectrum[spectrum > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def _mean(values: list[float] | list[int]) -> float:
    return float(np.mean(values))


def _optional_mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
