"""What an action comes to in a state: which of its words the user can hear at all.

Many different actions are one to the user. Words without a slot are not heard; a train is not
offered before journey and time are known; nothing is told of a domain where no row fits; and
telling, recommending and offering to book are the same to it. What is left is a short list of
words, and it follows from the state's bits alone. The order of acts within a turn is left out, and
so are the values, which no state shows.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64, Int64

from offline_actrep.simulators.dialogue.ontology import (
    DOMAINS,
    SEMI_SLOTS,
    SYSTEM_SLOTS,
    belief_name,
    parts,
)
from offline_actrep.simulators.dialogue.tracker import BIT, COUNTED
from offline_actrep.simulators.dialogue.vocabulary import Skeleton

Word = tuple[str, str, str]
"""What is done, in which domain, to which slot (by its belief name; empty for none)."""
REMEMBERED = 1 << 18
"""Pairs of action and situation whose words are kept."""


def _words() -> dict[Word, int]:
    """Every word and its column."""
    words: list[Word] = [("book", "booking", "")]
    for capital, slots in SYSTEM_SLOTS.items():
        domain, names = capital.lower(), [name for name in slots.values() if name]
        words += [("ask", domain, name) for name in names]
        if domain in DOMAINS:
            words += [(done, domain, name) for name in names for done in ("tell", "select")]
            words += [(done, domain, "") for done in ("commit", "refuse", "name", "speak")]
    return {word: column for column, word in enumerate(words)}


WORDS = _words()
FACTS: tuple[tuple[str, str], ...] = (
    *(("told", domain) for domain in DOMAINS),
    *(("found", domain) for domain in COUNTED),
    ("clear", "train"),
)
"""What decides over words: constraints were told, rows fit, the journey and its time are known."""
_EMPTY = {
    (domain, slot): BIT[f"{domain} {slot} empty"]
    for domain in DOMAINS
    for slot in SEMI_SLOTS[domain]
}


def effects(
    actions: Sequence[Skeleton], observations: Float32[np.ndarray, "B 392"]
) -> Float64[np.ndarray, "B D"]:
    """Which words each action utters in the state beside it: zeros and ones, a column a word."""
    uttered = np.zeros((len(observations), len(WORDS)))
    situations = _situations(observations)
    for row, (action, situation) in enumerate(zip(actions, situations, strict=True)):
        uttered[row, _columns(action, int(situation))] = 1
    return uttered


def _situations(observations: Float32[np.ndarray, "B 392"]) -> Int64[np.ndarray, " B"]:
    """The facts of every state as bits of one number, the first fact lowest."""
    facts = [
        np.any([observations[:, _EMPTY[domain, slot]] == 0 for slot in slots], axis=0)
        if (slots := SEMI_SLOTS[domain])
        else np.zeros(len(observations), bool)
        for domain in DOMAINS
    ]
    facts += [observations[:, BIT[f"{domain} rows <= 0"]] == 0 for domain in COUNTED]
    known = {slot: observations[:, _EMPTY["train", slot]] == 0 for slot in SEMI_SLOTS["train"]}
    timed = known["leaveAt"] | known["arriveBy"]
    facts.append(timed & known["departure"] & known["destination"])
    return np.array(facts).astype(np.int64).T @ (1 << np.arange(len(FACTS)))


@lru_cache(REMEMBERED)
def _columns(action: Skeleton, situation: int) -> list[int]:
    facts = {fact for place, fact in enumerate(FACTS) if situation >> place & 1}
    words: set[Word] = set()
    named = spoken = ""
    for act, slots in action:
        domain, intent = parts(act)
        heard = _heard(domain, intent, slots, facts)
        words |= heard
        if domain in DOMAINS:
            spoken = domain
            named = domain if heard else named
    words |= {("name", named, ""), ("speak", spoken, "")}
    return sorted(WORDS[word] for word in words if word in WORDS)


def _heard(
    domain: str, intent: str, slots: tuple[str, ...], facts: set[tuple[str, str]]
) -> set[Word]:
    """The words of one act; not empty if and only if the user hears it."""
    if domain == "general":
        return set()
    names = {name for slot in slots if (name := belief_name(domain, slot))}
    clear = domain != "train" or ("clear", "train") in facts
    if intent == "request":
        return {("ask", domain, name) for name in names}
    if domain == "booking":
        return {("book", domain, "")} if intent == "book" else set()
    if intent in ("nooffer", "offerbook"):
        echoed = ("told", domain) in facts and clear
        return {("refuse" if intent == "nooffer" else "name", domain, "")} if echoed else set()
    if domain == "taxi":
        names = {"car type", "phone"} if ("told", "taxi") in facts else set()
    unknown = domain in COUNTED and ("found", domain) not in facts
    if unknown or not names or (intent == "inform" and not clear):
        return set()
    done = "select" if intent == "select" else "tell"
    empty = {"choice"} if domain == "train" else {"choice", "ref"}
    words: set[Word] = {(done, domain, name) for name in names - empty}
    words.add(("commit" if intent == "offerbooked" else "name", domain, ""))
    return words
