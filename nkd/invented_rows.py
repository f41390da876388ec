"""More rows to ask a teacher about: MUNGE, the algorithm of the first paper on distillation."""

import math

import numpy as np

from nkd.data import standardise
from nkd.random_streams import Purpose, random_stream

SWAPPED = 0.5
"""p: the probability that a feature of a new row comes from the neighbour."""

SHARPNESS = 1.0
"""s: the neighbour's value is drawn with the standard deviation |difference|/s."""


def invented_rows(x: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows that resemble those of x: mixtures of a row and its nearest neighbour.

    Each feature of a new row is, with probability p, drawn around the neighbour's value e', from
    N(e', (|e − e'|/s)²); otherwise it is the row's own value e. A feature that is a whole number in
    all rows takes the neighbour's value as it is, so that counts stay counts and codes stay codes.

    Unlike in the paper, all rows are changed at once, and not one after another.

    Args:
        x: (N, I) features as they are; distances are measured between standardised ones.
        share: how many new rows per given row; a fraction takes some of the rows, drawn at random.
        seed: of the draw.

    Returns:
        (round(share·N), I), of the type of x.

    Source: Bucila, Caruana and Niculescu-Mizil 2006, Model Compression, section 3 (MUNGE).
    """
    from sklearn.neighbors import NearestNeighbors

    stream, rows = random_stream(seed, Purpose.INVENTED_ROWS), len(x)
    count = round(share * rows)
    if count == 0 or rows < 2:
        return x[:0]
    standardised, *_ = standardise(x, x[:0])
    nearest = NearestNeighbors(n_neighbors=1).fit(standardised)
    neighbour = nearest.kneighbors(return_distance=False)[:, 0]  # a row is not its own
    passes = [stream.permutation(rows) for _ in range(math.ceil(count / rows))]
    chosen = np.concatenate(passes)[:count]
    own, other = x[chosen], x[neighbour[chosen]]
    drawn = other + np.abs(own - other) / SHARPNESS * stream.standard_normal(own.shape)
    drawn = np.where((x == np.rint(x)).all(axis=0), other, drawn)
    return np.where(stream.random(own.shape) < SWAPPED, drawn, own).astype(x.dtype)
