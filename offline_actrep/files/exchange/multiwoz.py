"""MultiWOZ, the human turns -> a Log: what the system knew -> which acts the human system said.

Read is a table of turns with one row a system turn (`multiwoz_val_test_turns.parquet`, or
`turns.parquet`), as ConvLab's copy of MultiWOZ 2.1 (Budzianowski et al. 2018; Eric et al. 2020)
gives them: acts, belief and goal as JSON.

Episode: one dialogue. Its last turn is `terminated`: the user hangs up.

Action: the combination of acts that the system said, without values, as one canonical string:
`Booking-Book[Ref];general-reqmore[none]`. A turn for which the annotators gave no acts has the
action `""`, named `nothing annotated`. Features of an action: one bit a pair of act and slot.

Reward: none was logged; it is scored against the user's goal, which the system does not see. A
goal's parts are its requested slots and the bookings it asks for (an offer, where a domain asks
for neither). A slot counts when the system has told it, a booking when it is in the belief.

- `goal`: the share of the parts that this turn is the first to fulfil; a dialogue's return is in
  [0, 1]
- `success`: 1 in the last turn if all parts have been fulfilled, else 0

Neither looks whether the place named satisfies the user's constraints, as ConvLab's evaluator
does: that needs the tables.

Observation: zeros and ones, but for the last. The belief of a turn is annotated *after* the system
has spoken: what it has just booked, and often what it has just proposed, is in it already. So the
belief told here is the one of the turn before, plus what the user has just said.

- `DOMAIN SLOT filled`, `DOMAIN SLOT any`: a constraint was given, or the user does not care
- `DOMAIN book SLOT`: a detail of a booking was given
- `DOMAIN booked`, `DOMAIN active`: a booking was made; the domain was spoken of
- `DOMAIN wants SLOT`: the user has asked for it, and no system act since has told it
- `user informs DOMAIN SLOT`, `user requests DOMAIN SLOT`, `user ACT`: the turn of the user that is
  being answered
- `system ACT`: the acts of the system's turn before
- `log_turn`: log(1 + turns of the system so far)

The state of the simulated dialogue world (392 bits, ConvLab's layout) counts rows of MultiWOZ's
tables too and is another encoding: a policy learnt here does not play there.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import Column, find_table, read_table, refuse_rows
from offline_actrep.files.exchange.sessions import one_of
from offline_actrep.files.faults import refusal

Pairs = dict[str, set[str]]
"""`Domain-Intent` -> slots by their short names."""

_FILES = ("multiwoz_val_test_turns.parquet", "turns.parquet")
_JSON = 100_000
_COLUMNS = (
    Column("split", "text"),
    Column("dialogue_id", "text"),
    Column("turn", "integer", low=0, high=10_000),
    Column("goal_json", "text", may_be_null=True, longest=_JSON),
    Column("user_act_json", "text", longest=_JSON),
    Column("system_act", "text", longest=1000),
    Column("belief_state_json", "text", longest=_JSON),
    Column("done", "integer", among=(0, 1)),
)

_CONSTRAINTS = {
    "attraction": {"Area": "area", "Name": "name", "Type": "type", "Fee": "entrance fee"},
    "hospital": {"Department": "department"},
    "hotel": {
        "Area": "area",
        "Internet": "internet",
        "Name": "name",
        "Parking": "parking",
        "Price": "pricerange",
        "Stars": "stars",
        "Type": "type",
    },
    "police": {},
    "restaurant": {"Area": "area", "Food": "food", "Name": "name", "Price": "pricerange"},
    "taxi": {
        "Arrive": "arriveBy",
        "Depart": "departure",
        "Dest": "destination",
        "Leave": "leaveAt",
    },
    "train": {
        "Arrive": "arriveBy",
        "Day": "day",
        "Depart": "departure",
        "Dest": "destination",
        "Leave": "leaveAt",
    },
}
"""What a user may constrain: short name in acts -> name in the belief."""
_DETAILS = {
    "hotel": {"Day": "day", "People": "people", "Stay": "stay"},
    "restaurant": {"Day": "day", "People": "people", "Time": "time"},
    "train": {"People": "people"},
}
"""Details of a booking, likewise."""
_ONLY_ASKED = {
    "attraction": {"Addr": "address", "Phone": "phone", "Post": "postcode"},
    "hospital": {"Addr": "address", "Phone": "phone", "Post": "postcode"},
    "hotel": {"Addr": "address", "Phone": "phone", "Post": "postcode", "Ref": "ref"},
    "police": {"Addr": "address", "Name": "name", "Phone": "phone", "Post": "postcode"},
    "restaurant": {"Addr": "address", "Phone": "phone", "Post": "postcode", "Ref": "ref"},
    "taxi": {"Car": "car type", "Phone": "phone"},
    "train": {"Id": "trainID", "Ref": "ref", "Ticket": "price", "Time": "duration"},
}
"""What a user may ask for besides what may be constrained."""
_BOOKED = ("hotel", "restaurant", "taxi", "train")
_DOMAINS = tuple(_CONSTRAINTS)
_TELLING = ("Inform", "Recommend", "OfferBook", "OfferBooked", "Book")
_INTENTS = ("Inform", "NoOffer", "OfferBook", "OfferBooked", "Recommend", "Request", "Select")
_SYSTEM_ACTS = (
    *(f"{domain.capitalize()}-{intent}" for domain in _DOMAINS for intent in _INTENTS),
    *(f"Booking-{intent}" for intent in ("Book", "Inform", "NoBook", "Request")),
    *(f"general-{intent}" for intent in ("bye", "greet", "reqmore", "welcome")),
)
_USER_COURTESIES = ("general-bye", "general-greet", "general-thank")
_ANY = {"dont care", "don't care", "do n't care", "dontcare"}
_UNSAID = {"", "none", "not mentioned", "?"}
_ACT = re.compile(r"([A-Za-z]+-[A-Za-z]+)\[([^\[\];]*)\]")


def _asked(domain: str) -> dict[str, str]:
    return _CONSTRAINTS[domain] | _ONLY_ASKED[domain]


def _names() -> tuple[str, ...]:
    names: list[str] = []
    for domain in _DOMAINS:
        for slot in _CONSTRAINTS[domain].values():
            names += [f"{domain} {slot} filled", f"{domain} {slot} any"]
        names += [f"{domain} book {slot}" for slot in _DETAILS.get(domain, {}).values()]
        names += [f"{domain} booked"] * (domain in _BOOKED)
        names += [f"{domain} active"]
        names += [f"{domain} wants {slot}" for slot in _asked(domain).values()]
        told = dict.fromkeys([*_CONSTRAINTS[domain].values(), *_DETAILS.get(domain, {}).values()])
        names += [f"user informs {domain} {slot}" for slot in told]
        names += [f"user requests {domain} {slot}" for slot in _asked(domain).values()]
    names += [f"user {act}" for act in _USER_COURTESIES]
    names += [f"system {act}" for act in _SYSTEM_ACTS]
    return (*names, "log_turn")


STATE_NAMES = _names()
"""The columns of the observation."""
_PLACE = {name: place for place, name in enumerate(STATE_NAMES)}


def read_multiwoz(folder: str | Path, *, reward: str = "goal") -> Log:
    """Reads the turns in `folder`; every turn is a row, in the order of the file.

    Args:
        folder: holds the table of turns.
        reward: `goal` or `success`, as above.

    Raises:
        ValueError: a setting that there is not, a file or column that is absent, a cell that does
            not fit, JSON that is no such JSON, acts that are not written as above, a dialogue in
            two places, with a turn missing, or not done in its last turn and only there.
    """
    one_of("reward", reward, ("goal", "success"))
    source = "see datasets/multiwoz/README.md for the columns and where to get MultiWOZ"
    path = find_table(folder, _FILES, source)
    turns = read_table(path, _COLUMNS)
    begins = _check_dialogues(path, turns)
    system = _parse_acts(path, turns["system_act"])
    beliefs = [belief or {} for belief in _objects(path, turns["belief_state_json"])]
    said = [acts or {} for acts in _objects(path, turns["user_act_json"])]
    goals = list(_objects(path, turns["goal_json"]))
    lacking = pl.Series(begins) & turns["goal_json"].is_null()
    refuse_rows(path, "goal_json", lacking, "the goal, in a dialogue's first turn",
                turns["goal_json"], "drop the dialogue")  # fmt: skip
    observations = _observations(path, begins, said, beliefs, system)
    rewards = _rewards(begins, goals, beliefs, system)
    if reward == "success":
        rewards = _as_success(rewards, begins)
    return _log(turns, begins, system, observations, rewards)


def _check_dialogues(path: Path, turns: pl.DataFrame) -> Bool[np.ndarray, " N"]:
    """Whether a row begins a dialogue."""
    mend = "sort the turns by dialogue and turn; drop dialogues that are not whole"
    dialogue, turn = turns["dialogue_id"], turns["turn"]
    begins = (dialogue != dialogue.shift(1)).fill_null(True)
    again = begins & ~dialogue.is_first_distinct()
    refuse_rows(path, "dialogue_id", again, "a dialogue in one piece", dialogue, mend)
    follows = turns.select(
        pl.when(pl.lit(begins)).then(0).otherwise(pl.col("turn").shift(1) + 1)
    ).to_series()
    refuse_rows(path, "turn", turn != follows, "0, then one more a row", turn, mend)
    ends = begins.shift(-1, fill_value=True)
    wrong = (turns["done"] == 1) != ends
    refuse_rows(path, "done", wrong, "1 in a dialogue's last turn and only there", turns["done"],
                mend)  # fmt: skip
    return begins.to_numpy()


def _objects(path: Path, cells: pl.Series) -> Iterator[dict[str, Any] | None]:
    """Each cell's JSON object; None for a null."""
    for row, cell in enumerate(cells):
        if cell is None:
            yield None
            continue
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError) as error:
            raise _no_object(path, cells.name, str(error), row) from error
        if not isinstance(found, dict):
            raise _no_object(path, cells.name, type(found).__name__, row)
        yield found


