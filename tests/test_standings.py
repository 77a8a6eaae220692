"""Which runs are ranked together: finished ones whose losses were measured on the same data."""

from __future__ import annotations

from shoestring import actions, queries, runs
from shoestring.standings import standings
from shoestring.tail import Point
from shoestring_trainer import config as c
from shoestring_trainer.run_dir import Result


def finish(db, submission, tmp_path, losses: dict[str, float], **data: dict[str, str]) -> None:
    """Submit one run for each name and bring it to its end with this last loss; `data` are changes of its set."""
    job = submission().config
    for name in losses:
        values = job.model_dump()
        values["data"] |= data.get(name.split("/")[0], {})
        config = c.TrainConfig.model_validate(values)
        actions.submit(db, [submission(name, config=config)], runs_dir=tmp_path)
    while lease := runs.claim(db, "worker", "nonce"):
        runs.start(db, lease, 0)
        point = Point("val/loss", 100, losses[lease.run.name], images=1.0, flops=1.0, usd=0.01, seconds=1.0)
        runs.record(db, lease, [point])
        runs.finish(db, lease, Result(lease.token, "succeeded", "", "", 100), 1000)


def test_a_run_measured_on_another_data_set_is_left_out_of_a_ranking_by_loss_and_says_why(db, submission, tmp_path):
    losses = {"a/s0": 0.5, "b/s0": 0.4, "other/s0": 0.1}
    finish(db, submission, tmp_path, losses, other={"digest": "1", "name": "emoji-64"})
    ranking = standings(db, queries.runs(db))
    assert [place.experiment for place in ranking.places] == ["b", "a"]
    assert ranking.left_out == ((3, "its val/loss is measured on emoji-64 1, 128 images: compare KID"),)
