"""Unknown settings are refused in one place."""

from dataclasses import dataclass

import pytest

from offline_actrep.core.settings import refuse_unknown


@dataclass
class Config:
    steps: int = 1
    batch_size: int = 2


def test_a_field_passes() -> None:
    refuse_unknown("it", {"steps": 3}, Config)


def test_an_unknown_name_is_refused_with_the_near_one() -> None:
    with pytest.raises(ValueError, match=r"it has no setting 'step'; near it: steps$"):
        refuse_unknown("it", ["step"], Config)


def test_without_a_near_one_all_are_named() -> None:
    with pytest.raises(ValueError, match=r"'zzz'; near it: steps, batch_size$"):
        refuse_unknown("it", ["zzz"], Config)
