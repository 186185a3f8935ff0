"""What the rows say of each claim: holds, does not hold, or cannot tell from the intervals.

On a log the two intervals must lie apart, which is stricter than to ask that the interval of their
difference lies above 0. In a sweep, where a claim is of two declines and of their difference, each
of the three has its interval.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from offline_actrep.bench.plan import Claim
from offline_actrep.core.estimate import Estimate

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot tell"
NOT_RUN = "not run"
TWO = 2
"""Runs whose interval decides nothing: its ends are hardly more than the runs themselves."""


@dataclass(frozen=True)
class Verdict:
    """One claim in one place.

    Attributes:
        claim: its words.
        where: the log, or the sweep.
        better: the method that is claimed to be better.
        why: the numbers that decide it, in words.
        against: the verdict of each rival, or `NOT_RUN`; empty where the better method lacks.
    """

    claim: str
    where: str
    better: str
    why: str
    against: Mapping[str, str]

    @property
    def verdict(self) -> str:
        """`FAILS` if it does so for one rival, `HOLDS` if all are told to be worse, else `OPEN`."""
        return _together(self.against)


def above(one: Estimate, other: Estimate) -> str:
    """Whether the whole interval lies above the other's; one over two runs leaves it open."""
    if TWO in (one.n, other.n):
        return OPEN
    if one.low > other.high:
        return HOLDS
    return FAILS if one.high < other.low else OPEN


def on_a_log(
    claim: Claim, where: str, found: Mapping[str, Estimate], asked: Collection[str]
) -> list[Verdict]:
    """A verdict a method that is claimed to be better.

    Args:
        found: interquartile means by method, `behaviour` among them.
        asked: what should be there; methods that the bench does not run here are no rivals, and
            are named.

    Returns:
        Nothing where the bench runs none of the rivals, or none of the better ones.
    """
    said, rivals = [], [rival for rival in claim.than if rival in asked]
    absent = [rival for rival in claim.than if rival not in asked]
    for better in filter(asked.__contains__, claim.better if rivals else ()):
        if better not in found:
            said.append(Verdict(claim.text, where, better, f"{better} was not run", {}))
            continue
        against = {
            rival: above(found[better], found[rival]) if rival in found else NOT_RUN
            for rival in rivals
        }
        parts = [f"{better} {short(found[better])}"]
        for verdict, words in _COMPARED.items():
            named = [f"{r} ({short(found[r])})" for r in against if against[r] == verdict]
            parts += [f"{words} {', '.join(named)}"] if named else []
        parts += _left_out(against, absent)
        said.append(Verdict(claim.text, where, better, "; ".join(parts), against))
    return said


def on_a_sweep(
    claim: Claim,
    where: str,
    declines: Mapping[str, Estimate],
    gaps: Mapping[tuple[str, str], Estimate],
) -> list[Verdict]:
    """Whether the rivals fall with the number of actions, and the better method less than each.

    Args:
        declines: what each method loses a doubling.
        gaps: how much more the first of a pair loses than the second.
    """
    said = []
    for better in claim.better:
        if better not in declines:
            absent = f"{better} was not run at every value"
            said.append(Verdict(claim.text, where, better, absent, {}))
            continue
        against = dict.fromkeys(claim.than, NOT_RUN)
        parts = [f"{better} loses {short(declines[better])}"]
        for rival in claim.than:
            if (rival, better) in gaps:
                falls = above(declines[rival], _NOTHING)
                less = above(gaps[rival, better], _NOTHING)
                against[rival] = _together({"falls": falls, "less": less})
                parts.append(
                    f"{rival} {_FALLS[falls]} ({short(declines[rival])}), {_LOSES[less]} "
                    f"{better} (by {short(gaps[rival, better])})"
                )
        parts += _left_out(against, [])
        said.append(Verdict(claim.text, where, better, "; ".join(parts), against))
    return said


def short(found: Estimate) -> str:
    """In two decimals; no interval where it is not known, and a word if it is of two runs."""
    ends = f" [{found.low:.2f}, {found.high:.2f}]" if isfinite(found.low) else ""
    return f"{found.value:.2f}{ends}{' of two runs' if found.n == TWO else ''}"


def _together(against: Mapping[str, str]) -> str:
    if FAILS in against.values():
        return FAILS
    return HOLDS if set(against.values()) == {HOLDS} else OPEN


def _left_out(against: Mapping[str, str], absent: Sequence[str]) -> list[str]:
    missing = [rival for rival, verdict in against.items() if verdict == NOT_RUN]
    named = {NOT_RUN: missing, "not asked here": absent}
    return [f"{why}: {', '.join(rivals)}" for why, rivals in named.items() if rivals]


_NOTHING = Estimate(0.0, 0.0, 0.0, 1)
_COMPARED = {FAILS: "below", OPEN: "not told from", HOLDS: "above"}
_FALLS = {FAILS: "rises", OPEN: "is not told to fall", HOLDS: "falls"}
_LOSES = {FAILS: "less than", OPEN: "not told from", HOLDS: "more than"}
