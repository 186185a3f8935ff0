"""Propensities for a log that has none: a calibrated model of the policy that wrote it.

Idea: a softmax over ids, learnt by maximum likelihood, is too sure of itself on rows it has not
seen. Its logits are divided by one temperature, and it is blended with the actions' frequencies,
by amounts chosen on episodes held out for that; and every row's propensity comes from a model that
saw no row of the episode (cross-fitting), so that a weight 1 / p does not reward memory.
Formula: p(a | s) = (1 - m) softmax_a(f(s)_a / T) + m q(a), over the allowed actions, q their
smoothed frequencies, (T, m) = argmin of -log p on held-out episodes. Temperature: Guo et al. 2017,
"On Calibration of Modern Neural Networks", section 4.2; K folds: Chernozhukov et al. (2018),
"Double/debiased machine learning"; the blend bounds the weights where the state says nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from scipy import stats
from scipy.optimize import minimize
from torch import Tensor, nn

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.settings import STRICT
from offline_actrep.nets.batches import batches
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.mlp import mlp
from offline_actrep.nets.seeding import seeded

BINS = 12
"""Bins of a calibration curve, equally wide in log p between the least p asked about and 1."""
MOST_LOGITS = 4_000_000
"""Logits held in memory at once."""
MOST_CALIBRATING = 20_000
"""Most rows that a temperature is chosen on."""


@settings(frozen=True, config=STRICT)
class PropensityConfig:
    """What can be set."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64,)
    """Widths of the hidden layers (ReLU)."""
    steps: Annotated[int, Field(ge=0)] = 2000
    """Gradient steps of one fold's model."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    folds: Annotated[int, Field(ge=2)] = 3
    """K; every row's propensity comes from the model that did not see its episode."""
    calibration_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of a model's episodes that only choose its temperature and its blend: at least one
    episode, and never all."""


@dataclass(frozen=True)
class CalibrationBin:
    """State-action pairs whose estimated probability lies in one bin.

    Attributes:
        predicted: mean probability of the pairs.
        observed: share of the pairs whose action was the logged one.
        low: lower end of the 95 % interval of `observed` (Wilson).
        high: upper end.
        pairs: how many there are.
    """

    predicted: float
    observed: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Agreement:
    """Estimated against logged propensities, over rows.

    Attributes:
        rank_correlation: Spearman's; nan where either is constant.
        median_ratio: of estimated over logged.
        ratio_low: 5 % quantile of it.
        ratio_high: 95 % quantile of it.
        mean_weight: mean of logged / estimated; 1 where the estimate is right.
    """

    rank_correlation: float
    median_ratio: float
    ratio_low: float
    ratio_high: float
    mean_weight: float


@dataclass(frozen=True, eq=False)
class Propensities:
    """What was estimated, and how far to trust it.

    Attributes:
        probabilities: `[N]` of the logged action of each row, in (0, 1].
        temperatures: T of each fold's model.
        blends: m of each fold's model, the share of the frequencies.
        log_loss: mean -log p of the logged actions, out of sample.
        log_loss_uncalibrated: the same with T = 1 and m = 0.
        log_loss_frequency: the same for each fold's q alone, whatever the state: out of sample
            too, and over the allowed actions.
        curve: calibration out of sample, over all allowed actions of the rows.
        calibration_error: |expected - found| logged actions, summed over the curve's bins, over
            the rows: 0 is perfect.
        agreement: with the logged propensities; None where there are none.
    """

    probabilities: Float64[np.ndarray, " N"]
    temperatures: tuple[float, ...]
    blends: tuple[float, ...]
    log_loss: float
    log_loss_uncalibrated: float
    log_loss_frequency: float
    curve: tuple[CalibrationBin, ...]
    calibration_error: float
    agreement: Agreement | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the probabilities."""
        return {
            "temperatures": list(self.temperatures),
            "blends": list(self.blends),
            "log_loss": self.log_loss,
            "log_loss_uncalibrated": self.log_loss_uncalibrated,
            "log_loss_frequency": self.log_loss_frequency,
            "curve": [vars(each) for each in self.curve],
            "calibration_error": self.calibration_error,
            "agreement": None if self.agreement is None else vars(self.agreement),
        }

    def on(self, log: Log) -> Log:
        """The log with these propensities in place of its own.

        Raises:
            ValueError: a log of another length.
        """
        return replace(log, action_probabilities=self.probabilities)


