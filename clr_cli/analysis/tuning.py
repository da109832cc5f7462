"""Equal tuning: the search for every arm's rate is the same, on validation.

Without it "cyclic beats constant" may only mean that the constant rate was badly chosen
(Choi et al. 2019, "On Empirical Comparisons of Optimizers", argue the same for optimizers).
"""

from __future__ import annotations

# Trials use seeds of their own, so that no winner is chosen on the seeds that compare the arms.
FIRST_SEED = 1_000_000


def trial_name(arm: str, rate: float) -> str:
    """Return the name of a trial, and of its folder.

    >>> trial_name('clr', 0.14)
    'clr@0.14'
    """
    return f"{arm}@{rate:g}"
