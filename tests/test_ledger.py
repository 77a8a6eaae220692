"""Where the dollars went: every micro-dollar has one outcome, whatever happened to the runs and workers."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path

import doors
import pytest
from fences import NOW, ended, point
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shoestring import actions, migrate, queries, runs
from shoestring.db import Database
from shoestring.errors import Conflict, LeaseLost
from shoestring.ledger import gaps
from shoestring.records import MICRO, OUTCOMES, Spend
from shoestring.spending import BY, added, by_day, grouped
from shoestring.tables import runs as runs_table
from shoestring.tables import sweeps, trials
from sqlalchemy import func, insert, select

DAY_S = 86_400.0
HOST = "host:boot:1:0.00:"
ACT = st.tuples(
    st.sampled_from(["submit", "claim", "go on", "beat", "succeed", "crash", "nan", "stop", "reap", "cancel", "prune",
                     "arrive", "report", "leave", "wait"]),
    st.integers(0, 7), st.integers(0, 3_000_000),
)  # fmt: skip


class Shop:
    """Users and workers at the real doors of one database; what is not allowed just then is refused and passed over."""

    def __init__(self, db: Database, submission) -> None:
        self.db, self.submission, self.now = db, submission, NOW
        self.leases: list[runs.Lease] = []
        self.workers: list[str] = []
        self.n = 0
        with db.write() as conn:
            made = {"name": "masks", "project": "emoji", "spec_hash": "s", "spec": {}, "created_at": NOW}
            conn.execute(insert(sweeps).values(made))

    def do(self, act: str, which: int, amount: int) -> None:
        with contextlib.suppress(Conflict, LeaseLost):
            getattr(self, act.replace(" ", "_"))(which, amount)

    def submit(self, which: int, amount: int) -> None:
        self.n += 1
        trial = {"kind": "trial", "sweep_id": 1} if which % 2 else {"project": f"p{which % 3}"}
        one = self.submission(f"e{which % 4}/s{self.n}", **trial)
        run_id = actions.submit(self.db, [one], runs_dir=Path("runs"), now=self.now)[0].run_id
        if trial.get("sweep_id"):
            actions.propose_trial(self.db, 1, self.n, {"n": self.n}, run_id, now=self.now)

    def claim(self, which: int, amount: int) -> None:
        worker = self.workers[which % len(self.workers)] if self.workers else "stranger"
        lease = runs.claim(self.db, worker, f"nonce {amount} {self.now} {len(self.leases)}", now=self.now)
        if lease:
            self.leases.append(lease)
            runs.start(self.db, lease, lease.run.checkpoint_step, now=self.now)

    def of(self, which: int) -> runs.Lease:
        if not self.leases:
            raise Conflict("nobody holds a run")
        return self.leases[-1 - which % min(3, len(self.leases))]

    def go_on(self, which: int, amount: int) -> None:
        lease = self.of(which)
        run = queries.run(self.db, lease.run_id)
        runs.record(self.db, lease, [point(run.step + 1 + which)])
        if which % 2:
            runs.add_checkpoint(self.db, lease, run.step, "/c", 1, now=self.now)

    def beat(self, which: int, amount: int) -> None:
        runs.beat(self.db, self.of(which), amount, now=self.now)

    def end(self, which: int, amount: int, outcome: str, failure: str = "") -> None:
        lease = self.of(which)
        step = queries.run(self.db, lease.run_id).step
        runs.finish(self.db, lease, ended(lease, outcome, failure, step), amount, jitter=0.0, now=self.now)

    def succeed(self, which: int, amount: int) -> None:
        self.end(which, amount, "succeeded")

    def crash(self, which: int, amount: int) -> None:
        self.end(which, amount, "failed", "killed")

    def nan(self, which: int, amount: int) -> None:
        self.end(which, amount, "failed", "nan")

    def stop(self, which: int, amount: int) -> None:
        self.end(which, amount, "stopped", "stopped_by_request")

    def reap(self, which: int, amount: int) -> None:
        run = queries.run(self.db, self.of(which).run_id)
        with self.db.read() as conn:
            beat = conn.scalar(select(runs_table.c.beat_seq).where(runs_table.c.id == run.id))
        runs.reap_one(self.db, run.id, run.lease_token, beat or 0, now=self.now)

    def cancel(self, which: int, amount: int) -> None:
        if self.n:
            actions.cancel(self.db, 1 + amount % self.n, now=self.now)

    def prune(self, which: int, amount: int) -> None:
        with self.db.read() as conn:
            numbers = list(conn.scalars(select(trials.c.number)))
        if numbers:
            actions.finish_trial(self.db, 1, numbers[amount % len(numbers)], "pruned", now=self.now)

    def arrive(self, which: int, amount: int) -> None:
        self.workers.append(f"{HOST}{len(self.workers)}")
        runs.register(self.db, self.workers[-1], f"{1 + which % 2} cores", amount / MICRO, now=self.now)

    def report(self, which: int, amount: int) -> None:
        if self.workers:
            runs.report(self.db, self.workers[which % len(self.workers)], now=self.now)

    def leave(self, which: int, amount: int) -> None:
        if self.workers:
            runs.leave(self.db, self.workers[which % len(self.workers)], now=self.now)

    def wait(self, which: int, amount: int) -> None:
        self.now += amount / 10


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_parts_add_up_to_the_spend_to_the_micro_dollar_whatever_happened(
    kind, migrated, submission, tmp_path, request
):
    server = request.getfixturevalue("postgres") if kind == "postgresql" else None
    copies = itertools.count()

    @settings(
        max_examples=3 if server else 8, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )  # fmt: skip
    @given(st.lists(ACT, min_size=20, max_size=60))
    def holds(acts):
        url = server.new() if server else f"sqlite:///{shutil.copy(migrated, tmp_path / f'{next(copies)}.db')}"
        db = Database(url)
        shop = Shop(db, submission)
        for act in [("arrive", 0, 100_000), ("submit", 0, 0), ("submit", 1, 0), ("claim", 0, 1), *acts]:
            shop.do(*act)
        check(db)
        db.close()
        if server:
            server.drop(db.url.database)

    holds()


def check(db: Database) -> None:
    """Every line has an outcome and an amount, and every way to add them up gives what the runs' rows say."""
    with db.read() as conn:
        booked = {
            row.id: int(row.spent_micro) for row in conn.execute(select(runs_table.c.id, runs_table.c.spent_micro))
        }
        by_project = dict(
            conn.execute(
                select(runs_table.c.project, func.sum(runs_table.c.spent_micro)).group_by(runs_table.c.project)
            ).all()
        )
    lines = queries.spends(db)
    assert all(line.micro > 0 and line.outcome in OUTCOMES and line.ended_at >= line.began_at for line in lines)
    assert all((line.run_id is None) == (line.outcome == "idle") for line in lines)
    for run_id, micro in booked.items():
        assert sum(line.micro for line in lines if line.run_id == run_id) == micro
    whole = added(lines)
    for by in BY:
        groups = grouped(lines, by)
        for outcome in OUTCOMES:
            assert sum(group[outcome] for group in groups.values()) == whole[outcome], by
    assert sum(whole.values()) == sum(booked.values()) + whole["idle"]
    assert queries.totals(db).spent_usd == sum(booked.values()) / MICRO
    for project, micro in by_project.items():
        assert sum(line.micro for line in queries.spends(db, project)) == int(micro)


