"""What becomes of a run whose attempt ended: a function of values. The retry classes and their limits stand here."""

from __future__ import annotations

from dataclasses import dataclass

PREEMPTED = frozenset(
    {"preempted", "lease_lost", "worker_lost", "node_lost", "killed", "parent_gone", "stopped_by_request"}
)
ONCE = frozenset({"out_of_memory"})
TERMINAL = frozenset({"nan", "error", "assertion", "bad_config", "bad_spec", "bad_data", "bad_checkpoint", "poisonous"})
PAUSING = frozenset({"disk_full"})  # a person has to make room
# Every other class is transient: tried again with backoff.

MAX_FAILURES = 3
MAX_PREEMPTIONS = 50
MAX_STALLS = 10  # preemptions in a row without a later checkpoint
BACKOFF_S, MAX_BACKOFF_S = 30.0, 1800.0


@dataclass(frozen=True)
class Counts:
    """What a run has behind it, before the attempt that just ended is counted."""

    failures: int
    preemptions: int
    stalls: int
    same_class: int  # earlier attempts with this failure class


@dataclass(frozen=True)
class Verdict:
    """The next state and why; `counts_as` says which counter grows: failure, preemption or nothing."""

    state: str
    reason: str = ""
    counts_as: str = ""
    delay_s: float = 0.0


def backoff_s(n_failures: int, jitter: float) -> float:
    """Seconds before the next attempt: full jitter (0 ≤ `jitter` < 1) of min(30 s · 2ⁿ, 30 min)."""
    return jitter * min(BACKOFF_S * 2.0**n_failures, MAX_BACKOFF_S)


def judge(outcome: str, failure_class: str, want: str, counts: Counts, jitter: float) -> Verdict:
    """Decide the state after an attempt: `outcome` succeeded, stopped or failed; `want` run, pause or cancel."""
    if outcome == "succeeded":
        return Verdict("succeeded")
    if want == "cancel":
        return Verdict("cancelled", "cancelled")
    if outcome == "stopped":
        return Verdict("paused") if want == "pause" else _after_preemption(failure_class or "preempted", counts)
    if failure_class in TERMINAL:
        return Verdict("failed", failure_class, "failure")
    if failure_class in PAUSING:
        return Verdict("paused", failure_class)
    if failure_class in PREEMPTED:
        verdict = _after_preemption(failure_class, counts)
    else:
        verdict = _after_failure(failure_class, counts, jitter)
    if want == "pause" and verdict.state == "queued":
        return Verdict("paused", counts_as=verdict.counts_as)
    return verdict


def _after_preemption(failure_class: str, counts: Counts) -> Verdict:
    if counts.preemptions + 1 > MAX_PREEMPTIONS:
        return Verdict("failed", f"{failure_class}: interrupted more than {MAX_PREEMPTIONS} times", "preemption")
    if counts.stalls + 1 > MAX_STALLS:
        return Verdict(
            "failed", f"{failure_class}: interrupted {MAX_STALLS + 1} times with no checkpoint between", "preemption"
        )
    return Verdict("queued", failure_class, "preemption")


def _after_failure(failure_class: str, counts: Counts, jitter: float) -> Verdict:
    if failure_class in ONCE and counts.same_class >= 1:
        return Verdict("failed", f"{failure_class} twice", "failure")
    if counts.failures + 1 > MAX_FAILURES:
        return Verdict("failed", f"{failure_class}: failed {counts.failures + 1} times", "failure")
    reason = f"{failure_class or 'failed'}, failure {counts.failures + 1} of {MAX_FAILURES}"
    delay = 0.0 if failure_class in ONCE else backoff_s(counts.failures, jitter)
    return Verdict("queued", reason, "failure", delay)
