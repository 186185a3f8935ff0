"""Dialogues recorded by running ConvLab-1, replayed turn by turn.

The file (`convlab_traces.json`, or a path in `OFFLINE_ACTREP_CONVLAB_TRACES`) holds 130 dialogues
of its agenda user: 60 with its rule bot, 30 with the bot on 1,500 actions, 40 with half of the
actions drawn at random. It has goals, acts, the state's bits, rewards, and indices of actions.
"""

import copy
import json
import random
from collections.abc import MutableSequence, Sequence
from pathlib import Path
from typing import Any

import pytest

from offline_actrep.simulators.dialogue.corpus import Corpus
from offline_actrep.simulators.dialogue.decoder import Decoder
from offline_actrep.simulators.dialogue.goals import Goal, Wish
from offline_actrep.simulators.dialogue.ontology import USER_SLOTS, DialogueAct, parts
from offline_actrep.simulators.dialogue.tracker import Tracker
from offline_actrep.simulators.dialogue.user import User
from offline_actrep.simulators.dialogue.vocabulary import Vocabulary

RECORDED = {"rule": 60, "rulevocab1500": 30, "rulevocab1500_eps50": 40}
SAME_ORDER = 970
"""Actions up to here are ranked alike; beyond, equally frequent ones stand in another order."""


class OutOfCoins(Exception):
    """Chance was asked for more than the script says; its argument is how many ways there are."""


class Script(random.Random):
    """The agenda in the order in which things were said, and a script of coins."""

    def __init__(self, rank: dict[tuple[str, str], int], coins: Sequence[int] = ()) -> None:
        super().__init__(0)
        self.rank = rank
        self.coins = list(coins)

    def shuffle(self, x: MutableSequence[Any]) -> None:
        x[:] = sorted(x, key=lambda item: -self.rank.get((item[0], item[2]), len(self.rank)))

    def random(self) -> float:
        return self._next(2) / 2

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[self._next(len(seq))]

    def _next(self, ways: int) -> int:
        if not self.coins:
            raise OutOfCoins(ways)
        return self.coins.pop(0)


@pytest.fixture(scope="module")
def traces(traces_file: Path) -> dict[str, list[dict[str, Any]]]:
    return json.loads(traces_file.read_text())


def as_act(recorded: dict[str, list[list[Any]]]) -> DialogueAct:
    return {act: [(slot, str(value)) for slot, value in pairs] for act, pairs in recorded.items()}


def as_goal(recorded: dict[str, dict[str, Any]]) -> Goal:
    return {
        domain: Wish(
            wish["info"],
            tuple(wish.get("reqt", {})),
            wish.get("book", {}),
            wish.get("fail_info", {}),
            wish.get("fail_book", {}),
        )
        for domain, wish in recorded.items()
    }


def first_mentions(said: list[DialogueAct]) -> dict[tuple[str, str], int]:
    """Domain and slot -> rank by when the user first spoke of it."""
    rank: dict[tuple[str, str], int] = {}
    for act in said:
        for name, pairs in act.items():
            domain, _ = parts(name)
            names = {short: slot for slot, short in USER_SLOTS.get(domain, {}).items()}
            for short, _ in pairs:
                rank.setdefault((domain, names.get(short, short)), len(rank))
    return rank


def possible(user: User, act: DialogueAct) -> list[tuple[User, DialogueAct]]:
    """Every reply that chance allows, and the user after it."""
    outcomes, scripts = [], [[]]
    while scripts:
        script = scripts.pop()
        assert isinstance(user.chance, Script)
        heir = copy.deepcopy(user, {id(user.chance): Script(user.chance.rank, script)})
        try:
            outcomes.append((heir, heir.reply(act)))
        except OutOfCoins as more:
            scripts += [[*script, coin] for coin in range(more.args[0])]
    return outcomes


def last_users(dialogue: dict[str, Any]) -> list[User]:
    """All users who would have said what was recorded, at the end of the dialogue."""
    said = [as_act(turn["user_act"]) for turn in dialogue["turns"]]
    said.append(as_act(dialogue["final_user_act"]))
    heard = [{}] + [as_act(turn["sys_act"]) for turn in dialogue["turns"]]
    users = [User(as_goal(dialogue["goal"]), Script(first_mentions(said)))]
    for act, recorded in zip(heard, said, strict=True):
        assert not any(user.content for user in users)
        outcomes = [outcome for user in users for outcome in possible(user, act)]
        users = [user for user, reply in outcomes if reply == recorded]
        if not users:
            return []
    return users


@pytest.mark.parametrize("kind", RECORDED)
def test_the_user_says_what_was_recorded(
    kind: str, traces: dict[str, list[dict[str, Any]]]
) -> None:
    assert len(traces[kind]) == RECORDED[kind]
    for dialogue in traces[kind]:
        users = last_users(dialogue)
        assert users
        rewards = [turn["reward"] for turn in dialogue["turns"]]
        assert rewards[:-1] == [-1.0] * (len(rewards) - 1)
        assert {80.0 if user.content else -40.0 for user in users} == {rewards[-1]}
        assert all(user.left for user in users)


@pytest.mark.parametrize("kind", RECORDED)
def test_the_state_has_the_bits_that_were_recorded(
    kind: str, traces: dict[str, list[dict[str, Any]]], real: Corpus
) -> None:
    for dialogue in traces[kind]:
        tracker = Tracker(real.tables)
        for turn in dialogue["turns"]:
            tracker.hear(as_act(turn["user_act"]))
            assert [place for place, bit in enumerate(tracker.bits) if bit] == turn["state_nonzero"]


def test_actions_are_decoded_as_was_recorded(
    traces: dict[str, list[dict[str, Any]]], real: Corpus
) -> None:
    """But for the phones of taxis, and for one booking whose domain came from a dialogue before."""
    vocabulary = Vocabulary(real.combinations, 1500)
    tried, different = 0, []
    for dialogue in traces["rulevocab1500"] + traces["rulevocab1500_eps50"]:
        tracker = Tracker(real.tables)
        decoder = Decoder(tracker, random.Random(0))
        for turn in dialogue["turns"]:
            tracker.hear(as_act(turn["user_act"]))
            recorded = as_act(turn["sys_act"])
            if turn["action_index"] >= SAME_ORDER:
                domains = [parts(act)[0] for act in recorded]
                named = [domain for domain in domains if domain in USER_SLOTS]
                decoder.domain = named[-1] if named else decoder.domain
                continue
            act = decoder.decode(vocabulary.skeletons[turn["action_index"]])
            tried += 1
            if act != recorded and "Taxi-Inform" not in recorded:
                different.append(act)
    assert tried > 380
    assert different == [{"Booking-Book": [("Ref", "none")]}]