# ── outcomes ────────────────────────────────────────────────────────────────────────────────────


def lines_of(db: Database) -> dict[str, int]:
    return {outcome: micro for outcome, micro in added(queries.spends(db)).items() if micro}


def claimed(db, worker: str = "w", at: float = NOW, step: int = 0) -> runs.Lease:
    lease = runs.claim(db, worker, f"nonce {at}", now=at)
    runs.start(db, lease, step, now=at)
    return lease


def test_a_trial_that_its_sweep_cut_is_pruned_however_its_run_ended(db, submission, tmp_path):
    shop = Shop(db, submission)
    for which in (1, 1):
        shop.submit(which, 0)
    shop.claim(0, 0)
    shop.stop(0, 700)
    actions.cancel(db, 1, now=NOW)
    shop.claim(0, 1)
    shop.succeed(0, 300)
    assert lines_of(db) == {"cancelled": 700, "useful": 300}
    actions.finish_trial(db, 1, 1, "pruned", now=NOW)
    assert lines_of(db) == {"pruned": 700, "useful": 300}
    assert list(grouped(queries.spends(db), "sweep")) == ["masks"]


def test_a_worker_that_carries_nothing_is_idle_and_only_until_it_was_last_heard_of(db, enqueue):
    enqueue()
    me = f"{HOST}1"
    runs.register(db, me, "2 cores", 3.6, now=NOW)  # a thousand micro-dollars a second
    lease = claimed(db, me, NOW + 10)
    runs.finish(db, lease, ended(lease, "succeeded"), 20_000, now=NOW + 30)
    runs.report(db, me, now=NOW + 35)
    assert lines_of(db) == {"useful": 20_000, "idle": 15_000}
    runs.leave(db, me, now=NOW + DAY_S)  # struck off by another, long after its machine was gone
    assert lines_of(db) == {"useful": 20_000, "idle": 15_000}
    assert grouped(queries.spends(db), "machine")["2 cores"]["idle"] == 15_000
    assert added(queries.spends(db, "emoji"))["idle"] == 0


