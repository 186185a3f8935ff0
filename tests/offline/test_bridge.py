"""d3rlpy's algorithms, metrics and buffers take a log as they take their own data sets."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.algos import (
    CalQLConfig,
    CQLConfig,
    DecisionTransformerConfig,
    DiscreteBCConfig,
    DiscreteCQLConfig,
    DiscreteDecisionTransformerConfig,
    IQLConfig,
    PRDCConfig,
    ReBRACConfig,
    TACRConfig,
    TD3PlusBCConfig,
)
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import (
    BasicTransitionPicker,
    InfiniteBuffer,
    MixedReplayBuffer,
    ReplayBuffer,
    TransitionMiniBatch,
    create_fifo_replay_buffer,
)
from d3rlpy.logging import NoopAdapterFactory
from d3rlpy.metrics import (
    AverageValueEstimationEvaluator,
    ContinuousActionDiffEvaluator,
    DiscountedSumOfAdvantageEvaluator,
    DiscreteActionMatchEvaluator,
    InitialStateValueEstimationEvaluator,
    SoftOPCEvaluator,
    TDErrorEvaluator,
    evaluators,
)
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.ope import FQE, FQEConfig
from d3rlpy.preprocessing import (
    MinMaxActionScaler,
    StandardObservationScaler,
    StandardRewardScaler,
)
from d3rlpy.torch_utility import TorchMiniBatch
from hypothesis import given
from hypothesis import strategies as st
from stored import makers

from offline_actrep.core import mapped
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.d3rlpy import mdp_dataset, read_d3rlpy
from offline_actrep.files.store import open_store, write_store
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline import bridge
from offline_actrep.offline.bridge import ColumnarReplayBuffer, replay_buffer, transition_batch
from offline_actrep.relabel import Relabelled

SMALL = {"batch_size": 16}
NETS = VectorEncoderFactory([8])
ENCODERS = {"actor_encoder_factory": NETS, "critic_encoder_factory": NETS}
QUIET: dict[str, Any] = {"show_progress": False, "logger_adapter": NoopAdapterFactory()}
COLUMNS = (
    "observations",
    "actions",
    "rewards",
    "next_observations",
    "next_actions",
    "terminals",
    "intervals",
)


@pytest.fixture(scope="module")
def cut(points: Relabelled) -> Relabelled:
    """Every other episode terminates, the others are cut off where the next state is known."""
    log = points.log
    truncated = np.zeros(len(log), bool)
    truncated[log.episode_offsets[1::2] - 1] = True
    log = replace(log, terminated=log.ends & ~truncated, truncated=truncated)
    return Relabelled(log, points.representation, points.points)


def stock(data: Log | Relabelled) -> ReplayBuffer:
    """d3rlpy's own data set of the same transitions."""
    return mdp_dataset(data) if isinstance(data, Log) else mdp_dataset(data.log, data.points)


def either(cut: Relabelled, of_points: bool) -> Log | Relabelled:
    return cut if of_points else cut.log


BOTH = pytest.mark.parametrize("of_points", [False, True], ids=["ids", "points"])


# --- what a sample is


@BOTH
def test_a_batch_is_what_d3rlpy_makes_of_its_transitions(of_points: bool, cut: Relabelled) -> None:
    data = either(cut, of_points)
    ours, theirs = replay_buffer(data, seed=0), stock(data)
    numbers = np.random.default_rng(0).permutation(ours.transition_count)
    rows = numbers  # all rows of this log are transitions
    mine = transition_batch(ours.buffer.steps, rows)
    picker = BasicTransitionPicker()
    their = TransitionMiniBatch.from_transitions([picker(*theirs.buffer[int(n)]) for n in numbers])
    for name in COLUMNS:
        left, right = getattr(mine, name), getattr(their, name)
        assert np.array_equal(left, right), name
        assert left.dtype == right.dtype == np.float32
    assert 0 < mine.terminals.sum() < len(numbers)
    assert len(mine.transitions) == len(mine) == len(numbers)
    again = TransitionMiniBatch.from_transitions(mine.transitions[:50])
    for name in COLUMNS:
        assert np.array_equal(getattr(again, name), getattr(mine, name)[:50])


