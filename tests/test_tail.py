"""A journal is read line by line as it grows, and never half a line."""

from __future__ import annotations

import json
from pathlib import Path

from shoestring.tail import Tail, points


def entry(step: int, **metrics: float) -> str:
    return json.dumps({"step": step, "t": 100.0 + step, "metrics": metrics}) + "\n"


def test_a_journal_that_does_not_exist_yet_has_no_lines(tmp_path: Path) -> None:
    assert Tail(tmp_path / "metrics.jsonl").read() == []


def test_a_partial_last_line_waits_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    first, second = entry(1, loss=0.5), entry(2, loss=0.25)
    path.write_text(first + second[:11])
    assert [line.step for line in tail.read()] == [1]
    assert tail.read() == []
    path.write_text(first + second)
    assert [line.metrics for line in tail.read()] == [{"loss": 0.25}]
    assert tail.read() == []


def test_every_cut_of_a_journal_gives_the_same_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = (entry(1, loss=0.5) + entry(2, **{"val/loss": 0.1}) + entry(3, loss=0.2)).encode()
    for cut in range(len(whole) + 1):
        tail = Tail(path)
        path.write_bytes(whole[:cut])
        seen = tail.read()
        path.write_bytes(whole)
        assert [line.step for line in seen + tail.read()] == [1, 2, 3]


def test_a_long_journal_is_read_in_batches_and_drained_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(entry(n, loss=1.0) for n in range(500)))
    tail = Tail(path)
    first = tail.read(limit=100)
    assert 1 <= len(first) < 5
    assert [line.step for batch in tail.drain() for line in batch] == list(range(len(first), 500))


def test_a_torn_line_is_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(entry(1, loss=1.0) + '{"step": 2, "t":\n' + "[]\n" + entry(3, loss=1.0))
    tail = Tail(path)
    assert [line.step for line in tail.read()] == [1, 3]
    assert tail.bad_lines == 2


def test_points_carry_every_axis_and_drop_what_is_not_a_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    axes = {"progress/images": 64.0, "progress/flops": 1e9, "progress/usd": 0.002, "cost/seconds": 3.5}
    nan = json.dumps({"step": 8, "t": 2.0, "metrics": {"train/loss": float("nan")}}) + "\n"
    event = json.dumps({"step": 8, "t": 2.0, "event": "checkpoint", "path": "checkpoints/step-00000008.t1"}) + "\n"
    path.write_text(entry(7, **{"train/loss": 0.5}, **axes) + nan + event)
    lines = Tail(path).read()
    found = {point.key: point for point in points(lines)}
    assert set(found) == {"train/loss", *axes}
    loss = found["train/loss"]
    assert loss == ("train/loss", 7, 0.5, 64.0, 1e9, 0.002, 3.5)
    assert lines[0].at == 107.0
    assert (lines[-1].event, lines[-1].path) == ("checkpoint", "checkpoints/step-00000008.t1")


def test_an_event_brings_its_detail(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 6, "t": 2.5, "event": "checkpoint_skipped", "detail": "no room"}) + "\n")
    (line,) = Tail(path).read()
    assert (line.step, line.at, line.event, line.detail, line.metrics) == (6, 2.5, "checkpoint_skipped", "no room", {})
