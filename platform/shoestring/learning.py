"""A finished run refines the calibration of the machine that it ran on."""

from __future__ import annotations

from dataclasses import replace

from shoestring.calibration import machine, read_calibration, write_calibration
from shoestring.forecasts import review
from shoestring.home import Home
from shoestring.provenance import hardware
from shoestring.records import Run


def learn(home: Home, run: Run) -> None:
    """Keep what `run` took against its forecast, if that was made from this machine's present calibration.

    Only a run that forecasts are judged by teaches: in one attempt, to its last step. Raises EnvironmentProblem for a
    damaged calibration.
    """
    judged, calibrated_at = review([run]).forecasts, run.plan.get("calibrated_at")
    if not judged or not calibrated_at:
        return
    known = read_calibration(home.calibrations, machine(hardware()))
    if known.measured_at == calibrated_at:
        ratio = judged[0].actual_usd / judged[0].p50_usd * float(run.plan["machine_pace"])
        if ratio > 0:
            write_calibration(home.calibrations, replace(known, experience=known.experience.after(ratio)))
