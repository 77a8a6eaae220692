"""Moving a run along an edge: the one UPDATE of `runs.state`, its event, and what follows for its dependents."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Update, and_, bindparam, exists, insert, select, update

from shoestring.states import TERMINAL, check_edge
from shoestring.tables import dependencies, events, runs

# Statements are built once: building one costs several times what sending it does. A statement's own parameters begin
# with b_, others are the columns that it sets.
MOVE = update(runs).where(
    runs.c.id == bindparam("b_id"), runs.c.lease_token == bindparam("b_token"), runs.c.state == bindparam("b_state")
)
_NOTE = insert(events).inline()  # nobody asks for its id
_WAITING = (
    select(runs.c.id, runs.c.lease_token)
    .join(dependencies, dependencies.c.run_id == runs.c.id)
    .where(dependencies.c.depends_on == bindparam("b_id"), runs.c.state == "blocked")
    .order_by(runs.c.id)
    .with_for_update(of=runs)  # two that end at once look one after the other, so one sees both
)


def note(conn: Connection, at: float, kind: str, run_id: int | None, token: int | None = None, **detail: Any) -> None:
    """Append an event to the audit log."""
    conn.execute(_NOTE, {"at": at, "kind": kind, "run_id": run_id, "token": token, "detail": detail})


def move(
    conn: Connection,
    run_id: int,
    edge: tuple[str, str],
    at: float,
    kind: str,
    *,
    token: int,
    statement: Update = MOVE,
    **values: Any,
) -> bool:
    """Move a run along `edge` if it is in that state under that `token`, and write event `kind`; say whether it was.

    `values` are further columns; `statement` is MOVE, or MOVE with columns that SQL computes. A move to a terminal
    state settles the runs that depend on this one.
    """
    source, target = edge
    check_edge(source, target)
    held = {"b_id": run_id, "b_token": token, "b_state": source}
    moved = conn.execute(statement, {**held, "state": target, **_left(target, at), **values}).rowcount
    if not moved:
        return False
    said = {name: values[name] for name in ("reason", "failure_class", "failure_detail") if values.get(name)}
    note(conn, at, kind, run_id, token, **{"from": source, "to": target}, **said)
    if target in TERMINAL:
        settle_dependents(conn, run_id, target, at)
    return True


def _left(target: str, at: float) -> dict[str, Any]:
    """Columns that every run in state `target` has alike."""
    if target in ("leased", "running", "stopping"):
        return {}
    free = {"owner": "", "claim_nonce": "", "lease_until": None}
    return {**free, "ended_at": at} if target in TERMINAL else {**free, "want": "run"}


def settle_dependents(conn: Connection, run_id: int, state: str, at: float) -> None:
    """Queue the blocked runs whose last dependency just succeeded; fail those whose dependency did not."""
    for row in conn.execute(_WAITING, {"b_id": run_id}).all():
        if state != "succeeded":
            reason = f"dependency_failed: run {run_id} {state}"
            ended: dict[str, Any] = {"reason": reason, "failure_class": "dependency_failed"}
            move(conn, row.id, ("blocked", "failed"), at, "failed", token=row.lease_token, **ended)
        elif not unmet(conn, row.id):
            move(conn, row.id, ("blocked", "queued"), at, "queued", token=row.lease_token, reason="")


def unmet(conn: Connection, run_id: int) -> list[int]:
    """Ids of the runs that `run_id` still waits for."""
    other = runs.alias("other")
    done = exists().where(and_(other.c.id == dependencies.c.depends_on, other.c.state == "succeeded"))
    query = select(dependencies.c.depends_on).where(dependencies.c.run_id == run_id, ~done)
    return list(conn.scalars(query.order_by(dependencies.c.depends_on)))
