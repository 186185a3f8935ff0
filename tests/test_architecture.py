"""The house rules: who may import whom, and what may stand nowhere."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import offline_actrep

PACKAGE = Path(offline_actrep.__file__).parent
FACE = "offline_actrep"

WINGS = {"simulators", "representations", "offline", "ope", "online"}
BELOW_RUN = {
    "core",
    "nets",
    "files",
    "files.exchange",
    "decoding",
    "simulators",
    "representations",
    "offline",
    "online",
    "ope",
    "rollout",
    "behaviour",
    "relabel",
    "evaluate",
    "recipe",
    "saved",
    "relabel_stream",
    "made_by",
    "portable",
}
BELOW_CLI = BELOW_RUN | {
    "run",
    "report",
    "plots",
    "card",
    "summary",
    "dataset",
    "gallery",
    "convert",
    "convert_report",
    "console",
    "propensity_report",
    "bench",
    "describe",
}

# A room may import itself and these.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "nets": {"core"},
    "files": {"core"},
    "files.exchange": {"core", "files"},
    "simulators": {"core"},
    "decoding": {"core"},
    "rollout": {"core"},
    "report": {"core"},
    "plots": {"core"},
    "behaviour": {"core", "rollout"},
    "relabel": {"core", "files", "files.exchange"},
    "relabel_stream": {"core", "files", "relabel"},
    "convert_report": {"core", "files", "report", "plots"},
    "convert": {"core", "files", "convert_report"},
    "representations": {"core", "nets", "decoding"},
    "offline": {"core", "nets", "relabel", "files.exchange"},
    "online": {"core", "nets", "decoding", "rollout"},
    "ope": {"core", "nets", "files.exchange"},
    "evaluate": {"core", "nets", "rollout", "ope", "offline"},
    "recipe": {"core", "nets", "files", "behaviour"} | WINGS,
    "made_by": {"nets"},
    "portable": {"core"},
    "saved": {"core", "nets", "files", "representations", "offline", "online"},
    "card": {"core", "nets", "files", "behaviour", "evaluate", "offline", "report"},
    "dataset": BELOW_RUN | {"card", "report"},
    "gallery": BELOW_RUN | {"dataset", "report", "plots"},
    "run": BELOW_RUN,
    "summary": BELOW_RUN | {"run", "report", "plots"},
    "propensity_report": {"core", "files", "ope", "report", "plots"},
    "bench": BELOW_RUN | {"run", "dataset", "report", "plots"},
    "describe": BELOW_RUN | {"bench", "dataset", "report"},
    "console": {"core", "files", "nets", "simulators", "run"},
    "cli_logs": BELOW_CLI,
    "cli_worlds": BELOW_CLI,
    "cli_bench": BELOW_CLI,
    "cli": BELOW_CLI | {"cli_logs", "cli_worlds", "cli_bench"},
    FACE: BELOW_CLI | {"cli"},
}

IMPORTS_D3RLPY = {
    "files/exchange/d3rlpy.py",
    "offline/bridge.py",
    "offline/d3rlpy_learner.py",
    "offline/episodes.py",
    "ope/fqe.py",
}
IMPORTS_SB3 = "online.sb3"
IMPORTS_RLIABLE = "bench.statistics"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    """Dotted, below the package; empty for the face itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda name: name or FACE)


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[:2] == ["files", "exchange"] else parts[0] or FACE


def imports(node: ast.AST) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Every module imported anywhere below the node, dotted from the top."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from ((alias.name, found) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            for alias in found.names:
                whole = f"{found.module}.{alias.name}"
                is_module = whole.removeprefix(f"{FACE}.") in MODULES
                yield (whole if is_module else found.module or "."), found


def broken_arrows(module: str, node: ast.AST) -> list[str]:
    """What the module imports of ours that its room may not."""
    room = room_of(module)
    allowed = MAY_IMPORT[room] | {room}
    ours = (name for name, _ in imports(node) if name.split(".")[0] == FACE)
    return [name for name in ours if room_of(name.removeprefix(FACE)[1:]) not in allowed]


def nested_imports(node: ast.Module) -> list[int]:
    """Lines of imports inside functions or classes."""
    scopes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    inside = [scope for scope in ast.walk(node) if isinstance(scope, scopes)]
    return sorted({found.lineno for scope in inside for _, found in imports(scope)})


def words(node: ast.AST) -> set[str]:
    """Every name and dotted attribute that the code uses."""
    return {
        ast.unparse(found)
        for found in ast.walk(node)
        if isinstance(found, ast.Name | ast.Attribute)
    }


def test_every_room_has_its_row_in_the_table() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert rooms - MAY_IMPORT.keys() == set(), "a new room needs a row that says whom it imports"


def test_the_table_has_no_circle() -> None:
    floors: dict[str, int] = {}

    def floor(room: str, above: tuple[str, ...]) -> int:
        assert room not in above, f"circle: {' -> '.join((*above, room))}"
        if room not in floors:
            below = MAY_IMPORT[room] - {room}
            floors[room] = 1 + max((floor(b, (*above, room)) for b in below), default=0)
        return floors[room]

    assert floor(FACE, ()) > floor("core", ()) == 1
    assert set(floors) == set(MAY_IMPORT)


