"""SQL expressions of a mapping: what polars can say of one row, and nothing else.

An expression comes from a settings file that may be a stranger's. So before polars sees it, it is
cut into tokens: no sub-query (polars reads the files such a one names while it parses), no
aggregate or window (they would see whatever rows happen to be read together), no clock.
"""

import difflib
import re

import polars as pl

_ROW_FUNCTIONS = """
    ABS ACOS ARRAY_CONTAINS ARRAY_GET ARRAY_LENGTH ASIN ATAN ATAN2 CAST CBRT CEIL CEILING
    CHAR_LENGTH CHARACTER_LENGTH COALESCE CONCAT CONCAT_WS COS COT DATE DATE_PART DEGREES
    ENDS_WITH EXP EXTRACT FLOOR GREATEST IF IFNULL INITCAP LEAST LEFT LENGTH LN LOG LOG10 LOG1P
    LOG2 LOWER LTRIM MOD NULLIF OCTET_LENGTH PI POSITION POW POWER RADIANS REGEXP_LIKE REPLACE
    REVERSE RIGHT ROUND RTRIM SIGN SIN SQRT STARTS_WITH STRFTIME STRPOS STRPTIME SUBSTR SUBSTRING
    TAN TRIM TRY_CAST UPPER
"""
ROW_FUNCTIONS = frozenset(_ROW_FUNCTIONS.split())
"""Functions that see one row at a time."""

_WORDS = "AND BETWEEN CASE ELSE IN IS LIKE ILIKE NOT OR REGEXP RLIKE THEN WHEN ANY"
_TYPES = "CHAR DECIMAL DEC FLOAT NUMERIC TIME TIMESTAMP DATETIME VARCHAR"
_BEFORE_PARENTHESIS = frozenset(f"{_WORDS} {_TYPES}".split())
_REFUSED = {
    **dict.fromkeys(
        ("SELECT", "WITH", "TABLE", "VALUES", "EXISTS", "UNION"), "a query, which may read files"
    ),
    **dict.fromkeys(
        ("OVER", "FILTER", "DISTINCT", "WITHIN", "UNNEST", "EXPLODE"), "an operation on many rows"
    ),
    **dict.fromkeys(
        ("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"),
        "a clock, which would give another log every time",
    ),
}
_LONGEST = 4000
_DEEPEST = 40

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<string>'(?:[^']|'')*')
    | (?P<name>"[^"]+"|`[^`]+`)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>::|->>|->|<=|>=|<>|!=|==|\|\||[-+*/%<>=(),.\[\]~^&|!:])
    """,
    re.VERBOSE,
)


def row_expression(text: str, place: str) -> pl.Expr:
    """A SQL expression of the columns of one row.

    Args:
        text: what the settings say.
        place: where they say it, for messages.

    Raises:
        ValueError: not an expression, or one that needs more than its own row.
    """
    if len(text) > _LONGEST:
        raise _refusal(place, text, f"at most {_LONGEST} characters", f"{len(text)}")
    _check_tokens(text, place)
    try:
        expression = pl.sql_expr(text)
        several = expression.meta.has_multiple_outputs() or expression.meta.is_regex_projection()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _refusal(place, text, "an expression that polars can read", str(error)) from error
    if several:
        raise _refusal(place, text, "the name of one column", "a pattern of names")
    return expression


def names_of(expression: pl.Expr) -> set[str]:
    """The columns that an expression looks at."""
    return set(expression.meta.root_names())


def _check_tokens(text: str, place: str) -> None:
    before, depth, at = "", 0, 0
    calls: list[str] = []
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _refusal(place, text, "SQL without comments", repr(text[at : at + 10]))
        at, kind, token = found.end(), found.lastgroup, found[0]
        upper = token.upper() if kind == "word" else token
        if kind == "space":
            continue
        if kind == "string" and before and found.start() and text[found.start() - 1].isalnum():
            raise _refusal(place, text, "plain strings", f"{before}{token}")
        if kind == "sign" and text.startswith(("--", "/*"), found.start()):
            raise _refusal(place, text, "SQL without comments", text[found.start() :][:10])
        if upper in _REFUSED:
            raise _refusal(place, text, "an expression of one row", f"{upper}: {_REFUSED[upper]}")
        if upper == "FROM" and (not calls or calls[-1] not in ("EXTRACT", "SUBSTRING", "TRIM")):
            raise _refusal(place, text, "an expression of one row", "FROM: a query")
        if token == "(":
            _check_call(before, text, place)
            calls.append(before)
        elif token == ")" and calls:
            calls.pop()
        depth = len(calls)
        if depth > _DEEPEST:
            raise _refusal(place, text, f"at most {_DEEPEST} parentheses within another", "more")
        before = upper if kind != "name" else f"{token} (quoted)"


def _check_call(before: str, text: str, place: str) -> None:
    """Refuses a parenthesis that calls what is not known to see one row at a time."""
    if not re.match(r"[^\W\d]|[\"`]", before):
        return
    if before in ROW_FUNCTIONS or before in _BEFORE_PARENTHESIS:
        return
    near = difflib.get_close_matches(before, ROW_FUNCTIONS, n=3, cutoff=0.6)
    raise _refusal(
        place,
        text,
        f"a function of one row ({', '.join(near) + ', ...' if near else 'such as COALESCE'})",
        f"{before}",
    )


def _refusal(place: str, text: str, expected: str, found: str) -> ValueError:
    return ValueError(
        f"{place} = {text[:80]!r}: expected {expected}, got {' '.join(found.split())[:200]}. "
        "To mend it: write a polars SQL expression of columns of the same row, or add the column "
        "to the files beforehand."
    )