def test_an_attempt_across_midnight_is_paid_on_both_days_and_its_repeated_part_is_its_last(db, enqueue):
    enqueue()
    midnight = NOW - NOW % DAY_S + DAY_S
    lease = claimed(db, at=midnight - 300)
    runs.record(db, lease, [point(100)])
    runs.finish(db, lease, ended(lease, "failed", "killed", 100), 1_000, jitter=0.0, now=midnight + 100)
    again = claimed(db, at=midnight + 200, step=75)  # the last quarter is trained again
    runs.finish(db, again, ended(again, "succeeded"), 10, now=midnight + 300)
    first, second = grouped(queries.spends(db), "day").values()
    assert (first["useful"], first["repeated"]) == (750, 0)
    assert (second["useful"], second["repeated"]) == (10, 250)


@given(
    st.integers(0, 10**9), st.floats(0, 10 * DAY_S), st.floats(0, 30 * DAY_S),
)  # fmt: skip
def test_the_days_of_a_line_add_up_and_none_is_below_zero(micro, began, span):
    line = Spend(micro, "useful", 1, "e", "p", "", "m", NOW + began, NOW + began + span)
    days = list(by_day(line))
    assert sum(part for _, part in days) == micro and all(part >= 0 for _, part in days)
    assert len({day for day, _ in days}) == len(days)


@given(st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 60))), max_size=6))
def test_gaps_are_what_no_attempt_covers(busy):
    spans = [(float(a), None if b is None else float(max(a, b))) for a, b in busy]
    free = list(gaps(10.0, 40.0, spans))
    for tenth in range(100, 400):
        at = tenth / 10 + 0.05
        covered = any(a <= at and (b is None or at < b) for a, b in spans)
        assert covered != any(a <= at < b for a, b in free)


# ── the command ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def open_db(home, migrated, either, monkeypatch):
    """The database that the commands find, of either kind."""
    monkeypatch.setenv("SHOESTRING_HOME", str(home.state))
    monkeypatch.chdir(home.root)
    migrate.upgrade(home.db_url)
    return Database(home.db_url)


def test_cost_says_the_same_in_the_table_and_as_json_and_adds_up(open_db, submission):
    shop = Shop(open_db, submission)
    assert doors.run("cost").stdout.startswith("Nothing has been spent yet. Next: shoestring work")
    for act in [("arrive", 0, 3_600_000), ("submit", 0, 0), ("submit", 1, 0), ("claim", 0, 0), ("nan", 0, 1_234),
                ("wait", 0, 50), ("report", 0, 0), ("claim", 0, 1), ("succeed", 0, 2_000_001)]:  # fmt: skip
        shop.do(*act)
    told = doors.accepted("cost")
    assert (told["spent_micro"], told["idle_micro"]) == (2_001_235, 5_000)
    assert [(row["outcome"], row["usd"]) for row in told["rows"]] == [
        ("useful", 2.000001), ("idle", 0.005), ("failed", 0.001234)
    ]  # fmt: skip
    for by in BY:
        rows = doors.accepted("cost", "--by", by)["rows"]
        assert sum(sum(row["micro"].values()) for row in rows) == 2_006_235
    text = doors.run("cost", "--by", "sweep").stdout
    assert "$2.001235 spent by runs, of that $0.001234 wasted, and $0.005000 for idle workers" in text
    assert "masks" in text and "(no sweep)" in text
    assert doors.accepted("cost", "--project", "emoji")["idle_micro"] == 0


def test_cost_refuses_what_it_does_not_know(open_db):
    assert "outcome, day" in doors.refused("cost", "--by", "colour", exit_code=2).error["hint"]
    assert doors.refused("cost", "--project", "nobody's", exit_code=6).code == "not_found"
