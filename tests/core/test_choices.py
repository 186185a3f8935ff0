"""What an actor chooses, counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_actrep.core.choices import choices


def test_choices_by_hand() -> None:
    """Two episodes, 7 7 3 and 3 7 7 7: the 3 that follows a 3 begins an episode."""
    actions = np.array([7, 7, 3, 3, 7, 7, 7])
    first = np.array([1, 0, 0, 1, 0, 0, 0], bool)
    assert choices(actions, first).as_dict() == {
        "distinct_actions": 2,
        "largest_share": 5 / 7,
        "repeated": 3 / 5,
    }


def test_episodes_of_one_decision_repeat_nothing() -> None:
    found = choices(np.array([4, 4, 4]), np.ones(3, bool))
    assert (found.distinct_actions, found.largest_share, found.repeated) == (1, 1.0, None)


@pytest.mark.parametrize(("actions", "first"), [([], []), ([1, 2], [False, True])])
def test_decisions_of_no_episode_are_refused(actions: list[int], first: list[bool]) -> None:
    with pytest.raises(ValueError, match="the first of them an episode's first"):
        choices(np.array(actions, np.int64), np.array(first, bool))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_shares_are_shares_and_names_do_not_matter(actions: list[int], data: st.DataObject) -> None:
    taken = np.array(actions, np.int64)
    first = np.array(data.draw(st.lists(st.booleans(), min_size=len(taken), max_size=len(taken))))
    first[0] = True
    found = choices(taken, first)
    assert 1 / len(taken) <= found.largest_share <= 1
    assert 1 <= found.distinct_actions <= len(taken)
    assert found.repeated is None if first.all() else 0 <= (found.repeated or 0.0) <= 1
    assert choices(100 - taken, first) == found
