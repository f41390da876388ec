"""Independent random streams, one per (seed, purpose).

A run's randomness depends on its own seed alone, never on its place among the replicas: adding
a run, or changing how many numbers one purpose draws, leaves every other stream unchanged.
Everything is drawn by NumPy on the host, so a seed means the same on every backend.
"""

from enum import IntEnum, unique

import numpy as np

LARGEST_SEED = 2**32 - 1
"""What a seed may be at most."""


@unique
class Purpose(IntEnum):
    """What a stream's numbers are used for. Changing a value changes what every seed means."""

    INITIAL_WEIGHTS = 0
    BATCH_ORDER = 1
    DATA_SPLIT = 2
    DROPOUT = 3
    JITTER = 4
    FEWER_ROWS = 5
    INVENTED_ROWS = 6
    SHUFFLED_TEACHER = 10
    PERMUTED_TEACHER = 11


def random_stream(seed: int, purpose: Purpose) -> np.random.Generator:
    """The generator for one seed (an integer from 0 to `LARGEST_SEED`) and one purpose."""
    return np.random.default_rng(np.random.SeedSequence((seed, purpose)))