@given(makers(), st.integers(0, 99))
def test_batches_are_made_of_transitions(make: Callable[[], Log], seed: int) -> None:
    """Whatever the log: a batch of one is the transition with its number."""
    log = make()
    if not log.usable.any():
        return
    data = replay_buffer(log, seed=seed)
    rows = np.flatnonzero(log.usable)
    whole = transition_batch(data.buffer.steps, rows)
    for number in range(data.transition_count):
        one = TransitionMiniBatch.from_transitions([data.transition_picker(*data.buffer[number])])
        for name in COLUMNS:
            assert np.array_equal(getattr(one, name)[0], getattr(whole, name)[number]), name
        picked = whole.transitions[number]
        assert np.array_equal(
            picked.rewards_to_go, log.rewards[rows[number] : end_of(log, rows[number])][:, None]
        )
    rewards = set(log.rewards[rows].tolist())
    assert set(data.sample_transition_batch(20).rewards[:, 0].tolist()) <= rewards


def end_of(log: Log, row: int) -> int:
    return int(log.episode_offsets[np.searchsorted(log.episode_offsets, row, side="right")])


def test_rows_and_returns_by_hand() -> None:
    """Two episodes: 3 rows cut off where the next state is known, 2 rows that terminate."""
    seen = np.arange(5, dtype=np.float32)[:, None]
    log = Log(
        action_set=ActionSet(np.array([3, 5, 900])),
        observations=seen,
        actions=np.array([2, 0, 1, 1, 2]),
        rewards=np.array([1.0, 2.0, 4.0, 8.0, 16.0], np.float32),
        terminated=np.array([0, 0, 0, 0, 1], bool),
        truncated=np.array([0, 0, 1, 0, 0], bool),
        next_observations=np.array([[1], [2], [70], [4], [90]], np.float32),
        has_next=np.ones(5, bool),
        episode_offsets=np.array([0, 3, 5]),
        episode_ids=np.arange(2),
    )
    data = replay_buffer(log, seed=0)
    batch = transition_batch(data.buffer.steps, np.arange(5))
    assert batch.actions.tolist() == [[2], [0], [1], [1], [2]]
    assert batch.next_observations.tolist() == [[1], [2], [70], [4], [0]]
    assert batch.next_actions.tolist() == [[0], [1], [0], [2], [0]]
    assert batch.terminals.tolist() == [[0], [0], [0], [0], [1]]
    to_go = [transition.rewards_to_go[:, 0].tolist() for transition in batch.transitions]
    assert to_go == [[1, 2, 4], [2, 4], [4], [8, 16], [16]]
    discounted = TorchMiniBatch.from_batch(batch, 0.5, True, "cpu:0").returns_to_go
    assert discounted.tolist() == [[3], [4], [4], [16], [16]]
    some = bridge.trajectory_batch(
        data.buffer.steps, np.array([1, 2, 4]), 3, np.array([7, 6, 4, 24, 16], np.float32)
    )
    assert some.observations[:, :, 0].tolist() == [[0, 0, 1], [0, 1, 2], [0, 3, 4]]
    assert some.actions[:, :, 0].tolist() == [[0, 2, 0], [2, 0, 1], [0, 1, 2]]
    assert some.returns_to_go[:, :, 0].tolist() == [[0, 7, 6], [7, 6, 4], [0, 24, 16]]
    assert some.terminals[:, :, 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert some.timesteps.tolist() == [[0, 1, 2], [1, 2, 3], [0, 1, 2]]
    assert some.masks.tolist() == [[0, 1, 1], [1, 1, 1], [0, 1, 1]]


@given(makers(), st.integers(1, 7))
def test_trajectories_are_what_d3rlpys_slicer_cuts(make: Callable[[], Log], length: int) -> None:
    log = make()
    if not log.usable.any():
        return
    data = replay_buffer(log, seed=0)
    rows = np.flatnonzero(log.usable)
    batch = bridge.trajectory_batch(data.buffer.steps, rows, length, data._returns_to_go)
    assert batch.length == length
    for number in range(len(rows)):
        one = data.trajectory_slicer(*data.buffer[number], length)
        for name in ("observations", "actions", "rewards", "terminals", "timesteps", "masks"):
            assert np.array_equal(getattr(one, name), getattr(batch, name)[number]), name
        assert one.returns_to_go == pytest.approx(batch.returns_to_go[number], abs=1e-5)
    drawn = data.sample_trajectory(length)
    assert drawn.length == length and drawn.masks.sum() >= 1
    several = data.sample_trajectory_batch(4, length)
    assert several.observations.shape == (4, length, log.observation_size)


# --- draws


def test_a_seed_fixes_what_is_drawn_and_disturbs_nobody(cut: Relabelled) -> None:
    def drawn(seed: int) -> list[np.ndarray]:
        data = replay_buffer(cut, seed=seed)
        return [
            data.sample_transition_batch(9).observations,
            data.sample_trajectory_batch(3, 4).actions,
            data.sample_transition().observation,
            data.sample_trajectory(2).rewards,
        ]

    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[2], torch.get_rng_state()
    one, same, other = drawn(0), drawn(0), drawn(1)
    assert np.random.get_state()[2] == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert all(np.array_equal(left, right) for left, right in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_every_transition_is_as_likely_as_every_other(cut: Relabelled) -> None:
    """Counts of 200 draws a transition, several seeds: chi-square within five deviations."""
    n = len(cut.log)
    names = np.arange(n, dtype=np.float32)
    data = replace(cut.log, rewards=names)
    for seed in range(3):
        batch = replay_buffer(data, seed=seed).sample_transition_batch(200 * n)
        counts = np.bincount(batch.rewards[:, 0].astype(int), minlength=n)
        chi = ((counts - 200.0) ** 2 / 200.0).sum()
        assert abs(chi - (n - 1)) < 5 * np.sqrt(2 * (n - 1))


@BOTH
def test_samples_agree_with_those_of_d3rlpys_data_set(of_points: bool, cut: Relabelled) -> None:
    """Means of every column within five standard errors, for several seeds."""
    data = either(cut, of_points)
    theirs = stock(data)
    for seed in range(3):
        mine = replay_buffer(data, seed=seed).sample_transition_batch(4000)
        with seeded(seed):
            other = theirs.sample_transition_batch(4000)
        for name in COLUMNS:
            left, right = getattr(mine, name), getattr(other, name)
            error = np.sqrt((left.var(axis=0) + right.var(axis=0)) / 4000)
            assert (np.abs(left.mean(axis=0) - right.mean(axis=0)) <= 5 * error).all(), name


# --- learning


FITTED: dict[str, tuple[Any, bool]] = {
    "TD3+BC": (lambda: TD3PlusBCConfig(**SMALL, **ENCODERS), True),
    "IQL": (lambda: IQLConfig(**SMALL, **ENCODERS, value_encoder_factory=NETS), True),
    "CQL": (lambda: CQLConfig(**SMALL, **ENCODERS), True),
    "Cal-QL": (lambda: CalQLConfig(**SMALL, **ENCODERS), True),
    "discrete CQL": (lambda: DiscreteCQLConfig(**SMALL, encoder_factory=NETS), False),
}


@pytest.mark.parametrize("name", FITTED)
def test_the_same_transitions_move_the_weights_alike(name: str, cut: Relabelled) -> None:
    """To the bit, the last transition of a cut-off episode and returns-to-go included."""
    make, of_points = FITTED[name]
    data = either(cut, of_points)
    ours, theirs = replay_buffer(data, seed=0), stock(data)
    found = []
    for source in ("ours", "theirs"):
        with seeded(0):
            algo = make().create(device="cpu:0")
            algo.build_with_dataset(ours if source == "ours" else theirs)
        for step in range(3):
            rows = np.random.default_rng(step).integers(len(cut.log), size=16)
            if source == "ours":
                batch = transition_batch(ours.buffer.steps, rows)
            else:
                picker = theirs.transition_picker
                batch = TransitionMiniBatch.from_transitions(
                    [picker(*theirs.buffer[int(row)]) for row in rows]
                )
            with seeded(step):
                losses = algo.update(batch)
        found.append((losses, algo.impl.modules.get_torch_modules()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for part, module in found[0][1].items():
        twin = found[1][1][part].state_dict()
        for key, tensor in module.state_dict().items():
            assert torch.allclose(tensor, twin[key], rtol=0, atol=1e-7), (part, key)


@pytest.mark.parametrize("name", ["TD3+BC", "IQL", "discrete CQL"])
def test_losses_of_a_fit_agree_in_distribution(name: str, cut: Relabelled) -> None:
    """Six seeds each: means within five standard errors of their difference."""
    make, of_points = FITTED[name]
    data = either(cut, of_points)
    losses: dict[str, list[list[float]]] = {"ours": [], "theirs": []}
    theirs = stock(data)
    for seed in range(6):
        for source, told in losses.items():
            dataset = replay_buffer(data, seed=seed) if source == "ours" else theirs
            with seeded(seed + (100 if source == "ours" else 0)):
                algo = make().create(device="cpu:0")
                ((_, metrics),) = algo.fit(dataset, n_steps=15, n_steps_per_epoch=15, **QUIET)
            told.append([metrics[key] for key in sorted(metrics) if key.endswith("loss")])
    ours, others = (np.array(told) for told in losses.values())
    error = np.sqrt((ours.var(axis=0, ddof=1) + others.var(axis=0, ddof=1)) / 6)
    assert ours.shape[1] >= 1 and (error > 0).all()
    assert (np.abs(ours.mean(axis=0) - others.mean(axis=0)) < 5 * error).all()


@pytest.mark.parametrize(
    ("config", "of_points"),
    [
        (PRDCConfig(**SMALL, **ENCODERS), True),
        (ReBRACConfig(**SMALL, **ENCODERS), True),
        (DiscreteBCConfig(**SMALL, encoder_factory=NETS), False),
        (DecisionTransformerConfig(**SMALL, context_size=3, encoder_factory=NETS), True),
        (TACRConfig(**SMALL, context_size=3, **ENCODERS), True),
        (
            DiscreteDecisionTransformerConfig(
                **SMALL, context_size=3, num_layers=1, encoder_factory=NETS
            ),
            False,
        ),
    ],
    ids=lambda case: type(case).__name__ if not isinstance(case, bool) else "",
)
def test_algorithms_fit_as_they_are(config: Any, of_points: bool, cut: Relabelled) -> None:
    data = replay_buffer(either(cut, of_points), seed=0)
    with seeded(0):
        algo = config.create(device="cpu:0")
        algo.fit(data, n_steps=2, n_steps_per_epoch=1, **QUIET)
    assert algo.grad_step == 2


def test_the_loop_may_be_the_callers_and_fqe_judges(cut: Relabelled) -> None:
    data = replay_buffer(cut, seed=0)
    with seeded(0):
        algo = TD3PlusBCConfig(**SMALL, **ENCODERS).create(device="cpu:0")
        epochs = [epoch for epoch, _ in algo.fitter(data, 4, n_steps_per_epoch=2, **QUIET)]
        judge = FQE(algo, FQEConfig(batch_size=16, encoder_factory=NETS), device="cpu:0")
        ((_, found),) = judge.fit(
            data,
            n_steps=2,
            n_steps_per_epoch=2,
            evaluators={"start": InitialStateValueEstimationEvaluator()},
            **QUIET,
        )
    assert epochs == [1, 2]
    assert np.isfinite(found["start"])


@BOTH
@pytest.mark.parametrize("window", [1024, 3])
def test_metrics_are_those_of_d3rlpys_data_set(
    of_points: bool, window: int, cut: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where d3rlpy cuts an episode into pieces."""
    monkeypatch.setattr(evaluators, "WINDOW_SIZE", window)
    data = either(cut, of_points)
    make = FITTED["TD3+BC" if of_points else "discrete CQL"][0]
    ours = replay_buffer(data, seed=0)
    with seeded(0):
        algo = make().create(device="cpu:0")
        algo.build_with_dataset(ours)
    metrics: list[Any] = [
        TDErrorEvaluator(),
        AverageValueEstimationEvaluator(),
        SoftOPCEvaluator(0.1),
    ]
    metrics += [InitialStateValueEstimationEvaluator(), DiscountedSumOfAdvantageEvaluator()]
    metrics += [ContinuousActionDiffEvaluator() if of_points else DiscreteActionMatchEvaluator()]
    theirs = Padless(stock(data)) if window == 3 else stock(data)
    for metric in metrics:
        assert metric(algo, ours) == pytest.approx(metric(algo, theirs), rel=1e-5), metric
    held_out = TDErrorEvaluator(episodes=stock(data).episodes[:2])
    assert held_out(algo, ours) == pytest.approx(held_out(algo, theirs), rel=1e-5)


class Padless:
    """d3rlpy's data set with `len(episode)` the number of transitions: at a window that divides
    it, d3rlpy otherwise asks for the mean of an empty batch and fails.
    """

    def __init__(self, dataset: ReplayBuffer) -> None:
        self.transition_picker = dataset.transition_picker
        self.episodes = [Counted(episode) for episode in dataset.episodes]


class Counted:
    def __init__(self, episode: Any) -> None:
        self.episode = episode

    def __getattr__(self, name: str) -> Any:
        return getattr(self.episode, name)

    def __len__(self) -> int:
        return self.episode.transition_count


def test_scalers_take_their_measure_alike(cut: Relabelled) -> None:
    ours, theirs = replay_buffer(cut, seed=0), stock(cut)
    scalers = ((StandardObservationScaler, 3), (StandardRewardScaler, 1), (MinMaxActionScaler, 2))
    for make, shape in scalers:
        one, other = make(), make()
        one.fit_with_transition_picker(ours.episodes, ours.transition_picker)
        other.fit_with_transition_picker(theirs.episodes, theirs.transition_picker)
        assert one.built and other.built
        asked = torch.from_numpy(np.random.default_rng(0).normal(size=(7, shape)).astype("f4"))
        assert torch.allclose(one.transform(asked), other.transform(asked), rtol=1e-5)


def test_a_log_is_mixed_with_what_is_seen_online(cut: Relabelled) -> None:
    ours, other = replay_buffer(cut, seed=0), replay_buffer(cut, seed=1)
    online = create_fifo_replay_buffer(100, episodes=stock(cut).episodes[:2])
    for first in (online, other):
        mixed = MixedReplayBuffer(first, ours, 0.5)
        assert mixed.sample_transition_batch(8).observations.shape == (8, 3)
        assert mixed.sample_trajectory_batch(8, 3).observations.shape == (8, 3, 3)
        assert mixed.transition_count == first.transition_count + len(cut.log)
        with seeded(0):
            algo = CalQLConfig(**SMALL, **ENCODERS).create(device="cpu:0")
            algo.build_with_dataset(ours)
            losses = algo.update(mixed.sample_transition_batch(16))
        assert np.isfinite(list(losses.values())).all()


# --- action spaces


def test_ids_are_dense_and_the_space_is_stated(maze_log: Log) -> None:
    """Holes in the ids, top ids that were never taken, and an episode of one id alone."""
    actions = np.minimum(maze_log.actions, 4)
    actions[: maze_log.episode_offsets[1]] = 0
    log = replace(maze_log, actions=actions, action_set=ActionSet(np.arange(16) * 1000 + 7))
    data = replay_buffer(log, seed=0)
    info = data.dataset_info
    assert (info.action_space, info.action_size) == (ActionSpace.DISCRETE, 16)
    assert set(data.sample_transition_batch(300).actions[:, 0].tolist()) == {0.0, 1, 2, 3, 4}
    assert repr(data) == (
        "ColumnarReplayBuffer(473 transitions, 8 episodes, discrete actions of size 16)"
    )


def test_points_that_happen_to_be_whole_numbers_stay_points(points: Relabelled) -> None:
    whole = Relabelled(points.log, points.representation, np.sign(points.points))
    data = replay_buffer(whole, seed=0)
    info = data.dataset_info
    assert (info.action_space, info.action_size) == (ActionSpace.CONTINUOUS, 2)
    with seeded(0), pytest.raises(AssertionError):
        DiscreteBCConfig().create(device="cpu:0").fit(data, n_steps=1, **QUIET)


def test_ids_that_float32_cannot_hold_are_refused(
    points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = bridge.LARGEST_ID + np.arange(-3, 2)
    assert (ids.astype(np.float32).astype(np.int64) == ids).tolist() == 4 * [True] + [False]
    monkeypatch.setattr(bridge, "LARGEST_ID", 14)
    with pytest.raises(
        ValueError, match=r"whole numbers up to 14 exactly.* ids run to 15\. Re-label"
    ):
        replay_buffer(points.log, seed=0)
    assert replay_buffer(points, seed=0).dataset_info.action_size == 2
    monkeypatch.setattr(bridge, "LARGEST_ID", 15)
    assert replay_buffer(points.log, seed=0).dataset_info.action_size == 16


# --- other logs


def decisions(maze_log: Log, terminated: bool) -> Log:
    """Every row is an episode of its own."""
    n = len(maze_log)
    return replace(
        maze_log,
        terminated=np.full(n, terminated),
        truncated=np.full(n, not terminated),
        has_next=np.full(n, not terminated),
        episode_offsets=np.arange(n + 1),
        episode_ids=np.arange(n),
    )


@pytest.mark.parametrize("terminated", [False, True])
def test_logs_of_single_decisions(terminated: bool, maze_log: Log) -> None:
    log = decisions(maze_log, terminated)
    data = replay_buffer(log, seed=0)
    assert data.transition_count == data.size() == len(log)
    batch = transition_batch(data.buffer.steps, np.arange(len(log)))
    assert (batch.terminals == terminated).all() and not batch.next_actions.any()
    ahead = np.zeros_like(log.observations) if terminated else log.next_observations
    assert np.array_equal(batch.next_observations, ahead)
    assert [t.rewards_to_go.shape for t in batch.transitions[:3]] == [(1, 1)] * 3
    assert data.sample_trajectory_batch(5, 4).masks.sum() == 5
    with seeded(0):
        algo = DiscreteCQLConfig(**SMALL, encoder_factory=NETS).create(device="cpu:0")
        algo.fit(data, n_steps=2, n_steps_per_epoch=2, **QUIET)


def test_a_log_without_a_usable_row_is_refused(maze_log: Log) -> None:
    log = replace(decisions(maze_log, False), has_next=np.zeros(len(maze_log), bool))
    with pytest.raises(ValueError, match="none has a next observation and none terminates"):
        replay_buffer(log, seed=0)


@BOTH
@pytest.mark.parametrize("small", [0, 1 << 26], ids=["released", "kept"])
def test_a_store_gives_what_memory_gives(
    of_points: bool,
    small: int,
    cut: Relabelled,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mapped, "_SMALL", small)
    write_store(cut.log, tmp_path / "store")
    np.save(tmp_path / "points.npy", cut.points)
    log = open_store(tmp_path / "store")
    filed = Relabelled(log, cut.representation, np.load(tmp_path / "points.npy", mmap_mode="r"))
    one = replay_buffer(either(cut, of_points), seed=5)
    other = replay_buffer(filed if of_points else log, seed=5)
    for _ in range(3):
        left, right = one.sample_transition_batch(100), other.sample_transition_batch(100)
        assert all(np.array_equal(getattr(left, k), getattr(right, k)) for k in COLUMNS)
        sliced = one.sample_trajectory_batch(5, 4), other.sample_trajectory_batch(5, 4)
        assert np.array_equal(sliced[0].returns_to_go, sliced[1].returns_to_go)
        assert np.array_equal(sliced[0].observations, sliced[1].observations)
    pairs = zip(one.episodes, other.episodes, strict=True)
    assert all(np.array_equal(mine.actions, twin.actions) for mine, twin in pairs)


# --- files, and what is refused


@BOTH
def test_what_is_dumped_comes_back(of_points: bool, cut: Relabelled) -> None:
    data = replay_buffer(either(cut, of_points), seed=0)
    file = io.BytesIO()
    data.dump(file)
    file.seek(0)
    loaded = ReplayBuffer.load(file, InfiniteBuffer())
    assert loaded.transition_count == data.transition_count
    for mine, back in zip(data.episodes, loaded.episodes, strict=True):
        assert np.array_equal(mine.observations, back.observations)
        assert np.array_equal(mine.actions, back.actions)
        assert np.array_equal(mine.rewards, back.rewards)
        assert mine.terminated == back.terminated


def test_a_dump_states_the_space(cut: Relabelled, tmp_path: Path) -> None:
    data = replay_buffer(cut.log, seed=0)
    with (tmp_path / "log.h5").open("w+b") as file:
        data.dump(file)
    assert read_d3rlpy(tmp_path / "log.h5").dataset_info.action_size == 16


def test_what_would_change_the_log_is_refused(maze_log: Log) -> None:
    data = replay_buffer(maze_log, seed=0)
    refused: list[Callable[[], Any]] = [
        lambda: data.append(np.zeros(3), 0, 0.0),
        lambda: data.append_episode(data.episodes[0]),
        lambda: data.clip_episode(True),
        lambda: data.buffer.append(data.episodes[0], 0),
    ]
    for call in refused:
        with pytest.raises(NotImplementedError, match=r"does not grow.*MixedReplayBuffer"):
            call()
    for make in (ColumnarReplayBuffer.load, ColumnarReplayBuffer.from_episode_generator):
        with pytest.raises(NotImplementedError, match=r"replay_buffer\(log, seed=0\)"):
            make(io.BytesIO(), InfiniteBuffer())
    assert data.transition_count == len(maze_log)
