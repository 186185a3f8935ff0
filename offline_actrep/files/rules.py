"""The rules that a log must keep, by name: one table that code, reports and documents share."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["refused", "error", "warning", "note"]

SEVERITIES: dict[Severity, str] = {
    "refused": "the job stops, and leaves nothing that opens",
    "error": "the whole episode goes to `quarantine.parquet`",
    "warning": "the rows are kept; the report says what is odd",
    "note": "the rows are kept; the report says what was done to them",
}
"""What becomes of a log that breaks a rule."""


@dataclass(frozen=True)
class Rule:
    """One thing that is checked.

    Attributes:
        name: as it stands in reports and in the column `rule` of the quarantine.
        severity: a key of `SEVERITIES`.
        text: what holds of a log that keeps the rule.
        mend: what to do about one that does not.
    """

    name: str
    severity: Severity
    text: str
    mend: str


_TABLE = (
    Rule(
        "readable",
        "refused",
        "every file opens as what its name says, whole, and does not change while it is read",
        "fetch or write the file anew, or leave it out of the sources",
    ),
    Rule(
        "schema",
        "refused",
        "all files have the same columns of the same types, none twice, at least one row in all, "
        "and every column that the mapping names",
        "convert files of different columns apart, or write them alike",
    ),
    Rule(
        "types",
        "refused",
        "every column has a type that fits what it stands for",
        "cast the column, in the files or by an expression of the mapping",
    ),
    Rule(
        "catalogue",
        "refused",
        "the action table holds every id once, and no null",
        "keep one row an action",
    ),
    Rule(
        "value_type",
        "error",
        "every value is one that its column can hold: ids within 64 bits, numbers that are numbers",
        "correct the value, or leave the episode out",
    ),
    Rule(
        "text",
        "error",
        "ids, timestamps and names of splits have at most 1024 characters, the last of them not "
        "zero",
        "shorten it, or number the ids",
    ),
    Rule(
        "missing",
        "error",
        "no value is null, but for `next_observation`",
        "give it a value, or leave the episode out",
    ),
    Rule(
        "finite",
        "error",
        "numbers are there and finite, as float32 where they are observations or rewards",
        "give it a value, or leave the episode out",
    ),
    Rule(
        "length",
        "error",
        "observations are lists of equal length, of at least one number",
        "make all lists equally long",
    ),
    Rule(
        "in_one_piece",
        "error",
        "the rows of an episode stand together (asked by `read_log`; `convert` gathers them)",
        "sort the rows, or give a second episode of the same id another",
    ),
    Rule(
        "duplicate_step",
        "error",
        "an episode has every step once",
        "drop the row that stands twice; where two episodes share an id, give one another",
    ),
    Rule(
        "step_gap",
        "error",
        "steps rise by exactly 1 in an episode",
        "find the rows that are lost, or give what follows the gap an episode id of its own",
    ),
    Rule(
        "end_twice",
        "error",
        "no row is terminated and truncated at once",
        "mark a row as truncated only where the episode was cut off before a terminal state",
    ),
    Rule(
        "end_early",
        "error",
        "an episode ends in its last row only",
        "mark the last row alone, or give what follows the end an episode id of its own",
    ),
    Rule(
        "end_missing",
        "error",
        "the last row of an episode is terminated or truncated",
        "mark the last row: terminated where there was no future, truncated where nobody looked",
    ),
    Rule(
        "propensity",
        "error",
        "the probability of the logged action is above 0 and at most 1",
        "log the probability with which the action was drawn, or leave the column out",
    ),
    Rule(
        "alignment",
        "error",
        "a next observation inside an episode is what the next row observes (relative tolerance "
        "1e-4, absolute 1e-5)",
        "give an episode that jumps a new id where it does; a null means the next row's",
    ),
    Rule(
        "action_unknown",
        "error",
        "the action is in the action table, where one is given",
        "add the action to the table",
    ),
    Rule(
        "allowed_unknown",
        "error",
        "the allowed actions are in the action table, where one is given",
        "add the actions to the table",
    ),
    Rule(
        "allowed_lacks_action",
        "error",
        "the allowed actions hold the action taken",
        "log the list that the action was chosen from",
    ),
    Rule(
        "constant_column",
        "warning",
        "no number of the observation is the same in all rows",
        "leave it out of the observation: it tells nothing",
    ),
    Rule(
        "exploding_column",
        "warning",
        "no number of the observation is larger than a million, or 100 standard deviations from "
        "its mean",
        "rescale it, take its logarithm, or find the sensor that failed",
    ),
    Rule(
        "duplicate_columns",
        "warning",
        "no two numbers of the observation are the same in all rows (asked of up to 16,384 rows "
        "of every partition)",
        "keep one of the two",
    ),
    Rule(
        "next_state_leak",
        "warning",
        "no number of the observation is, in all rows, what another one is in the next row (asked "
        "of up to 16,384 rows of every partition)",
        "leave it out where it knows the future; a copy of the row before is harmless",
    ),
    Rule(
        "next_is_copy",
        "warning",
        "stated next observations are not all the row's own observation",
        "state what followed the action, or leave the column out",
    ),
    Rule(
        "reward_outlier",
        "warning",
        "no reward is further than 20 standard deviations from the mean, both taken over the "
        "middle 99 % of the rewards",
        "look at the row; clip or rescale the rewards by an expression of the mapping",
    ),
    Rule(
        "time_disorder",
        "warning",
        "timestamps do not fall inside an episode",
        "number the steps by time, or check the clock",
    ),
    Rule(
        "rows_sorted",
        "note",
        "the rows of an episode come in order (where not, they are sorted)",
        "nothing: the rows were sorted by what the mapping calls their order",
    ),
    Rule(
        "rows_gathered",
        "note",
        "the rows of an episode come one after the other (where not, they are gathered)",
        "nothing: the rows were gathered by what the mapping calls their episode",
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _TABLE}
"""Every rule, in the order in which it is asked."""


def rules_table() -> str:
    """The table as Markdown, as it stands in `datasets/README.md`."""
    lines = ["| rule | severity | what holds |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{r.name}` | {r.severity} | {r.text} |" for r in _TABLE]) + "\n"


def severities_table() -> str:
    """What every severity means, as Markdown."""
    rows = [f"| {name} | {meaning} |" for name, meaning in SEVERITIES.items()]
    return "\n".join(["| severity | what happens |", "|---|---|", *rows]) + "\n"
