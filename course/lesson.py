"""What all chapters share: the reference, lines of the engine, pictures, exercises, claims.

A chapter is a marimo notebook. In a browser its pictures follow the sliders. Where it runs as a
script, as for the pages that `pages.py` writes, a picture is shown at several settings at once.
"""

import base64
import html
import inspect
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

import marimo as mo
import numpy as np

import nkd
from nkd.backend import NUMPY
from nkd.claims.experiments import CLAIMS, differences, sentence
from nkd.claims.laboratory import Laboratory, problem_of
from nkd.report.files import png
from nkd.work import Work

MATHEMATICS = Path(__file__).parents[1] / "docs" / "mathematics.md"


class Wrong(Exception):
    """An answer to an exercise is not right yet. The text says what is wrong, and hints at why."""


def is_script() -> bool:
    """Whether the chapter is run from top to bottom, without anybody to move a slider."""
    return mo.app_meta().mode == "script"


@cache
def sections() -> dict[int, tuple[str, str]]:
    """Titles and texts of docs/mathematics.md, by number, as marimo reads them."""
    text = MATHEMATICS.read_text("utf-8")
    text = re.sub(r"^```math\n(.*?)^```", r"$$\n\1$$", text, flags=re.M | re.S)
    text = re.sub(r"^(!\[|Chapter:).*\n", "", text, flags=re.M)  # what leads to the chapters
    parts = re.findall(r"^## (\d+)\. ([^\n]*)\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S)
    return {int(number): (title, body.strip()) for number, title, body in parts}


def folded(title: str, body: str) -> str:
    """Text that shows its title, and its body when somebody clicks on it."""
    return f"/// details | {title}\n\n{body}\n\n///"


def reference(*numbers: int) -> mo.Html:
    """Sections of docs/mathematics.md, folded: every step, with its code and its tests."""
    return mo.md(
        "\n\n".join(
            folded(f"docs/mathematics.md, section {number}: *{title}*, in full", body)
            for number, (title, body) in ((number, sections()[number]) for number in numbers)
        )
    )


def listing(thing: Any) -> str:
    """The lines that define a function, method or class."""
    lines, _ = inspect.getsourcelines(thing)
    return f"```python\n{inspect.cleandoc(chr(10) + ''.join(lines))}\n```"


def engine(*things: Any) -> mo.Html:
    """The lines of the installed package that define these functions, methods or classes."""
    shown = []
    for thing in things:
        file = "/".join(Path(inspect.getfile(thing)).parts[-2:])
        lines, first = inspect.getsourcelines(thing)
        where = f"`{file}`, lines {first} to {first + len(lines) - 1}"
        shown.append(f"**The engine**, {where}:\n\n{listing(thing)}")
    return mo.md("\n\n".join(shown))


def moving(
    picture: Callable[..., None],
    size: tuple[float, float],
    alt: str,
    now: Mapping[str, Any],
    frames: Sequence[Mapping[str, Any]],
) -> mo.Html:
    """A picture with the values that sliders have now; in a script, with those of all frames.

    Args:
        picture: draws on a figure of Matplotlib, its first argument; the others are the sliders'.
        size: width and height in inches.
        alt: says in words what is to be seen.
        now: the sliders' values.
        frames: values that are worth seeing.
    """
    shown = []
    for values in frames if is_script() else [now]:
        image = base64.b64encode(png(size, partial(picture, **values))).decode()
        settings = ", ".join(f"{name} = {value}" for name, value in values.items())
        shown.append(
            f'<figure><img src="data:image/png;base64,{image}" alt="{html.escape(alt)}" '
            'style="max-width: 100%">'
            f"<figcaption>{settings if is_script() else ''}</figcaption></figure>"
        )
    return mo.Html("\n".join(shown))


GREEN, ORANGE, GREY = "#009E73", "#D55E00", "#999999"


def returning(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The reader's function, which is told if it forgets its `return`."""

    @wraps(answer)
    def called(*arguments: Any, **settings: Any) -> Any:
        got = answer(*arguments, **settings)
        if got is None:
            raise Wrong(f"`{answer.__name__}` returns nothing. Does it end with `return`?")
        return got

    return called


def graded(check: Callable[..., str], *answers: Callable[..., Any]) -> mo.Html:
    """What a check says about the functions that the reader has written.

    Args:
        check: takes them; raises `Wrong`, or returns in one sentence what it has seen.
        answers: functions of the chapter; as long as one is a stub, it raises NotImplementedError.
    """
    stubs = ""
    try:
        colour, text = GREEN, f"**Right.** {check(*map(returning, answers))}"
    except NotImplementedError:
        colour = GREY
        names = " and ".join(f"`{answer.__name__}`" for answer in answers)
        text = (
            "**Not written yet.** Open this chapter with `marimo edit`, run all its cells (the "
            f"yellow triangle at the lower right), and write {names}. Each time you run what you "
            "wrote, this box says what is right or wrong with it. A solution is in "
            "`course/solutions/`."
        )
        stubs = "\n\n".join(map(listing, answers))
    except Wrong as wrong:
        colour, text = ORANGE, f"**Not right yet.** {wrong}"
    except Exception as error:  # noqa: BLE001 the reader's code may raise anything
        colour, frames = ORANGE, traceback.extract_tb(error.__traceback__)
        files = {inspect.getfile(answer) for answer in answers}
        place = next((frame for frame in reversed(frames) if frame.filename in files), frames[-1])
        text = (
            f"**It raises** `{type(error).__name__}: {error}`, in line {place.lineno}: "
            f"`{place.line}`"
        )
    if is_script():
        print(f"exercise: {text}")
    said = mo.md(f"{text}\n\n{stubs}").text
    style = f"border-left: 4px solid {colour}; padding: 0.5em 1em; margin: 1em 0"
    return mo.Html(f'<div class="graded" style="{style}">{said}</div>')


def expect_close(got: Any, wanted: Any, hint: str, tolerance: float = 1e-6) -> None:
    """Raise `Wrong` with this hint unless the arrays agree, relative to their largest number."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        raise Wrong(f"The result has the shape {got.shape}; it should have {wanted.shape}.")
    if got.dtype.kind not in "fiu":
        raise Wrong(f"The result holds {got.dtype}, not numbers.")
    if not np.isfinite(got).all():
        raise Wrong(f"There is {got[~np.isfinite(got)].flat[0]} in the result. {hint}")
    if np.abs(got - wanted).max() > tolerance * max(np.abs(wanted).max(), 1e-300):
        raise Wrong(hint)


def expect_none(got: Any, *wrong: tuple[Any, str]) -> None:
    """Raise `Wrong` if this is one of the wrong results, each with a hint."""
    for result, hint in wrong:
        if np.shape(got) == np.shape(result) and np.allclose(got, result, 1e-6, 1e-12):
            raise Wrong(hint)


def called(answer: Callable[..., Any], *arguments: Any) -> Any:
    """What the reader's function returns; it is `Wrong` if it has changed one of its arguments."""
    given = [each.copy() if isinstance(each, np.ndarray) else each for each in arguments]
    with np.errstate(all="ignore"):
        got = answer(*given)
    for name, now, before in zip(
        inspect.signature(answer).parameters, given, arguments, strict=False
    ):
        if not np.array_equal(now, before, equal_nan=True):
            raise Wrong(
                f"`{answer.__name__}` changes its argument {name}, which whoever calls it needs "
                f"once more: `{name} -= 1` writes into it, `{name} = {name} - 1` does not."
            )
    return got


def questions(*pairs: tuple[str, str]) -> mo.Html:
    """Questions, each with its answer folded away."""
    return mo.md("\n\n".join(folded(question, answer) for question, answer in pairs))


def button() -> Any:
    """Starts the experiment of a claim, after the reader has predicted how it ends."""
    return mo.ui.run_button(label="Put it to the test")


def claim(name: str, pressed: Any) -> mo.Html:
    """A claim of nkd.claims: what it lets one expect; once the button is pressed, what came out.

    Args:
        name: of the claim.
        pressed: the `button`. In a script nobody can press it, so the experiment is made.
    """
    claim = next(each for each in CLAIMS if each.name == name)
    text = (
        f"**{claim.text}.** ({claim.source})\n\n"
        f"*Measured*, in {claim.unit}: {claim.compared}. Less is better, so the claim says that "
        f"this is below 0.\n\n*Expected if it holds*: {claim.expected}"
    )
    if not (pressed.value or is_script()):
        return mo.md(f"{text}\n\nWhat do you predict? Then press the button.")
    here = laboratory()
    here.name, start = name, time.perf_counter()
    with mo.status.spinner(title=f"{len(here.seeds)} repetitions, each with its own teacher"):
        measured = claim.experiment(here)
    found = sentence(claim, differences([measured])[0])
    if is_script():
        print(f"claim: {name}: {found}")
    means = "\n".join(
        f"| {arm} | {np.nanmean(values):.4g} | {np.nanstd(values, ddof=1):.2g} |"
        for arm, values in measured.beside.items()
    )
    data = here.problem.data
    where = claim.data or f"{len(data.x_train):,} rows of {data.title}"
    return mo.md(
        f"{text}\n\n*What came out* on {where}, in "
        f"{time.perf_counter() - start:.0f} s: **{found}**, here and with so few repetitions. "
        "`docs/claims.md` has all claims at full strength.\n\n"
        f"| | mean, {claim.unit} | standard deviation |\n|---|---|---|\n{means}"
    )


REPETITIONS = 8
"""Of each experiment in a chapter."""


@cache
def laboratory() -> Laboratory:
    """Where claims are put to the test: on MNIST if its folder is known, else on the digits."""
    problem, plan = problem_of("mnist" if os.environ.get("NKD_DATA_DIR") else "digits")
    work = Work(NUMPY.free_memory(), NUMPY)
    return Laboratory(problem, plan, range(REPETITIONS), work)


@cache
def digits() -> nkd.Classification:
    """The 1,797 handwritten digits that come with scikit-learn, as images of 28 × 28 pixels."""
    return nkd.Classification(nkd.load_classification("digits"))


@cache
def digits_teacher() -> nkd.Training:
    """A Teacher of the digits: 256 and 128 hidden units, trained in a second."""
    settings = nkd.Settings(epochs=20, batch_size=64, learning_rate=1e-3, report_every=0)
    return nkd.Training(digits(), (784, 256, 128, 10), [nkd.Run(seed=0)], settings).run()
