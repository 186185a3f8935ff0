"""What the rows say of each claim: holds, does not hold, or cannot tell from the intervals."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from offline_actrep.bench.plan import Claim
from offline_actrep.core.estimate import Estimate

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot tell"


@dataclass(frozen=True)
class Verdict:
    """One claim in one place.

    Attributes:
        claim: its words.
        where: the log, or the sweep.
        better: the method that is claimed to be better.
        verdict: `HOLDS`, `FAILS` or `OPEN`.
        why: the rivals that decide it.
    """

    claim: str
    where: str
    better: str
    verdict: str
    why: str


def above(one: Estimate, other: Estimate) -> str:
    """Whether the whole interval lies above the other's."""
    if one.low > other.high:
        return HOLDS
    return FAILS if one.high < other.low else OPEN


def on_a_log(
    claim: Claim, where: str, found: Mapping[str, Estimate], asked: Collection[str]
) -> list[Verdict]:
    """A verdict a method that is claimed to be better.

    Args:
        found: interquartile means by method, `behaviour` among them.
        asked: what should be there; methods that the bench does not run here are no rivals.
    """
    said, rivals = [], [rival for rival in claim.than if rival in asked]
    for better in filter(asked.__contains__, claim.better):
        if better not in found:
            said.append(Verdict(claim.text, where, better, OPEN, f"{better} was not run"))
            continue
        against = {rival: above(found[better], found[rival]) for rival in rivals if rival in found}
        missing = [rival for rival in rivals if rival not in found]
        why = _why(against, missing, _COMPARED, lambda rival: short(found[rival]))
        own = f"{better} {short(found[better])}"
        said.append(
            Verdict(claim.text, where, better, _together(against, missing), f"{own}; {why}")
        )
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
            said.append(Verdict(claim.text, where, better, OPEN, absent))
            continue
        against = {}
        for rival in claim.than:
            if (rival, better) in gaps:
                falls = above(declines[rival], Estimate(0.0, 0.0, 0.0, 1))
                less = above(gaps[rival, better], Estimate(0.0, 0.0, 0.0, 1))
                against[rival] = _together({"falls": falls, "less": less}, [])
        missing = [rival for rival in claim.than if rival not in against]
        own = f"{better} loses {short(declines[better])}; "
        why = _why(against, missing, _FALLING, lambda rival: short(declines[rival]))
        said.append(Verdict(claim.text, where, better, _together(against, missing), own + why))
    return said


def short(found: Estimate) -> str:
    """In two decimals, without the interval where it is not known."""
    ends = f" [{found.low:.2f}, {found.high:.2f}]" if isfinite(found.low) else ""
    return f"{found.value:.2f}{ends}"


def _together(against: Mapping[str, str], missing: Sequence[str]) -> str:
    if FAILS in against.values():
        return FAILS
    return HOLDS if against and not missing and set(against.values()) == {HOLDS} else OPEN


def _why(
    against: Mapping[str, str],
    missing: Sequence[str],
    words: Mapping[str, str],
    number: Callable[[str], str],
) -> str:
    parts = []
    for verdict, said in words.items():
        rivals = [f"{rival} ({number(rival)})" for rival in against if against[rival] == verdict]
        if rivals:
            parts.append(f"{said} {', '.join(rivals)}")
    if missing:
        parts.append(f"not run: {', '.join(missing)}")
    return "; ".join(parts)


_COMPARED = {FAILS: "below", OPEN: "not told from", HOLDS: "above"}
_FALLING = {
    FAILS: "does not fall less than",
    OPEN: "not told from",
    HOLDS: "falls less than, a doubling of the actions,",
}
