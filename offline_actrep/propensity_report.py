"""A log with estimated propensities, and a page that says how far to trust them."""

from pathlib import Path

import numpy as np

from offline_actrep.core.log import Log
from offline_actrep.files.artifact import new_artifact, write_json
from offline_actrep.files.parquet import write_action_table, write_log
from offline_actrep.ope.propensities import Propensities
from offline_actrep.plots import calibration, save
from offline_actrep.report import FigureFile, Section, Table, write_report


def write_propensities(log: Log, made: Propensities, folder: str | Path, *, seed: int) -> Path:
    """The log with these propensities in place of its own, `propensities.json`, `calibration.png`
    and `report.html`, in a folder that appears whole; the path of the page."""
    target = Path(folder)
    with new_artifact(target, {"kind": "propensities", "seed": seed}) as draft:
        write_log(made.on(log), draft / "log.parquet")
        write_action_table(log.action_set, draft / "actions.parquet")
        write_json(draft / "propensities.json", made.as_dict())
        bins = np.array([(b.predicted, b.observed, b.low, b.high) for b in made.curve])
        curve = save(calibration(*bins.T), draft / "calibration.png")
        write_report(
            draft / "report.html",
            title="Estimated propensities",
            subtitle=repr(log),
            sections=[_fit_section(made), _curve_section(made, curve), *_agreement_section(made)],
            provenance={"log fingerprint": log.fingerprint, "seed": str(seed)},
        )
    return target / "report.html"


def _fit_section(made: Propensities) -> Section:
    rows = [
        ["estimated", f"{made.log_loss:.4f}"],
        ["the same without calibration", f"{made.log_loss_uncalibrated:.4f}"],
        ["the actions' frequencies alone", f"{made.log_loss_frequency:.4f}"],
    ]
    settings = ", ".join(
        f"T {t:.2f} and {m:.0%} frequencies"
        for t, m in zip(made.temperatures, made.blends, strict=True)
    )
    text = (
        "Mean of -log p of the logged actions, each by a model or by frequencies that saw no row "
        "of its episode, over the allowed actions: less is better. Where the estimate is no better "
        "than the frequencies, the state says nothing of the choice that the model can see. Chosen "
        f"on held-out episodes: {settings}."
    )
    return Section("How well the actions are told", text, (Table(("model", "log loss"), rows),))


def _curve_section(made: Propensities, curve: Path) -> Section:
    rows = [
        [f"{b.predicted:.3g}", f"{b.observed:.3g}", f"{b.low:.3g} to {b.high:.3g}", f"{b.pairs:,}"]
        for b in made.curve
    ]
    text = (
        "All allowed actions of all rows, by their estimated probability: how often such an "
        f"action was the logged one. Misplaced decisions: {made.calibration_error:.1%}."
    )
    table = Table(("predicted", "logged", "95 % interval", "state-action pairs"), rows)
    figure = FigureFile(curve, "On the dashed line the estimate is right.")
    return Section("Calibration", text, (table,), (figure,))


def _agreement_section(made: Propensities) -> list[Section]:
    found = made.agreement
    if found is None:
        return []
    rows = [
        ["rank correlation", f"{found.rank_correlation:.3f}"],
        ["estimated over logged, median", f"{found.median_ratio:.3f}"],
        ["... of nine rows in ten", f"{found.ratio_low:.3f} to {found.ratio_high:.3f}"],
        ["logged over estimated, mean (1 is right)", f"{found.mean_weight:.3f}"],
    ]
    text = "The log has propensities of its own, which the model did not see."
    return [Section("Against the logged propensities", text, (Table(("what", "value"), rows),))]
