"""A finished run -> its figures, its tables and its report."""

import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from offline_actrep import plots
from offline_actrep.core.estimate import Estimate, iqm_estimate, mean_estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy, DecodedPolicy
from offline_actrep.files.artifact import read_json, write_json, write_text
from offline_actrep.nets.computing import hardware
from offline_actrep.offline.d3rlpy_learner import VERSION as D3RLPY_VERSION
from offline_actrep.online.action_values import ActionValues, action_values
from offline_actrep.recipe import ValuesRecipe
from offline_actrep.report import FigureFile, Section, Table, markdown_table, write_report
from offline_actrep.representations.probe import distance_pairs
from offline_actrep.rollout import play
from offline_actrep.run import EVALUATION_SEED, Layout
from offline_actrep.saved import load_critic, load_policy, load_representation
from offline_actrep.simulators.maze import Maze


def summarise(layout: Layout) -> Path:
    """Draws everything and writes `report.html`; the path of it.

    Raises:
        ValueError: the run has not finished.
    """
    if not (layout.folder / "results.json").is_file():
        raise ValueError(f"{layout.folder} holds no finished run: run the recipe first")
    found = read_json(layout.folder / "results.json")
    log = layout.read_log()
    figures = layout.folder / "figures"
    figures.mkdir(exist_ok=True)
    sections = [
        _headline(layout, log, found, figures),
        *_curves(found, figures),
        *_choices(found),
        *_walks(layout, figures),
        *_points(layout, log, found, figures),
        *_values(layout, figures),
        _log_section(log, figures),
    ]
    return write_report(
        layout.folder / "report.html",
        title=layout.recipe.title or layout.recipe.name,
        subtitle=f"{log!r}",
        sections=sections,
        provenance={
            "offline_actrep": found["version"],
            "d3rlpy": D3RLPY_VERSION,
            "torch": torch.__version__,
            "log": str(found["log"]["key"]),
            "log fingerprint": log.fingerprint,
            "seeds": ", ".join(str(seed) for seed in layout.recipe.seeds),
            "gamma": str(layout.recipe.gamma),
        },
    )


