"""What the README promises is there: names, commands, files."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

import offline_actrep as oar
from offline_actrep.cli import app
from offline_actrep.files.artifact import read_json

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) +(.*?) *$", re.MULTILINE)


def without_fences(text: str) -> str:
    """Blanks code blocks out, so that a comment in one is no heading; places stay the same."""
    return FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def section(title: str) -> str:
    """The text under a heading, up to the next one of its level."""
    headings = list(HEADING.finditer(without_fences(README)))
    for index, heading in enumerate(headings):
        if heading[2] == title:
            later = (each for each in headings[index + 1 :] if len(each[1]) <= len(heading[1]))
            following = next(later, None)
            return README[heading.end() : following.start() if following else len(README)]
    names = [heading[2] for heading in headings]
    raise AssertionError(f'README.md has no heading "{title}"; it has {names}')


def code() -> str:
    """All that is set as code: blocks and pieces between backticks."""
    blocks = [block[2] for block in FENCE.finditer(README)]
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", without_fences(README))])


def commands() -> dict[str, set[str]]:
    """Every real command and its options."""
    group = get_command(app)
    return {
        name: {flag for parameter in command.params for flag in parameter.opts} | {"--help"}
        for name, command in getattr(group, "commands").items()  # noqa: B009
    }


def test_the_python_of_the_readme_uses_names_that_exist() -> None:
    blocks = [block[2] for block in FENCE.finditer(section("In Python")) if block[1] == "python"]
    assert blocks, 'README.md has no ```python block under "In Python"'
    source = "\n".join(blocks)
    compile(source, "README.md", "exec")
    assert "import offline_actrep as oar" in source
    used = set(re.findall(r"\boar\.([A-Za-z_]\w*)", source))
    assert used, "the Python of README.md uses nothing of the package"
    missing = sorted(name for name in used if not hasattr(oar, name))
    assert not missing, f"README.md uses names that offline_actrep lacks: {missing}"


def test_the_commands_of_the_readme_exist() -> None:
    used = set(re.findall(r"\boffline-actrep +([a-z][\w-]*)", code()))
    assert used, "README.md names no command of offline-actrep"
    assert used <= commands().keys(), f"no such commands: {sorted(used - commands().keys())}"


def test_the_options_of_the_readme_exist() -> None:
    joined = code().replace("\\\n", " ")
    for name, rest in re.findall(r"\boffline-actrep +([a-z][\w-]*)([^\n|#]*)", joined):
        flags = set(re.findall(r"(?<!\S)--[a-z][\w-]*", rest))
        known = commands()[name]
        assert flags <= known, f"offline-actrep {name} has no {sorted(flags - known)}"


def test_the_files_that_the_readme_links_exist() -> None:
    prose = without_fences(README)
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", prose) + re.findall(
        r'(?:src|href)="([^"]+)"', prose
    )
    local = [t.split("#")[0] for t in targets if not re.match(r"[a-z]+:|#|//", t)]
    missing = sorted(target for target in local if not (ROOT / target).exists())
    assert not missing, f"README.md links files that are not there: {missing}"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bpipelines/[\w.-]+\.toml", README))))
def test_the_recipes_that_the_readme_names_exist(target: str) -> None:
    assert (ROOT / target).is_file()


STATISTICS = read_json(ROOT / "pipelines" / "results" / "bench" / "statistics.json")
TABLE = re.compile(r"^(\| method \| maze \|.*)\n\|[-| ]+\|\n((?:\|.*\n)+)", re.MULTILINE)


def cells(line: str) -> list[str]:
    """The cells of a line of a table, without the marks of what is bold or starred."""
    return [re.sub(r"[*\\]", "", cell).strip() for cell in line.strip("|\n ").split("|")]


def number(value: float) -> str:
    """`.84`, `-.10`, `1.00`."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{round(value, 2) + 0.0:.2f}")


def interval(found: dict[str, float] | None) -> str:
    """`.84 [.20, 1.00]`, or a dash of what has not run."""
    if found is None:
        return "-"
    return f"{number(found['value'])} [{number(found['low'])}, {number(found['high'])}]"


def measured(method: str, column: str, tier: str) -> str:
    """What the statistics say of a method in a world, or in all `together`."""
    name = method.replace(", told", ", features")
    if column == "together":
        return interval(STATISTICS["together"][tier]["iqm"].get(name))
    where = f"{re.sub('[ -]', '_', column)}-{tier}"
    if method == "behaviour (the log)":
        return number(STATISTICS["behaviour"][where]["value"])
    return interval(STATISTICS["iqm"][where].get(name))


@pytest.mark.parametrize("name", ["README.md", "pipelines/results/README.md"])
def test_tables_of_methods_say_what_was_measured(name: str) -> None:
    tables = TABLE.findall((ROOT / name).read_text(encoding="utf-8"))
    assert len(tables) == 2, f"{name} has {len(tables)} tables of methods, one a tier was expected"
    for tier, (head, body) in zip(["medium", "mixed"], tables, strict=True):
        columns = cells(head)[1:]
        for line in body.splitlines():
            method, *said = cells(line)
            assert said == [measured(method, column, tier) for column in columns], (tier, method)
