"""The offline checker: reads the event log, the metrics and the files that a storm left, and nothing else."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shoestring.states import EDGES, TERMINAL
from shoestring.tables import attempts, checkpoints, events, metrics, runs
from shoestring_trainer.journal import read
from shoestring_trainer.run_dir import RunDir
from sqlalchemy import Connection, create_engine, select

from chaos.jobs import EXACT, Outcome, Point, weights
from chaos.pool import LEASE_S
from chaos.storm import ELSEWHERE, FROZEN_LEASES

SLACK_S = 2.5  # a busy machine's: noticing, a step, a checkpoint
LANDED = 0.9  # at least this share of the faults must have met an attempt in its middle


@dataclass
class Report:
    """What was found: `problems` is empty when every promise held."""

    problems: list[str] = field(default_factory=list)
    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    aimed: int = 0  # faults that were aimed at a run
    landed: int = 0  # faults that ended the attempt they met, or held it up for as long as its worker was frozen
    attempts: int = 0
    points: int = 0  # metric points compared with the undisturbed run's
    steps_again: int = 0  # steps done twice, the price of the faults
    outlived_s: float = 0.0  # the longest that a trainer wrote on without its worker
    back_s: list[float] = field(default_factory=list)  # from a kill to the next attempt's start, where one was free

    def __str__(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.faults.items()))
        back = ""
        if self.back_s:
            back = f"; back after {statistics.median(self.back_s):.2f} s (median, worst {max(self.back_s):.2f} s)"
        text = (
            f"{self.runs} runs, {self.attempts} attempts, faults: {kinds or 'none'}; {self.landed} of {self.aimed} met "
            f"a run in its middle; {self.points} points and {self.runs} final weights compared; "
            f"{self.steps_again} steps done again; no trainer wrote on for more than "
            f"{self.outlived_s:.1f} s without its worker{back}"
        )
        return text + "".join(f"\nWRONG: {problem}" for problem in self.problems)


def check(url: str, folder: Path, references: dict[int, Outcome], state: str = "succeeded") -> Report:
    """Check what a storm on the database `url` left in `folder`. `references`: seed → the undisturbed outcome."""
    engine = create_engine(url)
    with engine.connect() as conn:
        report = look(conn, folder, references, state)
    engine.dispose()
    return report


def look(conn: Connection, folder: Path, references: dict[int, Outcome], state: str = "succeeded") -> Report:
    """As `check`, on an open connection."""
    report = Report()
    rows = conn.execute(select(runs).order_by(runs.c.id)).all()
    report.runs = len(rows)
    by_run: dict[int, list[Any]] = defaultdict(list)
    for event in conn.execute(select(events).where(events.c.run_id.is_not(None)).order_by(events.c.id)):
        by_run[event.run_id].append(event)
    tried = {(row.run_id, row.token): row for row in conn.execute(select(attempts))}
    report.attempts = len(tried)
    for row in rows:
        report.problems += [f"run {row.id}: {problem}" for problem in _history(row, by_run[row.id], state)]
        report.problems += [f"run {row.id}: {problem}" for problem in _results(conn, row, references, report)]
        spent = sum(one.micro for key, one in tried.items() if key[0] == row.id)
        if spent != row.spent_micro:
            report.problems.append(f"run {row.id}: its attempts cost {spent}, the run says {row.spent_micro}")
    _steps(folder, rows, tried, by_run, report)
    return report


def _history(row: Any, log: list[Any], state: str) -> list[str]:
    """Replay the event log of one run."""
    problems, now, token, claimed, started = [], "", 0, set[int](), set[int]()
    for event in log:
        where = f"event {event.id} ({event.kind})"
        if event.token is not None:
            if event.token < token:
                problems.append(f"{where} carries token {event.token} after {token}: a write that was not fenced")
            token = max(token, event.token)
        for kind, seen in (("claimed", claimed), ("started", started)):
            if event.kind == kind:
                if event.token in seen:
                    problems.append(f"{where}: twice under token {event.token}")
                seen.add(event.token)
        target = event.detail.get("to")
        if target is None:
            continue
        source = event.detail.get("from", "")
        if source != now or (source and target not in EDGES[source]):
            problems.append(f"{where}: {source or 'nothing'} → {target} from {now or 'nothing'}")
        now = target
    ends = [event.kind for event in log if event.detail.get("to") in TERMINAL]
    if ends != [state]:
        problems.append(f"ended as {ends}, not once as {state}: {row.failure_class} {row.failure_detail}")
    if row.state != now:
        problems.append(f"its row says {row.state}, its log {now}")
    return problems


def _results(conn: Connection, row: Any, references: dict[int, Outcome], report: Report) -> list[str]:
    """Compare a run's metrics and weights with the undisturbed run's, bit by bit."""
    problems = []
    wanted = references[row.seed]
    series = conn.execute(select(metrics.c.key, metrics.c.step, metrics.c.value).where(metrics.c.run_id == row.id))
    found: dict[Point, float] = {(p.key, p.step): p.value for p in series if p.key.startswith(EXACT)}
    report.points += len(wanted.metrics)
    if found != wanted.metrics:
        holes, extra = wanted.metrics.keys() - found.keys(), found.keys() - wanted.metrics.keys()
        other = [key for key in wanted.metrics.keys() & found.keys() if wanted.metrics[key] != found[key]]
        problems.append(f"metrics: {len(holes)} missing, {len(extra)} too many, {len(other)} different")
    folder = RunDir(Path(row.run_dir))
    if not folder.published():
        return [*problems, "no checkpoint is left"]
    if (have := weights(folder)) != wanted.weights:
        problems.append(f"final weights {have}, undisturbed {wanted.weights}")
    entered = conn.scalars(
        select(checkpoints.c.path).where(checkpoints.c.run_id == row.id, checkpoints.c.state == "published")
    )
    if set(entered) != {str(path) for path in folder.published()}:
        problems.append("the database and the disk differ on which checkpoints there are")
    return problems


def _steps(folder: Path, rows: list[Any], tried: dict[tuple[int, int], Any], by_run: Any, report: Report) -> None:
    """Count what was done twice, then look at the faults: did they land, and what did they cost."""
    done = {
        (row.id, token): max((line["step"] for line in read(RunDir(Path(row.run_dir)).journal(token))), default=0)
        for row in rows
        for run, token in tried
        if run == row.id and RunDir(Path(row.run_dir)).journal(token).exists()
    }
    report.steps_again = sum(done.get(key, one.first_step) - one.first_step for key, one in tried.items())
    report.steps_again -= sum(row.n_steps for row in rows)
    _faults(folder, tried, by_run, done, report)


def _faults(
    folder: Path, tried: dict[tuple[int, int], Any], by_run: Any, done: dict[tuple[int, int], int], report: Report
) -> None:
    """Count the faults, and see from the log that they met runs in their middle."""
    path = folder / "faults.jsonl"
    given = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for fault in given:
        report.faults[fault["kind"]] += 1
        if fault["run"] == ELSEWHERE:
            continue
        report.aimed += 1
        attempt = tried.get((fault["run"], fault["token"]))
        middle = 0 < fault["step"] < fault["n_steps"]
        if attempt is None or not middle:
            continue
        report.landed += attempt.outcome != "succeeded" or _slept(fault, attempt)
        if fault["kind"] in ("worker", "trainer"):
            later = [e.at for e in by_run[fault["run"]] if e.kind == "started" and e.at > fault["at"]]
            report.back_s += [min(later) - fault["at"]] if later else []
        if fault["kind"] == "term":
            report.problems += _graceful(fault, tried, done)
        report.outlived_s = max(report.outlived_s, _outlived_s(fault, report))
    if report.landed < LANDED * report.aimed:
        report.problems.append(f"only {report.landed} of {report.aimed} faults met an attempt in its middle")


def _slept(fault: dict[str, Any], attempt: Any) -> bool:
    """Say whether a frozen worker ended its run only after it woke. Within its lease, the trainer may have finished."""
    return fault["kind"] == "freeze" and attempt.ended_at - fault["at"] >= FROZEN_LEASES * LEASE_S


def _outlived_s(fault: dict[str, Any], report: Report) -> float:
    """Seconds for which the trainer wrote on after its worker had gone, or had been stopped."""
    journal = RunDir(Path(fault["run_dir"])).journal(fault["token"])
    longest_s = {"worker": SLACK_S, "freeze": LEASE_S + SLACK_S}.get(fault["kind"])
    if longest_s is None:
        return 0.0
    wrote_s = max(line["t"] for line in read(journal)) - fault["at"]
    if wrote_s > longest_s:
        report.problems.append(f"run {fault['run']}: its trainer wrote {wrote_s:.1f} s after a {fault['kind']} fault")
    return wrote_s


def _graceful(fault: dict[str, Any], tried: dict[tuple[int, int], Any], done: dict[tuple[int, int], int]) -> list[str]:
    """A run whose worker got SIGTERM lost no step, and no failure was counted."""
    key = (fault["run"], fault["token"])
    following = min((one for one in tried.items() if one[0][0] == key[0] and one[0][1] > key[1]), default=None)
    problems = []
    if tried[key].outcome not in ("preempted", "succeeded"):
        problems.append(f"run {key[0]}: {tried[key].outcome} ({tried[key].detail}) after SIGTERM, not preempted")
    if following and following[1].first_step != done[key]:
        problems.append(f"run {key[0]}: stopped at step {done[key]}, went on from {following[1].first_step}")
    return problems
