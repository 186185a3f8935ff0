"""One dialogue: a user, a tracker, a decoder and a judge at one table."""

import random
from typing import final

from offline_actrep.simulators.dialogue.corpus import Corpus
from offline_actrep.simulators.dialogue.decoder import Decoder
from offline_actrep.simulators.dialogue.evaluator import Evaluator
from offline_actrep.simulators.dialogue.ontology import DialogueAct
from offline_actrep.simulators.dialogue.tracker import Tracker
from offline_actrep.simulators.dialogue.user import User
from offline_actrep.simulators.dialogue.vocabulary import Skeleton
from offline_actrep.simulators.dialogue.wizard import Wizard


@final
class Conversation:
    """One dialogue, which the user has opened.

    Args:
        corpus: what there is to talk about.
        seed: everything that chance decides follows from it.

    Attributes:
        spoken: who said what so far, `user` and `system` in turn.
    """

    def __init__(self, corpus: Corpus, seed: int) -> None:
        chance = random.Random(seed)
        goal = corpus.goals.draw(chance)
        self.seed = seed
        self.user = User(goal, chance)
        self.tracker = Tracker(corpus.tables)
        self.decoder = Decoder(self.tracker, chance)
        self.evaluator = Evaluator(goal, corpus.tables)
        self.spoken: list[tuple[str, DialogueAct]] = []
        self._listen({})

    @property
    def over(self) -> bool:
        """Whether the user has left."""
        return self.user.left

    def take_turn(self, action: Skeleton) -> None:
        """The system acts, the user replies."""
        act = self.decoder.decode(action)
        self.spoken.append(("system", act))
        self.evaluator.hear(act, system=True)
        self._listen(act)

    def _listen(self, act: DialogueAct) -> None:
        said = self.user.reply(act)
        self.spoken.append(("user", said))
        self.evaluator.hear(said, system=False)
        self.tracker.hear(said)

    def wizard_act(self) -> DialogueAct:
        """What the wizard would say now; asked twice, it says the same."""
        return Wizard(self.tracker, random.Random(f"{self.seed}/{len(self.spoken)}")).act()
