"""Runs that diverged, in words: which they are, and which pairs are left out because of them."""

from collections.abc import Mapping, Sequence

from nkd.arms import named
from nkd.distillation import Run
from nkd.statistics import PairedDifference
from nkd.training import Settings

MOST_NAMED = 5
"""So many runs, or arms, are named one by one."""

DISTINGUISHING = "alpha", "temperature", "loss", "learning_rate_factor"


def divergence(runs: Sequence[Run], diverged: Mapping[int, int], settings: Settings) -> str:
    """How many of the runs diverged, which, and what to do; "" if none did.

    Each is named by its seed, and by what else is not the same in all runs.

    Args:
        runs: of a pass.
        diverged: the numbers of those that did, and the epochs; see `Training.diverged`.
        settings: of the pass.
    """
    if not diverged:
        return ""
    values = [{n: getattr(run, n) for n in DISTINGUISHING} | {**run.parameters} for run in runs]
    names = dict.fromkeys(name for each in values for name in each)
    differ = [name for name in names if len({each.get(name) for each in values}) > 1]
    texts = []
    for run, epoch in diverged.items():
        own = {name: values[run][name] for name in differ if name in values[run]}
        texts.append(f"{named({'seed': runs[run].seed, **own})} in epoch {epoch}")
    they, them = ("It is", "it") if len(diverged) == 1 else ("They are", "them")
    return (
        f"{len(diverged)} of {len(runs)} runs diverged: {listed(texts)}. {they} left out; lower "
        f"the learning rate {settings.learning_rate:g} to keep {them}"
    )


def pairs_left_out(left_out: int, pairs: int, gone: Mapping[str, int]) -> str:
    """How many of the pairs are left out, and why, as a sentence; "" if none is.

    Args:
        gone: how many Teachers, Students and Persons diverged.
    """
    if not left_out:
        return ""
    if left_out == 1:
        who = " and ".join(f"its {name}" for name, number in gone.items() if number)
        return f"1 of {pairs} pairs is left out: {who} diverged."
    who = " and ".join(
        f"{number} {name}{'s' * (number > 1)}" for name, number in gone.items() if number
    )
    return f"{left_out} of {pairs} pairs are left out: {who} diverged."


def arms_left_out(differences: Mapping[str, PairedDifference], pairs: int) -> str:
    """Which of several comparisons lack pairs, as a sentence of a caption; "" if none does."""
    texts = [f"{each.left_out} with {name}" for name, each in differences.items() if each.left_out]
    if not texts:
        return ""
    return f" Of {pairs} pairs each, some are left out, since a run diverged: {listed(texts)}."


def listed(texts: Sequence[str]) -> str:
    """The first of some texts, and how many more there are."""
    more = len(texts) - MOST_NAMED
    return "; ".join([*texts[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])