def _no_object(path: Path, column: str, found: str, row: int) -> ValueError:
    mend = "get the file again, or drop the dialogue"
    return refusal(path, column, "a JSON object as MultiWOZ has it", found, mend, row)


def _parse_acts(path: Path, cells: pl.Series) -> list[Pairs]:
    """What each turn of the system said; empty where nothing was annotated."""
    return [_parse(path, row, cell) for row, cell in enumerate(cells)]


def _parse(path: Path, row: int, cell: str) -> Pairs:
    pairs: Pairs = {}
    for part in cell.split(";") if cell else ():
        match = _ACT.fullmatch(part)
        if match is None:
            expected = "acts written Domain-Intent[Slot,Slot];Domain-Intent[none]"
            mend = "write the acts of a turn so, in alphabetical order"
            raise refusal(path, "system_act", expected, repr(cell[:80]), mend, row)
        pairs.setdefault(match[1], set()).update(match[2].split(","))
    return pairs


def _observations(
    path: Path,
    begins: Bool[np.ndarray, " N"],
    said: list[dict[str, Any]],
    beliefs: list[dict[str, Any]],
    system: list[Pairs],
) -> Float32[np.ndarray, "N S"]:
    """The state before each turn of the system."""
    observations = np.zeros((len(begins), len(STATE_NAMES)), np.float32)
    wants: set[str] = set()
    turn = 0
    for row, first in enumerate(begins):
        if first:
            wants, turn = set(), 0
        known: set[str] = set() if first else set(_told_by(path, row - 1, beliefs[row - 1]))
        for name, value in _said_by(path, row, said[row]):
            if name.startswith("user requests "):
                wants.add(name.replace("user requests ", "").replace(" ", " wants ", 1))
            known.add(name)
            new = set(_filled(name, value))
            known -= {_opposite(bit) for bit in new}
            known |= new
        before = () if first else system[row - 1]
        known.update(f"system {act}" for act in before)
        observations[row, [_PLACE[name] for name in known | wants if name in _PLACE]] = 1
        observations[row, -1] = np.log1p(turn)
        wants -= {f"{domain} wants {slot}" for domain, slot in _slots_told(system[row])}
        turn += 1
    return observations


