"""Logs of every shape, and what tests of the store share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
TIMES = ["<i8", "<i4", "|u1", "<f8", "<f4", "<U4", "<M8[D]", "<M8[us]"]


@st.composite
def makers(draw: st.DrawFn) -> Callable[[], Log]:
    """What makes a log of up to 30 rows with whatever a log may have."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, size = sum(lengths), draw(st.integers(1, 4))
    numbers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6, unique=True)
    ids = draw(numbers | st.lists(NAMES, min_size=1, max_size=6, unique=True))
    names = tuple(draw(NAMES) for _ in ids)
    episodes = draw(st.none() | st.lists(NAMES, min_size=len(lengths), max_size=len(lengths)))
    times = random.integers(100, size=n).astype(draw(st.sampled_from(TIMES)))
    splits = np.array(["train", "hold-out"])[random.integers(2, size=n)]
    features = random.standard_normal((len(ids), 2), np.float32)
    has = draw(st.lists(st.booleans(), min_size=8, max_size=8))
    ends = np.zeros(n, bool)
    ends[np.cumsum(lengths) - 1] = True
    terminated = ends & (random.random(n) < 0.5)
    actions = random.integers(len(ids), size=n)
    mask = random.random((n, len(ids))) < 0.5
    mask[np.arange(n), actions] = True

    def make() -> Log:
        action_set = ActionSet(
            ids=np.array(ids, np.int64 if isinstance(ids[0], int) else np.str_),
            names=names if has[0] else (),
            features=features if has[1] else None,
            feature_names=("a", "b") if has[1] and has[2] else (),
        )
        return Log(
            action_set=action_set,
            observations=random.standard_normal((n, size), np.float32) * 10,
            actions=actions,
            rewards=random.standard_normal(n, np.float32),
            terminated=terminated,
            truncated=ends & ~terminated,
            next_observations=random.standard_normal((n, size), np.float32),
            has_next=~ends | (random.random(n) < 0.5),
            episode_offsets=np.append(0, np.cumsum(lengths)),
            episode_ids=np.arange(len(lengths)) - 3 if episodes is None else np.array(episodes),
            action_probabilities=1 - random.random(n) if has[3] else None,
            allowed=AllowedActions.of_mask(mask) if has[4] else None,
            timestamps=times if has[5] else None,
            splits=splits if has[6] else None,
            observation_names=tuple(f"o{i}" for i in range(size)) if has[7] else (),
        )

    return make  # outside of the strategy: shape checks draw from Python's `random`


def small_log(n_actions: int = 3, n_episodes: int = 6, seed: int = 0) -> Log:
    """Every optional column is there; ids, episodes and splits are strings of many lengths."""
    random = np.random.default_rng(seed)
    lengths = np.arange(n_episodes) % 3 + 1
    n = int(lengths.sum())
    last = np.zeros(n, bool)
    last[np.cumsum(lengths) - 1] = True
    actions = random.integers(n_actions, size=n)
    mask = random.random((n, n_actions)) < 0.5
    mask[np.arange(n), actions] = True
    observations = random.standard_normal((n, 2), np.float32)
    return Log(
        action_set=ActionSet(np.array(["b", "é" * 9, "aa", *map(str, range(3, n_actions))])),
        observations=observations,
        actions=actions,
        rewards=random.standard_normal(n, np.float32),
        terminated=last & (np.arange(n) % 2 == 0),
        truncated=last & (np.arange(n) % 2 == 1),
        next_observations=np.roll(observations, -1, axis=0),
        has_next=~last,
        episode_offsets=np.append(0, np.cumsum(lengths)),
        episode_ids=np.array(["e" * (k + 1) for k in range(n_episodes)]),
        action_probabilities=np.full(n, 0.25),
        allowed=AllowedActions.of_mask(mask),
        timestamps=np.arange(n),
        splits=np.array(["train", "hold-out"])[random.integers(2, size=n)],
        observation_names=("x", "y"),
    )


def same(one: Log, other: Log) -> bool:
    """Equal in all that a log holds."""
    these, those = one.action_set, other.action_set
    return (
        one.fingerprint == other.fingerprint
        and these.same_as(those)
        and these.names == those.names
        and these.feature_names == those.feature_names
        and (these.features is None) == (those.features is None)
        and (these.features is None or np.array_equal(these.features, those.features))
        and one.episode_ids.tolist() == other.episode_ids.tolist()
        and one.observation_names == other.observation_names
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing waits for the disk."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    yield