def publish(layout: Layout, folder: Path) -> list[Path]:
    """Keeps a finished run's findings beside its recipe: JSON, a Markdown table, figures.

    A row a policy and seed: mean returns, estimates, seconds, the learning curve; with what made
    them. Single episodes stay in the run's folder.
    """
    found = read_json(layout.folder / "results.json")
    for run in found["runs"]:
        for judged in (run, run.get("chosen_by_fqe", {})):
            for name in {"returns", "discounted_returns"} & judged.keys():
                judged[f"mean_{name}"] = float(np.mean(judged[name]))
                judged["episodes"] = len(judged.pop(name))
    references = {
        name: mean_estimate(np.asarray(values), seed=0).as_dict()
        for name, values in found["references"].items()
        if name != "best_known"
    }
    if "best_known" in found["references"]:
        references["best_known"] = found["references"]["best_known"]
    found["references"] = references
    found["recipe"] = layout.recipe.model_dump(
        mode="json", exclude={"log": {"path", "action_table"}}
    )
    found["made_with"] = {
        "d3rlpy": D3RLPY_VERSION,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": hardware(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    name = layout.recipe.name
    write_json(folder / f"{name}.json", found)
    tables = (results_table(layout), *choices_tables(found), probe_table(found["probes"]))
    text = "\n\n".join(markdown_table(table) for table in tables)
    write_text(folder / f"{name}.md", f"# {layout.recipe.title or name}\n\n{text}\n")
    kept = [folder / f"{name}.json", folder / f"{name}.md"]
    for figure, copy in (
        ("curves", f"{name}-curves.png"),
        ("results", f"{name}-results.png"),
        ("values", f"{name}.png"),
    ):
        drawn = layout.folder / "figures" / f"{figure}.png"
        if drawn.is_file():
            kept.append(Path(shutil.copy(drawn, folder / copy)))
    return kept


def results_table(layout: Layout) -> Table:
    """A row a policy: true return where there is a world, FQE from the log, cost."""
    found = read_json(layout.folder / "results.json")
    references = found["references"]
    played = "random" in references
    rows = []
    if played:
        random = mean_estimate(np.asarray(references["random"]), seed=0)
        rows.append(["random", "-", f"{random.value:.1f}", _span(random), *["-"] * 4])
    behaviour = mean_estimate(np.asarray(references["behaviour"]), seed=0)
    discounted = mean_estimate(np.asarray(references["behaviour_discounted"]), seed=0)
    rows.append(
        [
            "behaviour (the log)",
            "-",
            f"{behaviour.value:.1f}",
            _span(behaviour),
            f"{discounted.value:.1f}",
            *["-"] * 3,
        ]
    )
    for name in dict.fromkeys(run["learner"] for run in found["runs"]):
        runs = [run for run in found["runs"] if run["learner"] == name]
        rows.append(_row(name, runs))
    if "best_known" in references:
        best = f"{references['best_known']:.1f}"
        rows.append(["best known", "-", best, "-", *["-"] * 4])
    return Table(
        columns=(
            "policy", "steps", "return", "95 % interval", "discounted return", "FQE estimate",
            "FQE interval", "train seconds",
        ),
        rows=rows,
        caption=_caption(layout, played),
    )  # fmt: skip


def _caption(layout: Layout, played: bool) -> str:
    recipe, seeds = layout.recipe, len(layout.recipe.seeds)
    said = f"Discounted return and FQE with gamma {recipe.gamma}; FQE sees only the log. "
    if seeds > 1:
        said += f"Means over {seeds} seeds. "
    if played:
        episodes = f"mean of {recipe.evaluate.episodes} episodes, bootstrap interval. "
        over = f"interquartile mean over {seeds} seeds of the " if seeds > 1 else ""
        said = f"Return: {over}{episodes}{said}"
    return said + "The first interval of the behaviour is over its episodes."


def policy_returns(runs: Sequence[Mapping[str, Any]]) -> Estimate:
    """Of one seed over its episodes; of several, interquartile mean over the seeds' means."""
    if len(runs) == 1:
        return mean_estimate(np.asarray(runs[0]["returns"]), seed=0)
    return iqm_estimate(np.asarray([np.mean(run["returns"]) for run in runs]), seed=0)


def _row(name: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [name, f"{runs[0]['steps']:,}"]
    if "returns" in runs[0]:
        estimate = policy_returns(runs)
        discounted = float(np.mean([np.mean(run["discounted_returns"]) for run in runs]))
        cells += [f"{estimate.value:.1f}", _span(estimate), f"{discounted:.1f}"]
    else:
        cells += ["-", "-", "-"]
    judged = [run["fqe"] for run in runs if "fqe" in run]
    if judged:
        cells += [
            f"{np.mean([fqe['value'] for fqe in judged]):.1f}",
            f"{np.mean([fqe['low'] for fqe in judged]):.1f} to "
            f"{np.mean([fqe['high'] for fqe in judged]):.1f}",
        ]
    else:
        cells += ["-", "-"]
    return [*cells, f"{np.mean([run['train_seconds'] for run in runs]):.0f}"]


def _span(estimate: Estimate) -> str:
    return f"{estimate.low:.1f} to {estimate.high:.1f}"


def _headline(layout: Layout, log: Log, found: Mapping[str, Any], figures: Path) -> Section:
    table = results_table(layout)
    runs = found["runs"]
    names = list(dict.fromkeys(run["learner"] for run in runs))
    if "returns" not in runs[0]:
        judged = [(run["learner"], Estimate(**run["fqe"])) for run in runs if "fqe" in run]
        label = f"FQE: discounted return from the log alone (gamma {layout.recipe.gamma})"
        logged = float(np.mean(found["references"]["behaviour_discounted"]))
        references = {"behaviour": logged}
    else:
        judged = [
            (name, policy_returns([run for run in runs if run["learner"] == name]))
            for name in names
        ]
        label = "return of an episode"
        references = _references(found)
    if not judged:
        return Section("Results", "", (table,))
    file = plots.save(
        plots.interval_chart(judged, label=label, references=references),
        figures / "results.png",
    )
    text = (
        "Every policy learnt from the same log, with the same features, discount and reward scale."
        f"{_about_fqe(layout, log, runs)}"
    )
    return Section("Results", text, (table,), (FigureFile(file, label),))


def _about_fqe(layout: Layout, log: Log, runs: Sequence[Mapping[str, Any]]) -> str:
    estimator = layout.recipe.estimate
    if estimator is None or not any("fqe" in run for run in runs):
        return ""
    return (
        " FQE judges a policy from the log alone; hold it against the discounted return, not the "
        "return. Its interval covers the noise of the log and of the fit, not a bias that all its "
        f"fits share: what lies more than {estimator.decisions_ahead:,} decisions ahead it does "
        "not see (steps / target_update_interval; an episode of the log lasts "
        f"{log.lengths.mean():,.0f} on average)."
    )


def _references(found: Mapping[str, Any]) -> dict[str, float]:
    references = found["references"]
    known = {"behaviour": float(np.mean(references["behaviour"]))}
    if "random" in references:
        known["random"] = float(np.mean(references["random"]))
    if "best_known" in references:
        known["best known"] = float(references["best_known"])
    return known


def _curves(found: Mapping[str, Any], figures: Path) -> list[Section]:
    curves: dict[str, list[plots.Curve]] = {}
    for run in found["runs"]:
        looks = run["curve"]
        curves.setdefault(run["learner"], []).append(
            plots.Curve(
                steps=np.array([look["step"] for look in looks]),
                returns=_measured(looks, "return"),
                start_q=_measured(looks, "start_q"),
                near_share=_measured(looks, "near_share"),
            )
        )
    every = [curve for runs in curves.values() for curve in runs]
    if all(c.returns is None and c.start_q is None and c.near_share is None for c in every):
        return []
    references = _references(found) if "random" in found["references"] else {}
    file = plots.save(plots.learning_curves(curves, references=references), figures / "curves.png")
    text = (
        "The policy as it was learnt: its true return where there is a simulator, its own Q at "
        "the episodes' first states in the log's unit of reward, and how often the point that it "
        "wants lies near a real action's point. A Q above what the world can pay, or a share "
        "near 0, says that the learner trusts points where no action is."
    )
    return [
        Section(
            "Learning curves",
            text,
            (),
            (FigureFile(file, "By gradient step; by decision for learners in the world."),),
        )
    ]


def _measured(looks: Sequence[Mapping[str, Any]], name: str) -> np.ndarray | None:
    values = [look[name] for look in looks]
    if all(value is None for value in values):
        return None
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _choices(found: Mapping[str, Any]) -> list[Section]:
    text = (
        "A policy on points that hardly move from state to state chooses the same few actions over "
        "and over. Whether that is right, the return says."
    )
    return [Section("Choices", text, (table,)) for table in choices_tables(found)]


CHOSEN = {
    "distinct_actions": ("distinct actions", "{:,.0f}"),
    "largest_share": ("share of the commonest", "{:.1%}"),
    "repeated": ("same as the decision before", "{:.1%}"),
}
"""What of choices stands in the table: its heading, and how it is written."""


def choices_tables(found: Mapping[str, Any]) -> list[Table]:
    """One table with a row a policy, means over seeds; none where nobody counted."""
    counted = [run for run in found["runs"] if "choices" in run]
    if not counted:
        return []
    named = {"random": "random", "behaviour": "behaviour (the log)"}
    references = found["reference_choices"]
    policies = [(said, [references[key]]) for key, said in named.items() if key in references]
    for name in dict.fromkeys(run["learner"] for run in counted):
        policies.append((name, [run["choices"] for run in counted if run["learner"] == name]))
    rows = []
    for name, chosen in policies:
        cells = []
        for key, (_, form) in CHOSEN.items():
            known = [one[key] for one in chosen if one[key] is not None]
            cells.append(form.format(np.mean(known)) if known else "-")
        rows.append([name, *cells])
    headings = ("policy", *(heading for heading, _ in CHOSEN.values()))
    played = "random" in references
    where = "the episodes that were played" if played else "2,048 logged states; of the log, in all"
    return [Table(headings, rows, f"What was chosen in {where}.")]


def _walks(layout: Layout, figures: Path, episodes: int = 8) -> list[Section]:
    world = layout.world(episodes)
    if not isinstance(world, Maze):
        return []
    paths = {}
    for learner in layout.recipe.policies:
        policy = load_policy(layout.policy(learner, layout.recipe.seeds[0]))
        paths[learner.name] = _positions(policy, world)
    file = plots.save(plots.trajectories(_scene(world), paths), figures / "trajectories.png")
    text = f"{episodes} episodes of each policy in the maze, from the start to where they ended."
    return [Section("Trajectories", text, (), (FigureFile(file, "One panel a policy."),))]


def _positions(policy: AbstractPolicy, world: Maze) -> list[np.ndarray]:
    steps: list[np.ndarray] = []
    over = np.zeros(world.num_envs, bool)
    kept = []
    for row in play(policy, world, seed=EVALUATION_SEED):
        if not steps:
            steps.append(row.observations[:, :2])
            kept.append(~over)
        steps.append(row.next_observations[:, :2])
        kept.append(~over)
        over = over | row.terminated | row.truncated
        if over.all():
            break
    walked, alive = np.stack(steps).astype(np.float64), np.stack(kept)
    return [walked[alive[:, b], b] for b in range(world.num_envs)]


def _scene(world: Maze) -> plots.Scene:
    def box(area: Any) -> plots.Box:
        return (area.x_low, area.x_high, area.y_low, area.y_high)

    settings = world.settings
    regions = [("goal", box(settings.goal), "#009E73")]
    for region in settings.regions:
        colour = "#E69F00" if region.reward > 0 else "#D55E00"
        regions.append((f"{region.reward:+.0f}", box(region.box), colour))
    return plots.Scene([box(wall) for wall in settings.walls], regions, settings.start)


def _points(layout: Layout, log: Log, found: Mapping[str, Any], figures: Path) -> list[Section]:
    if not layout.recipe.representations:
        return []
    seed = layout.recipe.seeds[0]
    files = []
    for representation in layout.recipe.representations:
        folder = layout.points(representation, seed) / "representation"
        pairs = distance_pairs(log, load_representation(folder), seed=seed)
        if pairs is not None:
            name = f"distances-{representation.name}.png"
            caption = f"{representation.name}: distances of points against the wanted distances."
            figure = plots.distance_fit(*pairs)
            files.append(FigureFile(plots.save(figure, figures / name), caption))
        files += _map(layout, representation.name, log, seed, figures)
    text = (
        "How good the points are, before and apart from any policy. Neighbour ratio: how much "
        "the true effects of nearest points differ, over how much those of random actions do "
        "(0 is perfect, 1 is noise). Linear R2: how much of the true effect a linear map reads "
        "off the points of a state."
    )
    return [Section("Points", text, (probe_table(found["probes"]),), files)]


PROBED = {
    "distinct_actions": "distinct actions",
    "round_trip": "round trip",
    "rank": "rank",
    "spread": "spread",
    "unsupported_share": "called unsupported",
    "distance_r2": "distance R2",
    "disagreement": "disagreement",
    "effect_r2": "linear R2 of true effect",
    "neighbour_ratio": "neighbour ratio",
    "fit_seconds": "fit seconds",
}
"""What of a probe stands in the table, and its heading."""


def probe_table(probes: Sequence[Mapping[str, Any]]) -> Table:
    """A row a representation and seed; what no representation has is left out."""
    shown = [key for key in PROBED if any(entry.get(key) is not None for entry in probes)]
    rows = []
    for entry in probes:
        cells = ["-" if entry.get(key) is None else f"{entry[key]:.3g}" for key in shown]
        rows.append([str(entry["representation"]), str(entry["seed"]), *cells])
    headings = ("points", "seed", *(PROBED[key] for key in shown))
    return Table(headings, rows, "Measured in 64 states of the log.")


def _map(
    layout: Layout, representation: str, log: Log, seed: int, figures: Path
) -> list[FigureFile]:
    """Two states, the points of all actions, by true effect and by Q."""
    learners = [each for each in layout.recipe.learners if each.representation == representation]
    if not learners:
        return []
    policy = load_policy(layout.policy(learners[0], seed))
    if not isinstance(policy, DecodedPolicy):
        return []
    middle = log.observations[np.random.default_rng(seed).integers(len(log))]
    world = layout.world(1)
    panels = []
    for title, state in (("first state", log.starts[0]), ("a logged state", middle)):
        table = policy.representation.table(torch.from_numpy(state[None]))[0].numpy()
        states = np.repeat(state[None], len(table), axis=0)
        both = plots.project(np.vstack([table, policy.actor.points(state[None])]))
        flat, chosen = both[:-1], both[-1]
        effects = None if world is None else world.effects(states, np.arange(len(table)))
        if effects is not None and effects.shape[1] == 2:
            panels.append(
                plots.PointPanel(
                    f"{title}: true effect",
                    flat,
                    plots.effect_colours(effects),
                    "effect",
                    chosen,
                )
            )
        q = policy.actor.value(states, table).astype(np.float64)
        q = np.clip(q, *np.quantile(q, (0.02, 0.98)))
        panels.append(plots.PointPanel(f"{title}: Q", flat, q, "Q, clipped", chosen))
    columns = len(panels) // 2
    file = plots.save(
        plots.point_map(panels, columns=columns), figures / f"points-{representation}.png"
    )
    return [
        FigureFile(
            file,
            f"{representation}: all actions' points; the star is what {learners[0].name} wants.",
        )
    ]


def _values(layout: Layout, figures: Path) -> list[Section]:
    """Two or more states, the points of all actions, by what a learner in the world knows."""
    asked, seed = layout.recipe.values, layout.recipe.seeds[0]
    if asked is None:
        return []
    wanted = asked.representations or [each.name for each in layout.recipe.representations]
    points = {
        each.name: load_representation(layout.points(each, seed) / "representation")
        for each in layout.recipe.representations
        if each.name in wanted
    }
    states = []
    for decisions, found in zip(asked.decisions, _action_values(layout, asked), strict=True):
        state = torch.from_numpy(found.observation[None])
        tables = {name: points[name].table(state)[0].numpy() for name in wanted}
        title = (
            f"after {decisions} decision{'s' * (decisions != 1)}" if decisions else "at the start"
        )
        states.append(plots.ValuedState(title, found.values, tables))
    file = plots.save(
        plots.value_map(states, label="Q (discounted reward)"), figures / "values.png"
    )
    text = (
        "Do actions of like worth have like points? The colour is what an action is worth in a "
        f"state: the world's own next step, and then what {asked.learner}, which learnt in the "
        "world, came to expect. No representation has seen these values. Mixing: the mean "
        "difference of value between an action and the one with the nearest point, over that "
        "between any two actions; 0 is sorted, 1 says nothing."
    )
    caption = "All actions' points: a row a state, a column a representation."
    return [Section("What actions are worth", text, (), (FigureFile(file, caption),))]


def _action_values(layout: Layout, asked: ValuesRecipe) -> list[ActionValues]:
    """Of all actions, in each state that is asked for."""
    seed = layout.recipe.seeds[0]
    (learner,) = (each for each in layout.recipe.online if each.name == asked.learner)
    folder = layout.policy(learner, seed)
    policy, critic = load_policy(folder), load_critic(folder)
    world = layout.world(len(policy.action_set))
    assert world is not None
    return [
        action_values(
            world,
            policy,
            critic,
            decisions=decisions,
            seed=EVALUATION_SEED + seed,
            outcomes=asked.outcomes,
        )
        for decisions in asked.decisions
    ]


def _log_section(log: Log, figures: Path) -> Section:
    counts = np.bincount(log.actions, minlength=len(log.action_set))
    facts = Table(
        ("what", "value"),
        [
            ["rows", f"{len(log):,}"],
            ["episodes", f"{log.n_episodes:,}"],
            ["actions in the catalogue", f"{len(log.action_set):,}"],
            ["actions that the log took", f"{int((counts > 0).sum()):,}"],
            ["rows an action, median", f"{np.median(counts):.0f}"],
            ["episodes that terminated", f"{log.terminated.sum() / log.n_episodes:.1%}"],
            [
                "rows without a next observation that do not terminate",
                f"{(~log.usable).sum():,}",
            ],
            [
                "propensities",
                "logged" if log.action_probabilities is not None else "not logged",
            ],
        ],
    )
    frequency = plots.save(plots.action_frequency(counts), figures / "actions.png")
    gains = plots.save(
        plots.histogram(log.returns, label="return of an episode", title="Returns of the log"),
        figures / "returns.png",
    )
    return Section(
        "The log",
        "What the policies were learnt from, after the checks of its schema passed.",
        (facts,),
        (
            FigureFile(frequency, "Rows of each action, most frequent first."),
            FigureFile(gains, "What the behaviour earned."),
        ),
    )
