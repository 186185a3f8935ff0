"""MultiWOZ: states by hand, nothing of the answer in them, goals scored, broken tables refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.multiwoz import STATE_NAMES, read_multiwoz

HOTEL = {"area": "east", "stars": "4"}
GOAL = {
    "hotel": {"info": HOTEL, "reqt": [], "book": {"people": "2"}},
    "taxi": {"info": {}, "reqt": ["phone"]},
    "train": {"info": {"day": "monday"}},
}
# user acts, system acts, belief after the system has spoken
AFTER = {
    "hotel": {"semi": HOTEL, "book": {"people": "2", "booked": [{}]}},
    "taxi": {"book": {"booked": [{}]}},
}
DIALOGUE: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    (
        {"Hotel-Inform": [["Area", "east"], ["Stars", "4"]], "general-greet": [["none", "none"]]},
        "Hotel-Inform[Choice,Name];Hotel-Request[Price]",
        {"hotel": {"semi": HOTEL | {"name": "the lodge"}}},
    ),
    (
        {
            "Hotel-Inform": [["Stars", "do n't care"], ["People", "2"]],
            "Taxi-Request": [["Phone", "?"]],
        },
        "Booking-Book[Ref]",
        {"hotel": {"semi": HOTEL | {"name": "the lodge"}, "book": AFTER["hotel"]["book"]}},
    ),
    ({}, "Taxi-Inform[Car,Phone]", AFTER),
    ({"general-bye": [["none", "none"]]}, "Train-Inform[Id];general-bye[none]", AFTER),
]


def table(turns: list[tuple[dict, str, dict]] = DIALOGUE, name: str = "D1") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "split": "val",
            "dialogue_id": name,
            "turn": turn,
            "goal_json": json.dumps(GOAL) if turn == 0 else None,
            "user_act_json": json.dumps(said),
            "system_act": acts,
            "belief_state_json": json.dumps(belief),
            "done": turn == len(turns) - 1,
        }
        for turn, (said, acts, belief) in enumerate(turns)
    )


def write(folder: Path, *frames: pl.DataFrame) -> Path:
    pl.concat(frames).write_parquet(folder / "turns.parquet")
    return folder


def test_states_by_hand(
    tmp_path: Path, state: Callable, keeps_the_rules: Callable[[Log], None]
) -> None:
    log = read_multiwoz(write(tmp_path, table()))
    keeps_the_rules(log)
    assert log.observation_names == STATE_NAMES
    assert set(state(log, 0)) == {
        "hotel area filled", "hotel stars filled", "hotel active",
        "user informs hotel area", "user informs hotel stars", "user general-greet",
    }  # fmt: skip
    second = state(log, 1)
    assert second.pop("log_turn") == pytest.approx(np.log(2))
    assert set(second) == {
        "hotel area filled", "hotel stars any", "hotel name filled", "hotel active",
        "hotel book people", "user informs hotel stars", "user informs hotel people",
        "taxi active", "taxi wants phone", "user requests taxi phone",
        "system Hotel-Inform", "system Hotel-Request",
    }  # fmt: skip
    third = state(log, 2)
    assert "hotel booked" in third
    assert "taxi wants phone" in third
    assert "taxi booked" not in third  # it is booked in this very turn
    assert "user requests taxi phone" not in third
    assert "taxi wants phone" not in state(log, 3)


def test_a_dialogue_is_an_episode_and_acts_are_actions(tmp_path: Path) -> None:
    short = table([(*DIALOGUE[0][:1], "", DIALOGUE[0][2]), DIALOGUE[1]], "D2")
    log = read_multiwoz(write(tmp_path, table(), short))
    assert log.lengths.tolist() == [4, 2]
    assert log.episode_ids.tolist() == ["D1", "D2"]
    assert log.terminated.tolist() == [False, False, False, True, False, True]
    assert log.splits is not None
    assert set(log.splits) == {"val"}
    assert log.action_probabilities is None
    actions = log.action_set
    assert actions.decode(log.actions[4:]).tolist() == ["", "Booking-Book[Ref]"]
    assert actions.names[0] == "nothing annotated"
    assert actions.features is not None
    assert actions.features[0].sum() == 0
    taxi = actions.features[actions.encode(["Taxi-Inform[Car,Phone]"])[0]]
    told = {name for name, bit in zip(actions.feature_names, taxi, strict=True) if bit}
    assert told == {"Taxi-Inform[Car]", "Taxi-Inform[Phone]"}


def test_parts_of_the_goal_earn_once(tmp_path: Path) -> None:
    """Three parts: a hotel booking, the taxi's phone number, a train that is offered."""
    folder = write(
        tmp_path, table([*DIALOGUE[:3], DIALOGUE[2], DIALOGUE[3]]), table(DIALOGUE[:2], "D2")
    )
    log = read_multiwoz(folder)
    third = pytest.approx(1 / 3)
    assert log.rewards.tolist() == [0, third, third, 0, third, 0, third]
    log = read_multiwoz(folder, reward="success")
    assert log.rewards.tolist() == [0, 0, 0, 0, 1, 0, 0]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_state_does_not_know_the_answer(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Other acts, another belief after them, another reward: the row's own state is the same."""
    folder = tmp_path_factory.mktemp("multiwoz")
    row = data.draw(st.integers(0, 3))
    acts = data.draw(st.sampled_from(["Hotel-Recommend[Name]", "", "Taxi-Inform[Phone]"]))
    slots = st.dictionaries(st.sampled_from(["name", "area", "type"]), st.text(max_size=5))
    belief = {
        "hotel": {"semi": data.draw(slots), "book": {"booked": data.draw(st.lists(st.just({})))}}
    }
    changed = [*DIALOGUE]
    changed[row] = (DIALOGUE[row][0], acts, belief)
    before = read_multiwoz(write(folder, table()))
    after = read_multiwoz(write(folder, table(changed)))
    assert after.action_set.ids[after.actions[row]] == acts
    assert np.array_equal(after.observations[: row + 1], before.observations[: row + 1])


@pytest.mark.parametrize(
    ("column", "row", "value", "said"),
    [
        ("user_act_json", 1, "{", "row 1: expected a JSON object"),
        ("user_act_json", 1, "[]", "row 1: expected a JSON object as MultiWOZ has it, got list"),
        ("user_act_json", 1, '{"Hotel-Inform": 3}', "row 1: expected a JSON object"),
        ("user_act_json", 1, '{"Hotel-Inform": [["Area"]]}', "row 1: expected a JSON object"),
        ("belief_state_json", 2, '{"hotel": 1}', "row 2: expected a JSON object"),
        ("belief_state_json", 2, '{"hotel": {"semi": 1}}', "row 2: expected a JSON object"),
        ("belief_state_json", 0, "[" * 50_000, "row 0: expected a JSON object"),
        ("system_act", 2, "Taxi-Inform[Phone", "row 2: expected acts written Domain-Intent"),
        ("system_act", 2, "Taxi-Inform[Phone];", "row 2: expected acts written Domain-Intent"),
        ("goal_json", 0, None, "row 0: expected the goal"),
        ("turn", 2, 3, "row 2: expected 0, then one more a row, got 3"),
        ("done", 3, False, "row 3: expected 1 in a dialogue's last turn"),
        ("done", 1, True, "row 1: expected 1 in a dialogue's last turn"),
        ("split", 1, None, "row 1: expected text"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, column: str, row: int, value: object, said: str
) -> None:
    frame = table()
    cells = frame[column].to_list()
    cells[row] = value
    folder = write(tmp_path, frame.with_columns(pl.Series(column, cells, frame[column].dtype)))
    with pytest.raises(ValueError, match=said) as refused:
        read_multiwoz(folder)
    assert f"turns.parquet, column '{column}'" in str(refused.value)


def test_a_dialogue_in_two_places_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no multiwoz_val_test_turns\.parquet or turns"):
        read_multiwoz(tmp_path)
    with pytest.raises(ValueError, match="expected a dialogue in one piece"):
        read_multiwoz(write(tmp_path, table(), table(name="D2"), table()))
    with pytest.raises(ValueError, match="reward must be one of goal, success; got 'sum'"):
        read_multiwoz(tmp_path, reward="sum")


def test_the_real_file(real_data: Path, keeps_the_rules: Callable[[Log], None]) -> None:
    log = read_multiwoz(real_data)
    keeps_the_rules(log)
    assert (len(log), log.n_episodes, len(log.action_set)) == (14_737, 1_999, 3_201)
    assert log.observation_size == len(STATE_NAMES) == 259
    assert log.returns.max() <= 1 + 1e-6
    assert log.returns.mean() == pytest.approx(0.962, abs=0.001)
    assert read_multiwoz(real_data, reward="success").returns.mean() == pytest.approx(
        0.895, abs=0.001
    )
