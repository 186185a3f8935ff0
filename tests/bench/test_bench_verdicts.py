"""Claims: what the intervals say, and what they leave open."""

from dataclasses import replace

import numpy as np
import pytest

from offline_actrep.bench.plan import Claim
from offline_actrep.bench.verdicts import (
    FAILS,
    HOLDS,
    NOT_RUN,
    OPEN,
    above,
    on_a_log,
    on_a_sweep,
    short,
)
from offline_actrep.core.estimate import Estimate

CLAIM = Claim(text="it is best", better=("ours",), than=("a", "b"), tier="medium")


def at(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 5)


OURS, BELOW, NEAR, OVER = at(0.8, 0.9), at(0.1, 0.2), at(0.7, 0.85), at(0.95, 1.0)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (OURS, BELOW, HOLDS),
        (BELOW, OURS, FAILS),
        (OURS, NEAR, OPEN),
        (OURS, Estimate(0.1, -np.inf, np.inf, 1), OPEN),
        (OURS, OURS, OPEN),
        (OURS, replace(BELOW, n=2), OPEN),
        (replace(OURS, n=2), BELOW, OPEN),
        (replace(OURS, n=3), replace(BELOW, n=1), HOLDS),
    ],
)
def test_above(one: Estimate, other: Estimate, verdict: str) -> None:
    assert above(one, other) == verdict


@pytest.mark.parametrize(
    ("rivals", "verdict", "why", "against"),
    [
        ({"a": BELOW, "b": BELOW}, HOLDS, "above a", [HOLDS, HOLDS]),
        ({"a": BELOW, "b": NEAR}, OPEN, "not told from b", [HOLDS, OPEN]),
        ({"a": OVER, "b": NEAR}, FAILS, "below a", [FAILS, OPEN]),
        ({"a": BELOW}, OPEN, "not run: b", [HOLDS, NOT_RUN]),
    ],
)
def test_a_claim_on_a_log(
    rivals: dict[str, Estimate], verdict: str, why: str, against: list[str]
) -> None:
    (said,) = on_a_log(CLAIM, "maze-medium", {"ours": OURS} | rivals, ("ours", "a", "b"))
    assert said.verdict == verdict and why in said.why
    assert said.against == dict(zip("ab", against, strict=True))
    assert (said.where, said.better) == ("maze-medium", "ours")


def test_two_runs_are_told_and_decide_nothing() -> None:
    rivals = {"a": BELOW, "b": replace(BELOW, n=2)}
    (said,) = on_a_log(CLAIM, "w", {"ours": OURS} | rivals, ("ours", "a", "b"))
    assert said.verdict == OPEN
    assert "not told from b (0.15 [0.10, 0.20] of two runs); above a (0.15 [" in said.why


def test_what_the_bench_does_not_run_there_is_no_rival() -> None:
    (said,) = on_a_log(CLAIM, "w", {"ours": OURS, "a": BELOW}, ("ours", "a"))
    assert said.verdict == HOLDS and said.why.endswith("; not asked here: b")
    assert on_a_log(CLAIM, "w", {"a": BELOW}, ("a",)) == []
    assert on_a_log(CLAIM, "w", {"ours": OURS}, ("ours",)) == [], "none of the rivals is asked"


def test_a_method_that_was_not_run_leaves_it_open() -> None:
    (said,) = on_a_log(CLAIM, "w", {"a": BELOW}, ("ours", "a", "b"))
    assert said.verdict == OPEN and said.why == "ours was not run" and not said.against


FALLING = Claim(text="they fall", better=("ours",), than=("a",), falls_less=True)


@pytest.mark.parametrize(
    ("fall", "gap", "verdict", "falls", "loses"),
    [
        (at(0.1, 0.2), at(0.05, 0.1), HOLDS, "falls", "more than"),
        (at(0.1, 0.2), at(-0.1, 0.1), OPEN, "falls", "not told from"),
        (at(0.1, 0.2), at(-0.2, -0.1), FAILS, "falls", "less than"),
        (at(-0.2, -0.1), at(0.05, 0.1), FAILS, "rises", "more than"),
        (at(-0.1, 0.1), at(0.05, 0.1), OPEN, "is not told to fall", "more than"),
    ],
)
def test_a_claim_on_a_sweep(
    fall: Estimate, gap: Estimate, verdict: str, falls: str, loses: str
) -> None:
    declines = {"ours": at(0.0, 0.01), "a": fall}
    (said,) = on_a_sweep(FALLING, "maze, actuators", declines, {("a", "ours"): gap})
    assert said.verdict == verdict
    ends = f"a {falls} ({short(fall)}), {loses} ours (by {short(gap)})"
    assert said.why == f"ours loses {short(declines['ours'])}; {ends}"
    assert said.against == {"a": verdict}


def test_a_sweep_without_the_better_one_says_that_it_is_the_one_that_lacks() -> None:
    (said,) = on_a_sweep(FALLING, "maze, actuators", {"a": at(0.0, 0.01)}, {})
    assert said.verdict == OPEN and said.why == "ours was not run at every value"


def test_a_sweep_without_the_rival_leaves_it_open() -> None:
    (said,) = on_a_sweep(FALLING, "maze, actuators", {"ours": at(0.0, 0.01)}, {})
    assert said.verdict == OPEN and "not run: a" in said.why
    assert said.against == {"a": NOT_RUN}
