"""The table of rules: what code names is in it, what it holds is in the documents."""

import ast
from pathlib import Path

import pytest

import offline_actrep
from offline_actrep.files.rules import RULES, SEVERITIES, rules_table, severities_table

PACKAGE = Path(offline_actrep.__file__).parent
README = PACKAGE.parent / "datasets" / "README.md"
ASKING = ("files/checks.py", "files/sift.py", "files/parquet.py", "convert_report.py")


def named_in(module: str) -> set[str]:
    """Every string in a module that is the name of a rule."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {name for name in RULES if name in strings}


def rule_arguments(module: str) -> set[str]:
    """What is given as the rule of a fault."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    makers = {"find_faults", "Fault"}
    first = [c.args[0] for c in calls if isinstance(c.func, ast.Name) and c.func.id in makers]
    return {one.value for one in first if isinstance(one, ast.Constant)}


def test_every_rule_says_what_holds_and_how_to_mend_it() -> None:
    for name, rule in RULES.items():
        assert rule.name == name and name.isidentifier() and name.islower()
        assert rule.severity in SEVERITIES
        for words in (rule.text, rule.mend):
            assert len(words) > 15 and not words.endswith(".") and "|" not in words
    assert len({rule.text for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("module", ASKING)
def test_faults_name_rules_that_there_are(module: str) -> None:
    assert rule_arguments(module) <= set(RULES)


def test_every_rule_of_rows_is_asked_somewhere() -> None:
    asked = set().union(*(named_in(module) for module in ASKING))
    of_rows = {name for name, rule in RULES.items() if rule.severity != "refused"}
    assert of_rows - asked == set()


def test_the_documents_hold_the_table() -> None:
    text = README.read_text(encoding="utf-8")
    assert rules_table() in text, "datasets/README.md: put rules.rules_table() there anew"
    assert severities_table() in text