def estimate_propensities(
    log: Log,
    *,
    seed: int,
    features: FeatureConfig = FeatureConfig(),  # noqa: B008
    config: PropensityConfig = PropensityConfig(),  # noqa: B008
    on_step: OnStep | None = None,
) -> Propensities:
    """The probability of every logged action, from models that did not see its episode.

    Args:
        log: what to learn from; its allowed sets are kept to, its own propensities not used.
        seed: of folds, first weights and batches.
        features: what the models see of an observation.
        config: what can be set.
        on_step: is told where the work stands.

    Raises:
        ValueError: fewer than two episodes a fold.
    """
    if log.n_episodes < 2 * config.folds:
        raise ValueError(
            f"{config.folds} folds need at least 2 episodes each, the log has "
            f"{log.n_episodes} episodes; ask for fewer folds, or bring a longer log"
        )
    seen = ObservationFeatures.of(log.observations, features)
    data = _Data(seen(torch.from_numpy(np.array(log.observations))), log)
    order = np.random.default_rng(seed).permutation(log.n_episodes)
    folds = np.array_split(order, config.folds)
    made, plain, often = (np.empty(len(log)) for _ in range(3))
    chosen, counting = [], _Counting()
    for k, held in enumerate(folds):
        rest = np.concatenate([fold for j, fold in enumerate(folds) if j != k])
        cut = min(max(1, round(len(rest) * config.calibration_share)), len(rest) - 1)
        model = _fit(data, data.rows(rest[cut:]), config, seed + k, _part(on_step, k, config))
        calibrated = _calibrated(model, data, data.rows(rest[:cut]), seed)
        rows = data.rows(held)
        for part, log_p, log_q in data.in_parts(calibrated, rows):
            blended = _blended(log_p, log_q, calibrated.blend).numpy()
            made[part] = _taken(blended, log.actions[part])
            often[part] = _taken(log_q.numpy(), log.actions[part])
            counting.add(blended, log.actions[part])
        for part, log_p, _ in data.in_parts(model, rows):
            plain[part] = _taken(log_p.numpy(), log.actions[part])
        chosen.append(calibrated)
    tell(on_step, config.folds * config.steps, config.folds * config.steps, {})
    probabilities = np.clip(np.exp(made), np.finfo(np.float64).tiny, 1.0)
    return Propensities(
        probabilities=probabilities,
        temperatures=tuple(model.temperature for model in chosen),
        blends=tuple(model.blend for model in chosen),
        log_loss=float(-made.mean()),
        log_loss_uncalibrated=float(-plain.mean()),
        log_loss_frequency=float(-often.mean()),
        curve=counting.curve(),
        calibration_error=counting.error(),
        agreement=_agreement(probabilities, log.action_probabilities),
    )


@dataclass(frozen=True, eq=False)
class _Model:
    """A fold's model: what gives logits, the actions' frequencies, and how the two are blended."""

    net: nn.Module
    frequencies: Float[Tensor, " A"]
    temperature: float = 1.0
    blend: float = 0.0


class _Data:
    """A log's columns as the models see them."""

    def __init__(self, features: Float[Tensor, "N F"], log: Log) -> None:
        self.features, self.log = features.detach(), log
        self.actions = torch.from_numpy(np.array(log.actions))

    def rows(self, episodes: Int64[np.ndarray, " K"]) -> Int64[np.ndarray, " M"]:
        """The rows of some episodes."""
        offsets, lengths = self.log.episode_offsets, self.log.lengths[episodes]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(offsets[episodes], lengths) + within

    def forbidden(self, rows: Int64[np.ndarray, " B"]) -> Bool[Tensor, "B A"] | None:
        """Where the softmax may not look; None where all is allowed."""
        allowed: AllowedActions | None = self.log.allowed
        if allowed is None:
            return None
        return ~torch.from_numpy(allowed.take(rows).mask(len(self.log.action_set)))

    def logits(self, net: nn.Module, rows: Int64[np.ndarray, " B"]) -> Float[Tensor, "B A"]:
        """Of the rows' states, -inf where an action is not allowed."""
        logits, forbidden = net(self.features[torch.from_numpy(rows)]), self.forbidden(rows)
        return logits if forbidden is None else logits.masked_fill(forbidden, -torch.inf)

    @torch.no_grad()
    def in_parts(
        self, model: _Model, rows: Int64[np.ndarray, " M"]
    ) -> Iterator[tuple[Int64[np.ndarray, " B"], Float64[Tensor, "B A"], Float64[Tensor, "B A"]]]:
        """Rows in chunks, with log-probabilities by the state, and by the frequencies."""
        size = max(1, MOST_LOGITS // len(self.log.action_set))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield part, *self.sides(model, part, model.temperature)

    def sides(
        self, model: _Model, rows: Int64[np.ndarray, " B"], temperature: float
    ) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B A"]]:
        """Log-probabilities by the state, and by the frequencies."""
        logits = self.logits(model.net, rows).double()
        log_q = model.frequencies.log().expand_as(logits)
        log_q = log_q.masked_fill(torch.isinf(logits), -torch.inf)
        return (logits / temperature).log_softmax(dim=1), log_q.log_softmax(dim=1)


def _blended(log_p: Tensor, log_q: Tensor, blend: float) -> Tensor:
    if blend == 0.0:
        return log_p
    return torch.logaddexp(log_p + float(np.log1p(-blend)), log_q + float(np.log(blend)))


def _part(on_step: OnStep | None, fold: int, config: PropensityConfig) -> OnStep | None:
    if on_step is None:
        return None
    return lambda done, total, losses: tell(
        on_step, fold * config.steps + done, config.folds * config.steps, losses
    )


def _fit(
    data: _Data,
    rows: Int64[np.ndarray, " M"],
    config: PropensityConfig,
    seed: int,
    on_step: OnStep | None,
) -> _Model:
    """Maximum likelihood; the biases begin at the actions' frequencies."""
    n_actions = len(data.log.action_set)
    with seeded(seed):
        model = mlp([data.features.shape[1], *config.hidden, n_actions])
    counts = torch.bincount(data.actions[torch.from_numpy(rows)], minlength=n_actions) + 0.5
    head = model[-1]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.bias.copy_(counts.log() - counts.log().mean())
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(config.steps, 1))
    generator = torch.Generator().manual_seed(seed)
    drawn = batches(len(rows), config.batch_size, config.steps, generator)
    for step, places in enumerate(drawn, 1):
        batch = rows[places.numpy()]
        chosen = data.actions[torch.from_numpy(batch)]
        loss = nn.functional.cross_entropy(data.logits(model, batch), chosen)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        tell(on_step, step, config.steps, {"log_loss": loss.item()})
    return _Model(model.requires_grad_(False), (counts / counts.sum()).double())


