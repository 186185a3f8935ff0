"""The tables the system looks into: attractions, hotels, restaurants, trains, hospital, police.

A set of rows is one Python integer, bit r for row r. The rows that satisfy several constraints are
the AND of one set for each, remembered for every combination that was ever asked for.
"""

from collections.abc import Iterator, Mapping
from typing import final

from offline_actrep.simulators.dialogue.ontology import DONT_CARE, SEMI_SLOTS

Row = dict[str, str]
"""Belief name -> value; what the table lacks is left out."""

TABLES = ("attraction", "hospital", "hotel", "police", "restaurant", "train")
WHOLE = frozenset({"hospital", "police"})
"""Tables that are given whole, whatever is asked for."""
NOT_ASKED = frozenset({"departure", "destination"})
"""Constraints that no table honours: ConvLab's query passes them over, for trains too."""


@final
class Table:
    """One table and its index.

    Args:
        domain: what the table is of.
        rows: in the order in which they are offered; each gets a reference number as `ref`.
    """

    def __init__(self, domain: str, rows: list[Row]) -> None:
        self.rows = [row | {"ref": f"{place:08d}"} for place, row in enumerate(rows)]
        held = {slot for row in rows for slot in row}
        self._slots = (
            ()
            if domain in WHOLE
            else tuple(
                slot for slot in SEMI_SLOTS[domain] if slot in held and slot not in NOT_ASKED
            )
        )
        self._all = (1 << len(rows)) - 1
        self._satisfying: dict[tuple[str, str], int] = {}
        self._found: dict[tuple[str | None, ...], int] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, constraints: Mapping[str, str]) -> int:
        """The set of rows that satisfy all constraints (belief name -> wanted value)."""
        asked = tuple(map(constraints.get, self._slots))
        found = self._found.get(asked)
        if found is None:
            found = self._all
            for slot, value in zip(self._slots, asked, strict=True):
                if value is not None and value != DONT_CARE:
                    found &= self._one(slot, value)
            self._found[asked] = found
        return found

    def _one(self, slot: str, value: str) -> int:
        """The rows that satisfy one constraint; times bound from one side."""
        key = (slot, value)
        if key not in self._satisfying:
            places = enumerate(row.get(slot) for row in self.rows)
            if slot == "leaveAt":
                fits = (place for place, cell in places if cell is not None and cell >= value)
            elif slot == "arriveBy":
                fits = (place for place, cell in places if cell is not None and cell <= value)
            else:
                fits = (place for place, cell in places if cell == value)
            self._satisfying[key] = sum(1 << place for place in fits)
        return self._satisfying[key]

    def first(self, found: int) -> Row:
        """The first row of a set that is not empty."""
        return self.rows[(found & -found).bit_length() - 1]

    def each(self, found: int) -> Iterator[Row]:
        """The rows of a set, in order."""
        while found:
            yield self.first(found)
            found &= found - 1


Database = dict[str, Table]
"""A table a domain; taxis have none, they are made up on demand."""


def database(rows: Mapping[str, list[Row]]) -> Database:
    """Indexes the rows of all domains."""
    return {domain: Table(domain, rows[domain]) for domain in TABLES}
