"""``clr compare --tune`` that finds no rate."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_tuning_without_an_answer_stops_with_its_reason(clr, tiny, tmp_path):
    """Three epochs of ten iterations teach this model nothing."""
    given = ["--config", tiny, "--jobs", 1, "--tune", "--tune-arms", "constant", "--json"]
    done = clr("compare", *given, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert (
        "--tune found no clearly best rate for constant (nothing was learned at any rate from"
        in last
    )
    assert "Train longer (training.epochs), or set the rate in the config" in last
    assert len([*tmp_path.glob("outputs/tiny/tuning/**/result.json")]) == 6
    assert not [*tmp_path.glob("outputs/tiny/**/summary.json")]
