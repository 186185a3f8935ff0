"""Places numbered without gaps, and which rows of a log can be learnt from."""

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from stored import makers

from offline_actrep.core.log import Log
from offline_actrep.offline.numbering import Numbering, usable_rows


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_numbers_and_places_are_each_others_inverse(kept: list[bool]) -> None:
    places = np.flatnonzero(kept)
    numbering = Numbering(len(kept), np.flatnonzero(~np.array(kept)))
    assert len(numbering) == len(places)
    numbers = np.arange(len(places))
    assert np.array_equal(numbering.places(numbers), places)
    assert np.array_equal(numbering.places(numbers[::-1]), places[::-1])
    assert np.array_equal(numbering.before(places), numbers)
    every = np.arange(len(kept) + 1)
    assert np.array_equal(numbering.before(every), np.cumsum([0, *kept]))


@given(makers())
def test_usable_rows_know_what_follows(make: Callable[[], Log]) -> None:
    log = make()
    rows = np.flatnonzero(log.usable)
    found = usable_rows(log, sets=False)
    assert np.array_equal(found.places(np.arange(len(found))), rows)
    bound = usable_rows(log, sets=True)
    inside = rows[~log.truncated[rows]]
    assert np.array_equal(bound.places(np.arange(len(bound))), inside)
