"""Arrays that come in from outside: what is harmless is converted, the rest refused in a sentence.

An array that needs no change is returned as it is, never copied.
"""

from typing import Any

import numpy as np

from nkd.errors import UserError, first_line

LARGEST = np.float64(np.finfo(np.float32).max)


def numbers(values: Any, what: str) -> np.ndarray:
    """What was given, as an array of numbers or booleans.

    Args:
        values: an array of any shape, or whatever NumPy makes one of, such as lists; objects are
            converted if all are numbers.
        what: its name for people, such as "x_train of data set 'mine'".

    Raises:
        UserError: it holds text, something else that is no real number, or rows that differ in
            length.
    """
    try:
        array = np.asarray(values)
        if array.ndim and array.dtype.kind == "O":
            array = np.asarray(array.tolist())  # NumPy looks at each object: numbers, or text?
        if array.ndim and array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # PyTorch raises a RuntimeError
        ragged = "inhomogeneous" in str(error)
        reason = "its rows differ in length" if ragged else first_line(error)
        raise UserError(f"{what} is no table of numbers: {reason}") from None
    if array.ndim == 0:  # None, a number, or an object that NumPy cannot look into
        raise UserError(f"{what} is one {type(values).__name__}; give an array of numbers")
    if array.dtype.kind in "SU":
        raise UserError(
            f"{what} holds text, such as {str(array.flat[0])!r}; give numbers; "
            "numpy.unique(y, return_inverse=True)[1] makes them of labels y"
        )
    if array.dtype.kind not in "fiub":
        raise UserError(f"{what} holds values of type {array.dtype}; give real numbers")
    return array


def check_finite(array: np.ndarray, what: str) -> None:
    """Refuse numbers that are not finite, or would not be in float32.

    Args:
        array: (N,), (N, ·) or (…, N, ·).
        what: its name for people.

    Raises:
        UserError: there is one; the message names the first one's row.
    """
    if array.dtype.kind != "f" or not array.size:
        return
    with np.errstate(invalid="ignore"):
        if array.min() >= -LARGEST and array.max() <= LARGEST:  # neither holds for NaN
            return
    place = np.argwhere(~(np.abs(array) <= LARGEST))[0]
    row = f"row {place[0]}" if array.ndim == 1 else f"row {place[-2]}, column {place[-1]}"
    raise UserError(
        f"{what} has {array[tuple(place)]:g} in {row} (counted from 0); give finite numbers that "
        "float32 can hold, or leave such rows out"
    )


def labels(y: np.ndarray, what: str) -> np.ndarray:
    """Labels (N,) as int64, from any type of numbers that are whole.

    Raises:
        UserError: there is not one for each row, or one is not a whole number from 0 on.
    """
    if y.ndim != 1:
        hint = "y.ravel()" if y.shape[1:] == (1,) else "y.argmax(axis=1) of one-hot rows"
        raise UserError(
            f"{what} has the shape {y.shape}, but labels are one whole number for each row, (N,); "
            f"give {hint}, or real numbers to Regression"
        )
    with np.errstate(invalid="ignore"):
        whole = y.astype(np.int64, copy=False)
    wrong = (whole != y) | (whole < 0)
    if wrong.any():
        row = wrong.argmax()
        raise UserError(
            f"{what} has {y[row]} in row {row} (counted from 0), but labels are whole numbers from "
            "0 on; real numbers are for Regression"
        )
    return whole