def _told_by(path: Path, row: int, belief: dict[str, Any]) -> Iterator[str]:
    """Names of the bits that a belief sets."""
    for domain, kinds in belief.items():
        if not isinstance(kinds, dict):
            raise _no_object(path, "belief_state_json", f"{domain!r}: {kinds!r}"[:80], row)
        for kind in ("semi", "book"):
            slots = kinds.get(kind, {})
            if not isinstance(slots, dict):
                raise _no_object(path, "belief_state_json", f"{kind!r}: {slots!r}"[:80], row)
            for slot, value in slots.items():
                if slot == "booked":
                    yield from [f"{domain} booked", f"{domain} active"] if value else ()
                elif str(value).lower() not in _UNSAID:
                    yield from _bits(domain, kind, slot, str(value))


def _bits(domain: str, kind: str, slot: str, value: str) -> tuple[str, str]:
    if kind == "book":
        return f"{domain} book {slot}", f"{domain} active"
    state = "any" if value.lower() in _ANY else "filled"
    return f"{domain} {slot} {state}", f"{domain} active"


def _said_by(path: Path, row: int, acts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The bit of each thing that the user said, and its value."""
    for act, pairs in acts.items():
        if not isinstance(pairs, list):
            raise _no_object(path, "user_act_json", f"{act!r}: {pairs!r}"[:80], row)
        if act in _USER_COURTESIES:
            yield f"user {act}", ""
            continue
        domain, _, intent = act.lower().partition("-")
        for pair in pairs:
            if not (isinstance(pair, list) and len(pair) == 2):
                raise _no_object(path, "user_act_json", f"{act!r}: {pair!r}"[:80], row)
            slot = _belief_name(domain, str(pair[0]))
            yield f"{domain} active", ""
            if slot and intent in ("inform", "request"):
                yield f"user {intent}s {domain} {slot}", str(pair[1])


def _belief_name(domain: str, short: str) -> str:
    """Empty where the domain has no such slot."""
    if domain not in _CONSTRAINTS:
        return ""
    return (_asked(domain) | _DETAILS.get(domain, {})).get(short, "")


def _filled(name: str, value: str) -> Iterable[str]:
    """Bits of the belief that follow from what the user has just said."""
    if not name.startswith("user informs ") or value.lower() in _UNSAID:
        return ()
    domain, slot = name.removeprefix("user informs ").split(" ", 1)
    booking = slot in _DETAILS.get(domain, {}).values()
    return _bits(domain, "book" if booking else "semi", slot, value)


def _opposite(bit: str) -> str:
    """`filled` for `any` and the other way round; a slot has one of them at most."""
    name, _, state = bit.rpartition(" ")
    return f"{name} {'any' if state == 'filled' else 'filled'}"


def _slots_told(acts: Pairs) -> Iterator[tuple[str, str]]:
    """Domain and belief name of every slot whose value the system told."""
    for act in _telling(acts):
        domain = act.partition("-")[0].lower()
        if domain == "booking" and "Ref" in acts[act]:
            yield from ((other, "ref") for other in _BOOKED)
        for short in acts[act]:
            yield domain, _belief_name(domain, short)


def _telling(acts: Pairs) -> Iterator[str]:
    """The acts that tell values."""
    return (act for act in acts if act.partition("-")[2] in _TELLING)


def _rewards(
    begins: Bool[np.ndarray, " N"],
    goals: list[dict[str, Any] | None],
    beliefs: list[dict[str, Any]],
    system: list[Pairs],
) -> Float32[np.ndarray, " N"]:
    """Share of the goal's parts that each turn is the first to fulfil."""
    rewards = np.zeros(len(begins), np.float32)
    open_parts: set[tuple[str, str]] = set()
    size = 1
    for row, first in enumerate(begins):
        if first:
            open_parts = _parts(goals[row] or {})
            size = max(1, len(open_parts))
        done = set(_slots_told(system[row])) | set(_booked(beliefs[row]))
        done |= {(act.partition("-")[0].lower(), "an offer") for act in _telling(system[row])}
        rewards[row] = len(open_parts & done) / size
        open_parts -= done
    return rewards


def _parts(goal: dict[str, Any]) -> set[tuple[str, str]]:
    """What a goal asks for: slots to be told, bookings to be made."""
    parts: set[tuple[str, str]] = set()
    for domain, asked in goal.items():
        if domain not in _CONSTRAINTS or not isinstance(asked, dict) or not asked:
            continue
        own = {(domain, str(slot)) for slot in asked.get("reqt") or ()}
        if asked.get("book"):
            own.add((domain, "a booking"))
        parts |= own or {(domain, "an offer")}
    return parts


def _booked(belief: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for domain, kinds in belief.items():
        if isinstance(kinds, dict) and isinstance(book := kinds.get("book", {}), dict):
            yield from [(domain, "a booking")] if book.get("booked") else ()


def _as_success(
    shares: Float32[np.ndarray, " N"], begins: Bool[np.ndarray, " N"]
) -> Float32[np.ndarray, " N"]:
    starts = np.flatnonzero(begins)
    whole = np.add.reduceat(shares.astype(np.float64), starts) > 1 - 1e-6
    rewards = np.zeros(len(shares), np.float32)
    rewards[np.append(starts[1:], len(shares)) - 1] = whole
    return rewards


def _log(
    turns: pl.DataFrame,
    begins: Bool[np.ndarray, " N"],
    system: list[Pairs],
    observations: Float32[np.ndarray, "N S"],
    rewards: Float32[np.ndarray, " N"],
) -> Log:
    starts = np.flatnonzero(begins)
    ends = (turns["done"] == 1).to_numpy()
    rows = np.arange(len(turns))
    actions = turns["system_act"].to_numpy().astype(np.str_)
    action_set = _action_set(actions, system)
    return Log(
        action_set=action_set,
        observations=observations,
        actions=action_set.encode(actions),
        rewards=rewards,
        terminated=ends,
        truncated=np.zeros(len(turns), bool),
        next_observations=observations[np.where(ends, rows, rows + 1)],
        has_next=~ends,
        episode_offsets=np.append(starts, len(turns)).astype(np.int64),
        episode_ids=turns["dialogue_id"].to_numpy()[starts].astype(np.str_),
        splits=turns["split"].to_numpy().astype(np.str_),
        observation_names=STATE_NAMES,
    )


def _action_set(actions: np.ndarray, system: list[Pairs]) -> ActionSet:
    """Ids in alphabetical order; a bit a pair of act and slot."""
    ids, first = np.unique(actions, return_index=True)
    spoken = [{f"{a}[{s}]" for a, slots in system[row].items() for s in slots} for row in first]
    pairs = sorted(set().union(*spoken))
    place = {pair: column for column, pair in enumerate(pairs)}
    features = np.zeros((len(ids), len(pairs)), np.float32)
    for index, own in enumerate(spoken):
        features[index, [place[pair] for pair in own]] = 1
    return ActionSet(
        ids=ids,
        names=tuple(str(name) or "nothing annotated" for name in ids),
        features=features,
        feature_names=tuple(pairs),
    )