def test_wings_are_strangers_to_each_other() -> None:
    for wing in WINGS:
        assert not MAY_IMPORT[wing] & WINGS


@each_module
def test_arrows_run_as_the_table_says(module: str) -> None:
    assert broken_arrows(module, tree(MODULES[module])) == []


@each_module
def test_imports_stand_at_the_top_and_are_absolute(module: str) -> None:
    node = tree(MODULES[module])
    assert nested_imports(node) == []
    relative = [f.lineno for _, f in imports(node) if isinstance(f, ast.ImportFrom) and f.level]
    assert relative == []
    names = words(node) | {alias.name for _, found in imports(node) for alias in found.names}
    assert not {name for name in names if name.split(".")[-1] == "TYPE_CHECKING"}


@each_module
def test_d3rlpy_is_imported_at_its_doors_only(module: str) -> None:
    theirs = {name.split(".")[0] for name, _ in imports(tree(MODULES[module]))}
    place = MODULES[module].relative_to(PACKAGE).as_posix()
    assert ("d3rlpy" in theirs) <= (place in IMPORTS_D3RLPY)


@each_module
def test_stable_baselines3_is_imported_at_its_one_door_only(module: str) -> None:
    theirs = {name.split(".")[0] for name, _ in imports(tree(MODULES[module]))}
    assert ("stable_baselines3" in theirs) == (module == IMPORTS_SB3)


@each_module
def test_rliable_is_imported_at_its_one_door_only(module: str) -> None:
    theirs = {name.split(".")[0] for name, _ in imports(tree(MODULES[module]))}
    assert ("rliable" in theirs) == (module == IMPORTS_RLIABLE)


def test_the_face_does_not_reach_the_door_of_an_extra() -> None:
    """Whoever imports the package does not import stable-baselines3 or rliable."""
    reached: set[str] = set()
    todo = {""}
    while todo:
        module = todo.pop()
        reached.add(module)
        names = {name.removeprefix(FACE)[1:] for name, _ in imports(tree(MODULES[module]))}
        todo |= (names & MODULES.keys()) - reached
    assert "online.policies" in reached
    assert not {IMPORTS_SB3, IMPORTS_RLIABLE} & reached


@each_module
def test_nothing_is_pickled(module: str) -> None:
    node = tree(MODULES[module])
    imported = {name for name, _ in imports(node)}
    picklers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
    assert not {name.split(".")[0] for name in imported} & picklers
    unsafe = {"torch.load", "torch.save", "torch.jit.load"}
    assert not words(node) & unsafe
    from_torch = [
        alias.name
        for _, found in imports(node)
        if isinstance(found, ast.ImportFrom) and found.module == "torch"
        for alias in found.names
    ]
    assert not {"load", "save"} & set(from_torch)
    assert "allow_pickle=True" not in MODULES[module].read_text(encoding="utf-8")


@each_module
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree(MODULES[module])), f"{MODULES[module]} needs a docstring"


def test_no_room_is_a_lumber_room() -> None:
    stems = {path.stem for path in MODULES.values()}
    assert not stems & {"utils", "util", "helpers", "misc", "common"}


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


# --- the rules themselves, on code that breaks them


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("core.log", "from offline_actrep.nets.mlp import mlp"),
        ("core.log", "import offline_actrep.run"),
        ("core.log", "from offline_actrep import plots"),
        ("representations.merlion", "from offline_actrep.simulators.maze import Maze"),
        ("offline.train", "from offline_actrep.representations import catalog"),
        ("offline.train", "from offline_actrep.files.parquet import read_log"),
        ("online.sb3", "from offline_actrep.representations import catalog"),
        ("ope.fqe", "from offline_actrep.offline.train import train"),
        ("run", "from offline_actrep.cli import main"),
        ("run", "from offline_actrep import Log"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, code: str) -> None:
    assert len(broken_arrows(module, ast.parse(code))) == 1


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("core.policy", "from offline_actrep.core.actions import ActionSet"),
        ("offline.train", "from offline_actrep.files.exchange.d3rlpy import mdp_dataset"),
        ("summary", "from offline_actrep import plots"),
        ("core.log", "import numpy as np"),
    ],
)
def test_a_right_arrow_is_let_through(module: str, code: str) -> None:
    assert broken_arrows(module, ast.parse(code)) == []


def test_a_hidden_import_is_seen() -> None:
    code = "import os\ndef f():\n    if os:\n        from sys import path\n    return path\n"
    assert nested_imports(ast.parse(code)) == [4]
    guarded = "try:\n    import os\nexcept ImportError:\n    os = None"
    assert nested_imports(ast.parse(guarded)) == []


def test_words_are_seen_in_full() -> None:
    assert "torch.load" in words(ast.parse("state = torch.load(path)['a']"))
    assert "typing.TYPE_CHECKING" in words(ast.parse("if typing.TYPE_CHECKING: pass"))
