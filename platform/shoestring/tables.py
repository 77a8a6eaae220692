"""The schema, as SQLAlchemy Core tables. A new column is added here and in a migration (`alembic/versions/`).

Money is integer micro-dollars, times are unix seconds. `attempts`, `events`, `metrics` and `checkpoints` belong to a
run; every write to them by a worker happens in a transaction that first updated the run's row under its lease token.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

from shoestring.records import AGE_S

VERSION_TABLE = "shoestring_version"  # Optuna and MLflow both own `alembic_version`

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _count(name: str, default: int = 0) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text(str(default)))


def _size(name: str) -> Column[float]:
    return Column(name, Float(53), nullable=False, server_default=text("0"))


def _micro(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _time(name: str, nullable: bool = True) -> Column[float]:
    return Column(name, Float(53), nullable=nullable)


def _json(name: str, default: str = "{}") -> Column[object]:
    return Column(name, JSON, nullable=False, server_default=text(f"'{default}'"))


sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("project", String(200), nullable=False),
    _text("base"),
    _json("spec"),
    Column("spec_hash", String(64), nullable=False),
    _text("state", "running"),
    Column("max_micro", BigInteger),
    _time("created_at", nullable=False),
    _time("ended_at"),
    UniqueConstraint("project", "name", "spec_hash"),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, index=True),
    Column("experiment", String(200), nullable=False, index=True),
    Column("project", String(200), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("parent_id", Integer, ForeignKey("runs.id")),
    Column("sweep_id", Integer, ForeignKey("sweeps.id"), index=True),
    Column("spec_hash", String(64), nullable=False),
    _count("generation"),
    _count("spec_version", 1),
    _json("spec"),
    _json("config"),
    _json("plan"),
    _json("provenance"),
    _json("tags", "[]"),
    _text("run_dir"),
    # the queue
    _count("priority"),
    _text("queue", "default"),
    _count("gpus"),
    _size("gpu_memory_gb"),
    _count("cpus", 1),
    _size("memory_gb"),
    _time("run_after", nullable=False),
    Column("state", String(16), nullable=False),
    _text("reason"),
    _text("want", "run"),
    # the lease
    _count("lease_token"),
    _text("claim_nonce"),
    _text("owner"),
    _count("beat_seq"),
    _time("lease_until"),
    _text("engine"),
    _text("handle"),
    # how it goes
    _count("attempts"),
    _count("failures"),
    _count("preemptions"),
    _count("stalls"),
    _count("stall_step"),  # the checkpoint step when the last preemption was counted
    _count("step"),
    _count("n_steps"),
    _count("checkpoint_step"),
    _micro("spent_micro"),
    _micro("planned_micro"),
    _micro("reserved_micro"),  # its forecast's 90th percentile
    Column("max_micro", BigInteger),
    _text("failure_class"),
    _text("failure_detail"),
    _text("inexact"),  # why the attempt that counts did not resume bit by bit, "" when it did
    _time("created_at", nullable=False),
    _time("started_at"),
    _time("ended_at"),
    UniqueConstraint("spec_hash", "generation"),
    sqlite_autoincrement=True,
)
# Keeps a claim fast among many finished runs; the claim writes the literal 'queued' and DUE letter by letter, or SQLite
# would not use it. DUE is `records.Run.due`: of values that do not change while a run waits, so an index can hold it.
DUE: ColumnElement[float] = literal_column(f"(run_after - (priority * {AGE_S}))", Float)
QUEUED = text("state = 'queued'")
Index(
    "ix_runs_claim",
    runs.c.queue,
    DUE,
    runs.c.id,
    sqlite_where=QUEUED,
    postgresql_where=QUEUED,
)
# What workers hold: found by nonce after a lost reply, and looked through by reapers. Both say HELD literally, too. It
# does not speak of the state: where nothing was held when PostgreSQL gathered its statistics, it would read all that is
# held now for every write about one run.
HELD = text("claim_nonce <> ''")
Index("ix_runs_held", runs.c.claim_nonce, sqlite_where=HELD, postgresql_where=HELD)
# Drawings are few among many runs; who asks for them says DRAWN, letter by letter again.
DRAWN = text("kind = 'drawing'")
Index("ix_runs_drawings", runs.c.id, sqlite_where=DRAWN, postgresql_where=DRAWN)
# What pages add up of all runs is in one index, so that none of their JSON is read past.
_FIGURES = ("project", "spent_micro", "state", "planned_micro", "reserved_micro", "sweep_id")
Index("ix_runs_figures", *(runs.c[name] for name in _FIGURES))

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("token", Integer, primary_key=True),
    _text("worker"),
    _time("started_at", nullable=False),
    _time("ended_at"),
    _text("outcome", "running"),
    _text("failure_class"),
    _text("detail"),
    _count("first_step"),
    _count("last_step"),
    _micro("micro"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    _time("at", nullable=False),
    Column("run_id", Integer, ForeignKey("runs.id"), index=True),
    Column("token", Integer),
    Column("kind", String(32), nullable=False),
    _json("detail"),
    sqlite_autoincrement=True,
)

metrics = Table(
    "metrics",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("value", Float(53), nullable=False),
    Column("images", Float(53), nullable=False),
    Column("flops", Float(53), nullable=False),
    Column("usd", Float(53), nullable=False),  # planned dollars at this step, an axis: no money is added up from it
    Column("seconds", Float(53), nullable=False),
    sqlite_with_rowid=False,
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("token", Integer, primary_key=True),
    Column("path", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    _text("state", "published"),
    _time("created_at", nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    _text("hardware"),
    _micro("micro_per_hour"),
    # what it offers a run; no queue: it takes none from any
    Column("queue", Text),
    _count("gpus"),
    _size("gpu_memory_gb"),
    _count("cpus"),
    _size("memory_gb"),
    _text("state", "idle"),
    _text("want", "run"),
    Column("run_id", Integer, ForeignKey("runs.id")),
    _time("started_at", nullable=False),
    _time("beat_at", nullable=False),
)

dependencies = Table(
    "dependencies",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("depends_on", Integer, ForeignKey("runs.id"), primary_key=True, index=True),
)

trials = Table(
    "trials",
    metadata,
    Column("sweep_id", Integer, ForeignKey("sweeps.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), index=True),
    _json("params"),
    _text("state", "proposed"),
    _json("results", "[]"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("max_micro", BigInteger, nullable=False),
    _time("updated_at", nullable=False),
)
