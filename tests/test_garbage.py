"""While many values are made the collector waits, and afterwards it is as it was."""

from __future__ import annotations

import gc

import pytest
from shoestring.garbage import uncollected


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_waits_and_is_then_as_it_was(on):
    @uncollected()
    def make(fails: bool) -> None:
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
        if fails:
            raise ValueError

    was_on = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        make(False)
        assert gc.isenabled() == on
        with pytest.raises(ValueError):
            make(True)
        assert gc.isenabled() == on
    finally:
        (gc.enable if was_on else gc.disable)()
