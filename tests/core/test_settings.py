"""Settings that are unknown or out of range are refused in one place."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from offline_actrep.core.settings import changed, checked, refuse_unknown


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


@pydantic_dataclass(frozen=True, config={"extra": "forbid"})
class Strict:
    steps: Annotated[int, Field(ge=1)] = 1
    widths: tuple[int, ...] = (8,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, r"it, steps: should be greater than or equal to 1, got 0$"),
        ({"steps": "many"}, r"it, steps: should be a valid integer, .*, got 'many'$"),
        ({"widths": 8}, r"it, widths: should be a valid tuple, got 8$"),
        ({"steps": -1, "widths": (1, "x")}, r"it, steps: .* got -1; it, widths\.1: .* got 'x'$"),
        ({"step": 3}, r"it has no setting 'step'; near it: steps$"),
    ],
)
def test_a_value_that_a_field_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked("it", Strict, settings)
    with pytest.raises(ValueError, match=message):
        changed("thing", "it", {"it": Strict()}, settings)


def test_values_that_fit_are_taken() -> None:
    assert checked("it", Strict, {"steps": "7"}) == Strict(steps=7)
