"""Runs that diverged, in words: which they are, and which pairs are left out because of them."""

from collections.abc import Mapping, Sequence

from nkd.arms import named
from nkd.distillation import Run
from nkd.statistics import PairedDifference
from nkd.training import Settings

MOST_NAMED = 5
"""So many runs, or arms, are named one by one."""

DISTINGUISHING = "alpha", "temperature", "loss"


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
    for run, own in zip(runs, values, strict=True):
        if run.learning_rate_factor != 1:
            own["learning_rate_factor"] = run.learning_rate_factor
    names = dict.fromkeys(name for each in values for name in each)
    differ = [name for name in names if len({each.get(name) for each in values}) > 1]
    texts = []
    for number, epoch in diverged.items():
        own = {name: values[number][name] for name in differ if name in values[number]}
        texts.append(f"{named({'seed': runs[number].seed, **own})} in epoch {epoch}")
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
        who, are = [f"its {name}" for name, number in gone.items() if number], "is"
    else:
        numbers = [(name, number) for name, number in gone.items() if number]
        who = [f"{number} {name}{'s' if number > 1 else ''}" for name, number in numbers]
        are = "are"
    causes = " and ".join([", ".join(who[:-1]), who[-1]] if len(who) > 1 else who)
    return f"{left_out} of {pairs} pairs {are} left out: {causes} diverged."


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
