"""Seconds become steps: as many as fit, soon, whatever a step, an evaluation and a cadence cost."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from shoestring.cost import RunOverheads
from shoestring.request_parts import Cadence
from shoestring.steps import Pace, TooLittle
from shoestring_trainer.config import MAX_STEPS

CADENCES = st.none() | st.one_of(
    st.builds(Cadence, every_steps=st.integers(1, MAX_STEPS)),
    st.builds(Cadence, every_share=st.floats(1e-4, 1)),
    st.builds(Cadence, every_usd=st.floats(1e-5, 100)),
)
SECONDS = st.floats(0.01, 10)


class Counted(Pace):
    """A pace that counts how often something is priced."""

    n_priced = 0

    def schedule(self, *args, **kwargs):
        Counted.n_priced += 1
        assert Counted.n_priced < 3000, "it does not come to an end"
        return super().schedule(*args, **kwargs)


@st.composite
def asked(draw):
    """A pace, what a request says of stages and cadences, and seconds."""
    parts = draw(st.lists(st.tuples(st.integers(1, 9), SECONDS, SECONDS), min_size=1, max_size=3))
    overheads = [RunOverheads(startup_s=1.0, evaluation_s=s, grid_s=s, checkpoint_s=s / 9) for _, _, s in parts]
    steps_s = tuple(s for _, s, _ in parts)
    pace = Counted(step_s=steps_s, overheads=tuple(overheads), usd_per_s=2.8e-5)
    shares = [share / sum(share for share, *_ in parts) for share, *_ in parts]
    cadences = {name: draw(CADENCES) for name in ("evaluate", "samples", "checkpoints")}
    return pace, SimpleNamespace(shares=shares, **cadences), draw(st.sampled_from([10.0, 1e3, 1e5, 1e7, 1e11]))


OVERHEADS = RunOverheads(startup_s=1.0, evaluation_s=1.0, grid_s=1.0, checkpoint_s=0.1)
UNLIKE = Counted(step_s=(1.0, 7.0), overheads=(OVERHEADS, OVERHEADS), usd_per_s=2.8e-5)
HALVES = SimpleNamespace(shares=[0.5, 0.5], evaluate=None, samples=None, checkpoints=None)


@settings(max_examples=300, deadline=None)
@given(asked())
@example((UNLIKE, HALVES, 10.0))  # a step of each is 8 s; 8 s shared would be four steps and one
@example((UNLIKE, HALVES, 1e11))
def test_so_many_seconds_buy_steps_until_none_fits_and_that_is_found_soon(given):
    pace, request, asked_s = given
    Counted.n_priced = 0
    try:
        bought = pace.buy(request, asked_s)
    except TooLittle:
        reject()
    n = sum(bought.steps)
    assert bought.seconds <= asked_s and n <= MAX_STEPS
    if n < MAX_STEPS:
        for stage in range(len(bought.steps)):
            more = [k + (k_stage == stage) for k_stage, k in enumerate(bought.steps)]
            assert pace.schedule(request, more, asked_s).seconds > asked_s
