"""Ids as logged and dense indices; which actions a row may choose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_actrep.core import actions
from offline_actrep.core.actions import ActionSet, AllowedActions, refuse_empty

HOLES = ActionSet(np.array([40, 7, 1000]))
WORDS = ActionSet.of(["tea", "milk", "tea", "bread"])


def test_ids_keep_their_order_and_the_index_is_the_position() -> None:
    assert HOLES.encode([1000, 40, 7, 40]).tolist() == [2, 0, 1, 0]
    assert HOLES.decode(np.array([2, 0])).tolist() == [1000, 40]
    assert len(HOLES) == 3


def test_of_takes_the_distinct_ids_in_ascending_order() -> None:
    assert WORDS.ids.tolist() == ["bread", "milk", "tea"]
    assert ActionSet.of(np.array([9, -2, 9], np.int16)).ids.tolist() == [-2, 9]
    assert ActionSet.dense(3).ids.tolist() == [0, 1, 2]


@given(st.sets(st.integers(-(2**63), 2**63 - 1), min_size=1), st.data())
def test_decode_undoes_encode_for_integers(ids: set[int], data: st.DataObject) -> None:
    action_set = ActionSet(np.array(data.draw(st.permutations(sorted(ids))), np.int64))
    logged = data.draw(st.lists(st.sampled_from(sorted(ids))))
    assert action_set.decode(action_set.encode(logged)).tolist() == logged


# numpy's strings of fixed width lose trailing nulls; no text column has them.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.sets(TEXT, min_size=1), st.data())
def test_decode_undoes_encode_for_strings(ids: set[str], data: st.DataObject) -> None:
    action_set = ActionSet.of(sorted(ids))
    logged = data.draw(st.lists(st.sampled_from(sorted(ids)), min_size=1))
    assert action_set.decode(action_set.encode(logged)).tolist() == logged


def test_an_unknown_id_is_named_with_its_row() -> None:
    message = r"action 41 in row 1 is not one of the 3 actions 7\.\.1000"
    with pytest.raises(ValueError, match=message):
        HOLES.encode([40, 41, 42])
    with pytest.raises(ValueError, match="action 'beer' in row 0 is not one of the 3 actions"):
        WORDS.encode(["beer"])
    with pytest.raises(ValueError, match="action '7' in row 0"):
        HOLES.encode(["7"])


def test_find_says_which_ids_are_known() -> None:
    index, known = HOLES.find([1000, 8, 7, 2000])
    assert known.tolist() == [True, False, True, False]
    assert index.tolist() == [2, 0, 1, 0]
    assert not HOLES.find(["40"])[1].any()
    assert HOLES.find([])[0].shape == (0,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActionSet(np.array([], np.int64)), "at least one action id"),
        (lambda: ActionSet(np.array([3, 5, 3])), "id 3 stands more than once"),
        (lambda: ActionSet(np.array(["a", "b", "a"])), "id 'a' stands more than once"),
        (lambda: ActionSet(np.array([0.5, 1.0])), "integers or strings, got float64"),
        (lambda: ActionSet(np.array([True, False])), "integers or strings, got bool"),
        (lambda: ActionSet(np.array(["a", 1], object)), "integers or strings, got object"),
        (lambda: ActionSet(np.array([2**63], np.uint64)), "9223372036854775808 does not fit"),
        (lambda: ActionSet(np.arange(3), names=("one",)), "3 action ids need 3 names, got 1"),
        (
            lambda: ActionSet(np.arange(3), features=np.zeros((2, 4), np.float32)),
            "one row an action: expected 3, got 2",
        ),
        (
            lambda: ActionSet(
                np.array(["a", "b"]), features=np.array([[0, 1], [np.nan, 2]], np.float32)
            ),
            r"feature 0 of action 'b' \(place 1\) is nan: features must be finite",
        ),
    ],
)
def test_what_is_no_action_set_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_set_does_not_change_under_its_user() -> None:
    action_set = ActionSet(np.arange(2), features=np.zeros((2, 1), np.float32))
    for column in (action_set.ids, action_set.features):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_same_as_compares_ids_and_their_order() -> None:
    assert HOLES.same_as(ActionSet(np.array([40, 7, 1000]), names=("a", "b", "c")))
    assert not HOLES.same_as(ActionSet(np.array([7, 40, 1000])))
    assert not HOLES.same_as(ActionSet(np.array([40, 7])))
    assert not ActionSet(np.array(["1", "2"])).same_as(ActionSet(np.array([1, 2])))


ALLOWED = AllowedActions(np.array([0, 2, 2, 5]), np.array([1, 3, 0, 2, 3]))
MASK = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool)


def test_rows_and_mask_by_hand() -> None:
    assert len(ALLOWED) == 3
    assert [ALLOWED.row(n).tolist() for n in range(3)] == [[1, 3], [], [0, 2, 3]]
    np.testing.assert_array_equal(ALLOWED.mask(4), MASK)
    assert ALLOWED.mask(6).shape == (3, 6)


def test_a_row_that_allows_nothing_is_named() -> None:
    assert ALLOWED.counts.tolist() == [2, 0, 3]
    with pytest.raises(ValueError, match="row 1 has an empty set of allowed actions; give it"):
        refuse_empty(ALLOWED.counts > 0)
    refuse_empty(ALLOWED.take(np.array([2, 0])).counts > 0)
    refuse_empty(np.ones(0, bool))


def test_holds_looks_into_its_own_row_only() -> None:
    assert ALLOWED.holds(np.array([3, 3, 1])).tolist() == [True, False, False]
    assert ALLOWED.holds(np.array([0, 0, 0])).tolist() == [False, False, True]


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 1000])
def test_sets_looked_at_some_at_a_time_are_those_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    mask = np.random.default_rng(0).random((30, 6)) < 0.4
    mask[[0, 7, 8, 29]] = False
    allowed, taken = AllowedActions.of_mask(mask), np.arange(30) % 6
    monkeypatch.setattr(actions, "_INDICES_AT_ONCE", at_once)
    np.testing.assert_array_equal(allowed.holds(taken), mask[np.arange(30), taken])
    np.testing.assert_array_equal(allowed.within(5), ~mask[:, 5])
    below = AllowedActions(allowed.offsets, allowed.indices - 1)
    np.testing.assert_array_equal(below.within(6), ~mask[:, 0])


def test_take_names_rows_in_any_order_and_twice() -> None:
    taken = ALLOWED.take(np.array([2, 0, 2, 1]))
    np.testing.assert_array_equal(taken.mask(4), MASK[[2, 0, 2, 1]])


def test_take_may_name_no_row_or_empty_ones() -> None:
    assert len(ALLOWED.take(np.array([], np.int64))) == 0
    empty = ALLOWED.take(np.array([1, 1]))
    assert empty.offsets.tolist() == [0, 0, 0] and len(empty.indices) == 0


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=9))
def test_a_mask_comes_back_from_its_compressed_rows(rows: list[list[bool]]) -> None:
    mask = np.array(rows, bool)
    np.testing.assert_array_equal(AllowedActions.of_mask(mask).mask(5), mask)


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([1, 2], "from 0 to 2, the number of indices"),
        ([0, 1], "from 0 to 2"),
        ([], "from 0 to 2"),
        ([0, 2, 1, 2], "offsets fall at row 1"),
    ],
)
def test_broken_offsets_are_refused(offsets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AllowedActions(np.array(offsets, np.int64), np.array([0, 1]))


def test_another_list_is_refused_with_the_first_difference() -> None:
    ids = np.array([7, 40, 1000])
    ActionSet(ids).must_equal(ActionSet(ids), "the policy", "the log")
    with pytest.raises(ValueError, match="the policy knows 3 actions, the log has 2"):
        ActionSet(ids).must_equal(ActionSet(ids[:2]), "the policy", "the log")
    with pytest.raises(ValueError, match="they part at place 1: 40 and 41"):
        ActionSet(ids).must_equal(ActionSet(np.array([7, 41, 1000])), "one", "other")
    for text in ("01", "1"):
        with pytest.raises(ValueError, match=f"ids like 1, the other like '{text}'; write both as"):
            ActionSet(np.array([1])).must_equal(ActionSet(np.array([text])), "one", "other")


def test_rows_between_and_within() -> None:
    allowed = AllowedActions(np.array([0, 2, 2, 3, 5]), np.array([0, 4, 1, -1, 2]))
    part = allowed.between(1, 4)
    assert (part.offsets.tolist(), part.indices.tolist()) == ([0, 0, 1, 3], [1, -1, 2])
    assert allowed.within(5).tolist() == [True, True, True, False]
    assert allowed.within(4).tolist() == [False, True, True, False]
    assert allowed.between(2, 2).within(1).tolist() == []


def test_checked_offsets_are_looked_at_at_their_ends_alone() -> None:
    falling = np.array([0, 2, 1, 3])
    AllowedActions(falling, np.array([0, 1, 2]), checked=True)
    with pytest.raises(ValueError, match="offsets must run from 0 to 2"):
        AllowedActions(falling, np.array([0, 1]), checked=True)
    with pytest.raises(ValueError, match="offsets fall at row 1"):
        AllowedActions(falling, np.array([0, 1, 2]))
