"""Open Bandit: one row an impression, propensities as logged, both forms of the files alike."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.open_bandit import read_open_bandit

AT = datetime(2019, 11, 25, 6, 0, 0, 250_000, UTC)  # a Monday
# policy, item, position, click, propensity, hash of user_feature_0, affinity to item 1
ROWS = [
    ("random", 0, 1, 0, 0.5, "aa", 0.0),
    ("random", 1, 3, 1, 0.5, "bb", 3.0),
    ("bts", 1, 2, 0, 0.9, "cc", 0.0),
    ("bts", 0, 2, 1, 1e-6, "aa", 1.0),
]


def impressions(rows: list = ROWS) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "behavior_policy": policy,
            "campaign": "men",
            "timestamp": AT + timedelta(seconds=k),
            "item_id": item,
            "position": position,
            "click": click,
            "propensity_score": chance,
            "user_feature_0": user,
            **{f"user_feature_{f}": "u" for f in (1, 2, 3)},
            "user-item_affinity_0": 0.0,
            "user-item_affinity_1": affinity,
        }
        for k, (policy, item, position, click, chance, user, affinity) in enumerate(rows)
    )


def items() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "campaign": "men",
            "item_id": item,
            "item_feature_0": -0.5 + item,
            "item_feature_1": "x",
            "item_feature_2": "y" if item else "z",
            "item_feature_3": "w",
        }
        for item in (1, 0)
    )


def together(
    folder: Path, rows: pl.DataFrame | None = None, catalogue: pl.DataFrame | None = None
) -> Path:
    """Impressions and items in a table each; another campaign has more items."""
    rows = impressions() if rows is None else rows
    catalogue = items() if catalogue is None else catalogue
    other = rows.head(1).with_columns(campaign=pl.lit("all"), item_id=pl.lit(2, pl.Int64))
    pl.concat([other.with_columns(pl.lit(0.0).alias("user-item_affinity_1")), rows]).with_columns(
        pl.lit(None, pl.Float64).alias("user-item_affinity_2")
    ).write_parquet(folder / "obd_sample.parquet")
    pl.concat([catalogue.with_columns(campaign=pl.lit("all")), catalogue]).write_parquet(
        folder / "obd_item_context.parquet"
    )
    return folder


def published(folder: Path, policy: str) -> Path:
    place = folder / policy / "men"
    place.mkdir(parents=True)
    mine = impressions().filter(pl.col("behavior_policy") == policy)
    mine.drop("behavior_policy", "campaign").with_columns(
        pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S%.6f+00:00")
    ).with_row_index("").write_csv(place / "men.csv")
    items().drop("campaign").with_row_index("").write_csv(place / "item_context.csv")
    return folder


def test_an_impression_by_hand(
    tmp_path: Path, state: Callable, keeps_the_rules: Callable[[Log], None]
) -> None:
    log = read_open_bandit(together(tmp_path), campaign="men")
    keeps_the_rules(log)
    assert log.lengths.tolist() == [1, 1]
    assert log.terminated.all()
    assert not log.has_next.any()
    assert log.actions.tolist() == [0, 1]
    assert log.rewards.tolist() == [0, 1]
    assert log.action_probabilities is not None
    assert log.action_probabilities.tolist() == [0.5, 0.5]
    assert log.timestamps is not None
    assert log.timestamps[0] == np.datetime64("2019-11-25T06:00:00.250000")
    second = state(log, 1)
    assert second.pop("hour_sin") == pytest.approx(1)
    second.pop("hour_cos", None)
    assert second == pytest.approx(
        {
            "position=3": 1,
            "user_feature_0=bb": 1,
            "user_feature_1=u": 1,
            "user_feature_2=u": 1,
            "user_feature_3=u": 1,
            "log_affinity_1": np.log(4),
            "weekday_cos": 1,
        }
    )


def test_items_have_features(tmp_path: Path) -> None:
    actions = read_open_bandit(together(tmp_path), campaign="men").action_set
    assert actions.ids.tolist() == [0, 1]
    assert actions.features is not None
    rows = [dict(zip(actions.feature_names, row, strict=True)) for row in actions.features]
    assert rows[0]["item_feature_0"] == -0.5
    assert rows[0]["item_feature_2=z"] == rows[1]["item_feature_2=y"] == 1


def test_two_policies_share_columns_where_they_are_read_together(tmp_path: Path) -> None:
    folder = together(tmp_path)
    log = read_open_bandit(folder, behavior_policy="both", campaign="men")
    assert log.splits is not None
    assert log.splits.tolist() == ["random", "random", "bts", "bts"]
    alone = read_open_bandit(folder, behavior_policy="bts", campaign="men")
    assert {n for n in log.observation_names if n.startswith("user_feature_0")} == {
        "user_feature_0=aa", "user_feature_0=bb", "user_feature_0=cc"
    }  # fmt: skip
    assert alone.observation_size == log.observation_size - 1
    assert log.action_probabilities is not None
    assert log.action_probabilities[3] == 1e-6


@pytest.mark.parametrize("policy", ["random", "bts", "both"])
def test_the_published_files_are_read_alike(tmp_path: Path, policy: str) -> None:
    folder = published(published(tmp_path / "csv", "random"), "bts")
    csv = read_open_bandit(folder, behavior_policy=policy, campaign="men")
    table = read_open_bandit(together(tmp_path), behavior_policy=policy, campaign="men")
    assert csv.fingerprint == table.fingerprint


def test_the_state_does_not_know_item_and_click(tmp_path: Path) -> None:
    one = read_open_bandit(together(tmp_path), campaign="men")
    changed = impressions([("random", 1, 1, 1, 0.5, "aa", 0.0), *ROWS[1:]])
    other = read_open_bandit(together(tmp_path, changed), campaign="men")
    assert (one.actions[0], one.rewards[0]) != (other.actions[0], other.rewards[0])
    assert np.array_equal(one.observations, other.observations)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("propensity_score", 0.0, "expected a probability above 0, got 0.0"),
        ("propensity_score", 1.5, "at most 1, got 1.5"),
        ("propensity_score", float("nan"), "a finite number, at most 1, got nan"),
        ("position", 4, "at most 3, got 4"),
        ("click", 2, "one of 0, 1, got 2"),
        ("item_id", 7, "expected an item of this campaign in obd_item_context.parquet, got 7"),
        ("user_feature_0", None, "expected text of at most 300 characters, got nothing"),
        ("user-item_affinity_1", None, "expected a finite number, got nothing"),
        ("user-item_affinity_1", -1.0, "at least 0"),
        ("behavior_policy", "ucb", "one of 'random', 'bts', got 'ucb'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, column: str, value: object, said: str) -> None:
    rows = impressions()
    cells = rows[column].to_list()
    cells[1] = value
    folder = together(tmp_path, rows.with_columns(pl.Series(column, cells, rows[column].dtype)))
    with pytest.raises(ValueError) as refused:
        read_open_bandit(folder, campaign="men")
    assert f"obd_sample.parquet, column '{column}', row 2: " in str(refused.value)
    assert said in str(refused.value)


def test_other_faults(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no obd_sample\.parquet or random/all/all\.csv"):
        read_open_bandit(tmp_path)
    with pytest.raises(ValueError, match="behavior_policy must be one of random, bts, both"):
        read_open_bandit(tmp_path, behavior_policy="ucb")
    together(tmp_path)
    with pytest.raises(ValueError, match="no item of the campaign 'women'"):
        read_open_bandit(tmp_path, campaign="women")
    with pytest.raises(ValueError, match="has no row of bts/all; it has bts/men, random/all"):
        read_open_bandit(tmp_path, campaign="all", behavior_policy="bts")
    together(tmp_path, None, pl.concat([items(), items()]))
    with pytest.raises(ValueError, match="expected each once a campaign, got 1"):
        read_open_bandit(tmp_path, campaign="men")
    folder = published(published(tmp_path / "csv", "random"), "bts")
    context = folder / "bts" / "men" / "item_context.csv"
    context.write_text(context.read_text().replace("-0.5", "-0.25"))
    with pytest.raises(ValueError, match="the item tables of random and bts differ"):
        read_open_bandit(folder, campaign="men", behavior_policy="both")


def test_the_real_files(real_data: Path, keeps_the_rules: Callable[[Log], None]) -> None:
    for campaign, n_items in (("all", 80), ("men", 34), ("women", 46)):
        log = read_open_bandit(real_data, behavior_policy="both", campaign=campaign)
        keeps_the_rules(log)
        assert (len(log), log.n_episodes, len(log.action_set)) == (20_000, 20_000, n_items)
        assert log.action_probabilities is not None
        assert log.splits is not None
        uniform = log.action_probabilities[log.splits == "random"]
        assert np.allclose(uniform, 1 / n_items)
