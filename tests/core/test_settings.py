"""Unknown settings are refused in one place."""

from dataclasses import dataclass

import pytest

from offline_actrep.core.settings import changed, refuse_unknown


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


def test_defaults_with_some_fields_changed() -> None:
    defaults = {"near": Config(), "far": Config(steps=9)}
    assert changed("place", "far", defaults, {"batch_size": 7}) == Config(steps=9, batch_size=7)
    assert defaults["far"] == Config(steps=9)
    with pytest.raises(ValueError, match="unknown place 'away'; there are near, far"):
        changed("place", "away", defaults, {})
    with pytest.raises(ValueError, match="far has no setting 'stepz'; near it: steps"):
        changed("place", "far", defaults, {"stepz": 1})