@torch.no_grad()
def _calibrated(model: _Model, data: _Data, rows: Int64[np.ndarray, " M"], seed: int) -> _Model:
    """The model with the temperature, in 1/20 to 20, and the blend that explain the rows best."""
    most = max(1, min(MOST_CALIBRATING, 10 * MOST_LOGITS // len(data.log.action_set)))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    logits = data.logits(model.net, rows).double()
    places = torch.arange(len(rows)), data.actions[torch.from_numpy(rows)]
    log_q = data.sides(model, rows, 1.0)[1][places]

    def loss(asked: np.ndarray) -> float:
        log_p = (logits / float(np.exp(asked[0]))).log_softmax(dim=1)[places]
        return float(-_blended(log_p, log_q, float(asked[1])).mean())

    bound = float(np.log(20.0))
    found: Any = minimize(
        loss, x0=[0.3, 0.1], bounds=[(-bound, bound), (1e-4, 1 - 1e-4)], method="Powell"
    )
    return replace(model, temperature=float(np.exp(found.x[0])), blend=float(found.x[1]))


def _taken(
    log_p: Float64[np.ndarray, "B A"], actions: Int64[np.ndarray, " B"]
) -> Float64[np.ndarray, " B"]:
    return log_p[np.arange(len(actions)), actions]


class _Counting:
    """State-action pairs by the bin of their probability."""

    LEAST = 1e-6

    def __init__(self) -> None:
        self.edges = np.geomspace(self.LEAST, 1.0, BINS + 1)[1:-1]
        self.pairs, self.hits = np.zeros(BINS), np.zeros(BINS)
        self.mass = np.zeros(BINS)

    def add(self, log_p: Float64[np.ndarray, "B A"], actions: Int64[np.ndarray, " B"]) -> None:
        p = np.exp(log_p)
        asked = np.isfinite(log_p)
        bins = np.searchsorted(self.edges, p, side="right")
        self.pairs += np.bincount(bins[asked], minlength=BINS)
        self.mass += np.bincount(bins[asked], weights=p[asked], minlength=BINS)
        taken = bins[np.arange(len(actions)), actions]
        self.hits += np.bincount(taken, minlength=BINS)

    def curve(self) -> tuple[CalibrationBin, ...]:
        made = []
        for pairs, mass, hits in zip(self.pairs, self.mass, self.hits, strict=True):
            if pairs:
                interval = stats.binomtest(int(hits), int(pairs)).proportion_ci(method="wilson")
                made.append(
                    CalibrationBin(
                        predicted=float(mass / pairs),
                        observed=float(hits / pairs),
                        low=float(interval.low),
                        high=float(interval.high),
                        pairs=int(pairs),
                    )
                )
        return tuple(made)

    def error(self) -> float:
        """Sum over bins of |mass - hits|, a row: in every bin the share of decisions misplaced."""
        return float(np.abs(self.mass - self.hits).sum() / max(self.hits.sum(), 1))


def _agreement(
    estimated: Float64[np.ndarray, " N"], logged: Float64[np.ndarray, " N"] | None
) -> Agreement | None:
    if logged is None:
        return None
    ratio = estimated / logged
    constant = np.ptp(estimated) == 0 or np.ptp(logged) == 0
    low, middle, high = np.quantile(ratio, (0.05, 0.5, 0.95))
    ranks = stats.rankdata(estimated), stats.rankdata(logged)
    return Agreement(
        rank_correlation=float("nan") if constant else float(np.corrcoef(*ranks)[0, 1]),
        median_ratio=float(middle),
        ratio_low=float(low),
        ratio_high=float(high),
        mean_weight=float((1 / ratio).mean()),
    )
