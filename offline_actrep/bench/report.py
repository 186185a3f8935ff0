"""A bench's rows -> its figures, tables and verdicts; nothing is run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from offline_actrep import plots
from offline_actrep.bench import figures
from offline_actrep.bench.data import cell_data, published_hash
from offline_actrep.bench.findings import (
    Findings,
    Improvement,
    actions_of,
    at_every_value,
    find,
)
from offline_actrep.bench.job import Job
from offline_actrep.bench.plan import BenchRecipe, Cell, Sweep
from offline_actrep.bench.rows import Row, read_rows
from offline_actrep.bench.running import sorted_out, unjudged, wanted
from offline_actrep.bench.scores import Scores
from offline_actrep.bench.selection import Selection
from offline_actrep.bench.tuning import UNTUNED, Tuned
from offline_actrep.bench.verdicts import short
from offline_actrep.core.estimate import Estimate
from offline_actrep.files.artifact import write_json, write_text
from offline_actrep.report import FigureFile, Section, Table, markdown_table, write_report


def draw(job: Job) -> Path:
    """Figures, `bench.md` and `statistics.json` beside the rows; one page, whose path it gives.

    Raises:
        ValueError: there are no rows of this bench.
    """
    bench, places = job.bench, job.places
    rows, setups = read_rows(places.rows), wanted(bench, Tuned.read(places.tuned))
    current, outdated = sorted_out(rows, setups)
    if not current:
        stale = f"; its {len(outdated)} rows are outdated" if outdated else ""
        raise ValueError(f"{places.rows} has no row of this bench{stale}: run the bench first")
    asked = [row for row in current if job.only.has_row(row.key)]
    if not asked:
        raise ValueError("no row is left of the worlds, tiers, methods and seeds asked for")
    scores = Scores(bench, asked)
    found = find(scores)
    there = {row.key for row in current}
    missing = [key for key in setups if key not in there and job.only.has_row(key)]
    outdated = [row for row in outdated if job.only.has_row(row.key)]
    sections = [
        _status(scores, job.only.words, missing, outdated),
        _headline(scores, found, places.publish),
        _verdicts(found, places.publish),
        _sweeps(scores, found, places.publish),
        _curves(scores, found, places.publish),
        _cost(scores, found, places.publish),
        _fqe(scores, found, places.publish),
        _ablation(scores, found, places.publish),
        _details(scores, found),
    ]
    sections = [each for each in sections if each.tables or each.figures or each.text]
    places.out.mkdir(parents=True, exist_ok=True)
    write_json(places.publish / "statistics.json", found.as_dict())
    title = bench.title or bench.name
    write_text(places.publish / "bench.md", _markdown(title, sections))
    return write_report(
        places.out / "bench.html",
        title=title,
        subtitle=f"{len(asked):,} rows, seeds "
        + ", ".join(map(str, sorted({row.seed for row in asked}))),
        sections=sections,
        provenance=_provenance(asked),
    )


def _provenance(rows: Sequence[Row]) -> dict[str, str]:
    return {
        "code": ", ".join(sorted({row.git_revision for row in rows})),
        "machines": "; ".join(sorted({row.machine for row in rows})),
        "logs": ", ".join(sorted({f"{row.cell.name} {row.data_hash[:12]}" for row in rows})),
    }


def _markdown(title: str, sections: Sequence[Section]) -> str:
    parts = [f"# {title}", "Made by `offline-actrep bench --report` from `rows.parquet` alone."]
    for each in sections:
        parts.append(f"## {each.title}")
        parts += [*each.paragraphs]
        parts += [f"![{figure.caption}]({figure.path.name})" for figure in each.figures]
        parts += [markdown_table(table) for table in each.tables]
    return "\n\n".join(parts) + "\n"


def _status(
    scores: Scores, part: str, missing: Sequence[object], outdated: Sequence[Row]
) -> Section:
    """What is there, what is not, and what is no longer as the TOML says."""
    rows = scores.rows
    untuned = sorted({row.method for row in rows if row.tuning == UNTUNED})
    parts = [
        "Normalised return: 0 is random actions, 1 the best policy known of the data sets' "
        "headroom table, or the scripted one where that does not know the log. Interquartile means "
        "over seeds with 95 % stratified bootstrap intervals (rliable); an interval of one seed is "
        "not known.",
        *([f"A part of the bench alone: {part}."] if part else []),
        f"{len(rows):,} rows count; {len(missing):,} that {'it' if part else 'the bench'} asks for "
        f"are not there; {len(outdated):,} are outdated (of other settings or rules) and left out.",
    ]
    if silent := unjudged(scores.bench, rows):
        parts.append(
            f"Without FQE's word: {silent:,}, judged when FQE had other settings. The same "
            "command judges their policies again, and trains those that are no longer there."
        )
    if untuned:
        parts.append(f"Untuned defaults: {'; '.join(untuned)}.")
    mixed = [
        cell.name
        for cell in (*scores.cells(), *scores.swept())
        if len({_ground(row) for row in rows if row.cell == cell}) > 1
    ]
    if mixed:
        parts.append(
            f"Rows of more than one log, or held against other returns of random actions and of "
            f"the best policy known: {', '.join(mixed)}. Run the bench to make those of the other "
            "logs anew."
        )
    others = [cell.name for cell in scores.cells() if _of_another_log(scores.bench, cell, rows)]
    if others:
        parts.append(
            f"Not of the log that its card speaks of now: {', '.join(others)}. The methods of each "
            "met on a log of before; the bench makes these rows anew."
        )
    return Section("What is here", "\n\n".join(parts))


def _of_another_log(bench: BenchRecipe, cell: Cell, rows: Sequence[Row]) -> bool:
    """Whether a card states the log of a cell and none of its rows is of that one."""
    stated = published_hash(bench, cell_data(bench, cell))
    return stated is not None and all(row.data_hash != stated for row in rows if row.cell == cell)


def _ground(row: Row) -> tuple[object, ...]:
    """What the rows of one log have in common."""
    return row.data_hash, row.random_return, row.best_return, row.behaviour_return


def _headline(scores: Scores, found: Findings, folder: Path) -> Section:
    order, drawn = scores.bench.order, []
    names = [each.name for each in scores.bench.methods]
    for group, cells in scores.groups().items():
        panels = [
            figures.Panel(cell.name, found.last[cell], found.behaviour[cell].value)
            for cell in cells
        ]
        figure = figures.intervals(panels, names, order)
        file = plots.save(figure, folder / f"returns-{group}.png")
        drawn.append(FigureFile(file, f"Normalised returns of every method: {group}."))
    for tier, each in found.together.items():
        if each.profiles:
            file = plots.save(
                figures.profiles(each.profiles, order), folder / f"profiles-{tier}.png"
            )
            caption = f"Share of runs above each normalised return: {', '.join(each.logs)}."
            drawn.append(FigureFile(file, caption))
    cells, whole = scores.cells(), [each.overall for each in found.together.values()]
    rows = [
        [
            name,
            *(_cell(found.last[cell].get(name)) for cell in cells),
            *(_cell(overall.get(name)) for overall in whole),
        ]
        for name in names
        if any(name in found.last[cell] for cell in cells)
    ]
    logged = ["behaviour (the log)", *(f"{found.behaviour[cell].value:.2f}" for cell in cells)]
    together = [f"{tier}: {len(each.logs)} logs" for tier, each in found.together.items()]
    table = Table(
        ("method", *(cell.name for cell in cells), *together),
        [*rows, [*logged, *("-" for _ in whole)]],
        caption="Normalised return of the last checkpoint: interquartile mean and 95 % interval; "
        "last, over the logs of worlds that are for all methods.",
    )
    return Section("Returns", "", [table, *_improvements(scores, found)], drawn)


def _improvements(scores: Scores, found: Findings) -> list[Table]:
    """One a tier, of those that have any."""
    over, tables = scores.bench.figures.over, []
    for tier, each in found.together.items():
        rows = [
            [one.name, *(_better(each.improvement.get((one.name, other))) for other in over)]
            for one in scores.bench.methods
            if any((one.name, other) in each.improvement for other in over)
        ]
        caption = (
            f"{tier}: probability that a run is better than one of the other method, a mean over "
            "the logs that both have; rows of other logs are not to be held against each other."
        )
        if rows:
            tables.append(Table(("method", *(f"over {name}" for name in over)), rows, caption))
    return tables


def _better(found: Improvement | None) -> str:
    return "-" if found is None else f"{short(found.found)}, {len(found.logs)} logs"


def _verdicts(found: Findings, folder: Path) -> Section:
    if not found.verdicts:
        return Section("Claims", "")
    rows = [
        [each.claim, each.where, each.better, each.verdict, each.why] for each in found.verdicts
    ]
    rule = (
        "On a log a claim holds where the interval of the normalised return lies above those of "
        "all rivals, and does not hold where it lies below one of theirs. In a sweep it holds "
        "where every rival falls (the interval of what it loses a doubling of the actions lies "
        "above 0) and loses more (so does that of the difference), and does not hold where one "
        "of these intervals lies below 0. Else the intervals cannot tell."
    )
    table = Table(("claim", "where", "method", "verdict", "why"), rows)
    file = plots.save(figures.claims(found.verdicts), folder / "claims.png")
    caption = "What the intervals say of each claim, and of how many of the rivals named in it."
    return Section("Claims", rule, [table], [FigureFile(file, caption)])


def _sweeps(scores: Scores, found: Findings, folder: Path) -> Section:
    panels: dict[str, dict[str, figures.Line]] = {}
    tables = []
    for sweep in scores.bench.sweeps:
        cells = [cell for cell in sweep.cells() if cell in found.last]
        if len(cells) < 2:  # the plain value alone, from the comparison of methods
            continue
        places = actions_of(scores, cells)
        lines = {}
        for name in sweep.methods:
            seen = [k for k, cell in enumerate(cells) if name in found.last[cell]]
            if seen:
                scored = [found.last[cells[k]][name] for k in seen]
                lines[name] = _line(places[seen], scored)
        panels[sweep.name] = lines
        left = sorted(set(sweep.methods) - set(at_every_value(scores, sweep, sweep.methods)))
        note = f" Not at every value: {', '.join(left)}." if len(left) < len(sweep.methods) else ""
        tables.append(_sweep_table(sweep, cells, places, found, note if left else ""))
    if not panels:
        return Section("Return against the number of actions", "")
    file = plots.save(figures.sweeps(panels, scores.bench.order), folder / "actions.png")
    caption = "Normalised return as the number of actions grows, with as many logged rows."
    return Section("Return against the number of actions", "", tables, [FigureFile(file, caption)])


def _sweep_table(
    sweep: Sweep,
    cells: Sequence[Cell],
    places: np.ndarray,
    found: Findings,
    note: str,
) -> Table:
    declines = found.declines[sweep.name].of if sweep.name in found.declines else {}
    return Table(
        ("method", *(f"{int(count):,} actions" for count in places), "lost a doubling"),
        [
            [
                name,
                *(_cell(found.last[cell].get(name)) for cell in cells),
                _cell(declines.get(name)),
            ]
            for name in sweep.methods
            if any(name in found.last[cell] for cell in cells)
        ],
        caption=f"{sweep.name}: interquartile means, and what the mean over seeds loses.{note}",
    )


def _line(places: np.ndarray, scored: Sequence[Estimate]) -> figures.Line:
    middle, low, high = (
        np.array([getattr(each, end) for each in scored], np.float64)
        for end in ("value", "low", "high")
    )
    return figures.Line(places.astype(np.float64), middle, low, high)


def _curves(scores: Scores, found: Findings, folder: Path) -> Section:
    drawn = []
    for group, cells in scores.groups().items():
        panels: dict[str, dict[str, figures.Line]] = {}
        for cell in cells:
            lines = {}
            for name in scores.bench.figures.headline:
                runs = [row for row in scores.of(name, cell) if row.curve_steps]
                if runs and len({tuple(row.curve_steps) for row in runs}) == 1:
                    lines[name] = _curve(runs)
            if lines:
                panels[cell.name] = lines
        if panels:
            behaviours = {cell.name: found.behaviour[cell].value for cell in cells}
            figure = figures.curves(panels, behaviours, scores.bench.order)
            file = plots.save(figure, folder / f"curves-{group}.png")
            drawn.append(FigureFile(file, f"{group}: mean, worst and best of the seeds."))
    return Section("Learning curves", "", (), drawn)


def _curve(runs: Sequence[Row]) -> figures.Line:
    share = np.array([row.normalise(np.array(row.curve_returns, np.float64)) for row in runs])
    steps = np.array(runs[0].curve_steps, np.float64)
    return figures.Line(steps, share.mean(axis=0), share.min(axis=0), share.max(axis=0))


def _cost(scores: Scores, found: Findings, folder: Path) -> Section:
    drawn = []
    for group, cells in scores.groups().items():
        panels = {
            cell.name: {
                name: (float(np.mean([row.seconds for row in scores.of(name, cell)])), score)
                for name, score in found.last[cell].items()
                if name in scores.bench.figures.headline
            }
            for cell in cells
        }
        panels = {name: each for name, each in panels.items() if each}
        if panels:
            figure = figures.costs(panels, scores.bench.order)
            file = plots.save(figure, folder / f"cost-{group}.png")
            drawn.append(FigureFile(file, f"{group}: what a policy costs and what it earns."))
    return Section("Cost", "", (), drawn)


def _fqe(scores: Scores, found: Findings, folder: Path) -> Section:
    drawn, estimator = [], scores.bench.estimate
    if estimator is None or not found.selection:
        return Section("FQE", "")
    for group, cells in scores.groups().items():
        panels = {cell.name: found.selection[cell] for cell in cells if cell in found.selection}
        if panels:
            figure = figures.against_truth(panels, scores.bench.figures.headline)
            file = plots.save(figure, folder / f"fqe-{group}.png")
            caption = f"{group}: what FQE thinks of each policy, over what it earned."
            drawn.append(FigureFile(file, caption))
    text = (
        f"FQE sees {estimator.decisions_ahead:,} decisions ahead (steps / target_update_interval)."
        " Its word is of the last policy; its choice is the one that it thinks best of among the "
        f"last {scores.bench.evaluate.candidates}, held against the last by normalised return."
    )
    table = Table(
        ("log", "rows", "rank correlation", "median error", "choice better", "worse", "mean gain"),
        [_worth(cell, each) for cell, each in found.selection.items()],
        caption="FQE against the discounted return, over all methods and seeds of a log.",
    )
    return Section("FQE", text, [table], drawn)


def _worth(cell: Cell, found: Selection) -> list[str]:
    rank = found.rank_correlation
    return [
        cell.name,
        str(len(found.gains)),
        "-" if rank is None else f"{rank:.2f}",
        f"{found.error:.1f}",
        str(found.better),
        str(found.worse),
        f"{found.gains.mean():+.3f}",
    ]


def _ablation(scores: Scores, found: Findings, folder: Path) -> Section:
    drawn, names = [], scores.bench.figures.ablation
    for group, cells in scores.groups().items():
        panels = [
            figures.Panel(cell.name, rows, found.behaviour[cell].value)
            for cell in cells
            if (rows := {name: each for name, each in found.last[cell].items() if name in names})
            and len(rows) > 1
        ]
        if panels:
            figure = figures.intervals(panels, names, scores.bench.order)
            file = plots.save(figure, folder / f"penalty-{group}.png")
            drawn.append(FigureFile(file, f"{group}: what the penalty p is worth."))
    return Section("Penalty", "", (), drawn)


DETAILS = (
    "method", "seeds", "return", "IQM", "chosen by FQE", "discounted", "FQE", "fit s", "re-label s",
    "train s", "peak MB", "decide µs", "linear R2", "neighbour ratio", "actions chosen",
    "commonest", "repeated", "settings",
)  # fmt: skip


def _details(scores: Scores, found: Findings) -> Section:
    tables = []
    for cell in (*scores.cells(), *scores.swept()):
        one = next(row for row in scores.rows if row.cell == cell)
        caption = (
            f"{cell.name}: random {one.random_return:.1f}, behaviour {one.behaviour_return:.1f}, "
            f"best known {one.best_return:.1f} ({one.best_by}). Means over seeds; IQM of the "
            "normalised return. Actions chosen: how many different ones in the episodes that were "
            "played; commonest: that action's share; repeated: the share of decisions that chose "
            "the action of the decision before (rows of before this was counted have none)."
        )
        rows = [_detail(name, scores.of(name, cell), found, cell) for name in scores.methods(cell)]
        tables.append(Table(DETAILS, rows, caption=caption))
    return Section("Every log", "", tables)


def _detail(name: str, rows: Sequence[Row], found: Findings, cell: Cell) -> list[str]:
    by_fqe = found.chosen.get(cell, {}).get(name)
    peaks = [
        peak
        for row in rows
        for peak in (row.fit_peak_mb, row.relabel_peak_mb, row.train_peak_mb)
        if peak is not None
    ]
    return [
        name,
        str(len(rows)),
        _mean([row.mean_return for row in rows], ".1f"),
        f"{found.last[cell][name].value:.2f}",
        "-" if by_fqe is None else f"{by_fqe.value:.2f}",
        _mean([row.discounted_return for row in rows], ".1f"),
        _mean([row.fqe for row in rows], ".1f"),
        _mean([row.fit_seconds for row in rows], ".0f"),
        _mean([row.relabel_seconds for row in rows], ".1f"),
        _mean([row.train_seconds for row in rows], ".0f"),
        f"{max(peaks):.0f}" if peaks else "-",
        _mean([1e6 * row.decide_seconds for row in rows], ".0f"),
        _mean([row.effect_r2 for row in rows], ".2f"),
        _mean([row.neighbour_ratio for row in rows], ".2f"),
        _mean([row.distinct_actions for row in rows], ".0f"),
        _mean([row.largest_share for row in rows], ".2f"),
        _mean([row.repeated for row in rows], ".2f"),
        rows[0].tuning,
    ]


def _mean(values: Sequence[float | int | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):{form}}" if known else "-"


def _cell(score: Estimate | None) -> str:
    if score is None:
        return "-"
    return short(score)
