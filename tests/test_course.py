"""The course: chapters run as scripts; checks tell right answers from typical mistakes."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import lesson
import pages
import pictures
import pytest

from nkd.claims.experiments import CLAIMS

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted(path.stem for path in (ROOT / "course").glob("[0-9][0-9]_*.py"))


def parts(chapter):
    """The chapter's module, its solutions and its mistakes."""
    names = chapter, f"solutions.{chapter}", f"tests.course_mistakes.chapter{chapter[:2]}"
    return map(importlib.import_module, names)


def answers(chapter):
    """The names of the functions that an exercise asks for."""
    return list(inspect.signature(chapter.check).parameters)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_check_of_an_exercise_accepts_its_solution(name):
    chapter, solution, _ = parts(name)
    assert chapter.check(*(getattr(solution, answer) for answer in answers(chapter)))


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_check_of_an_exercise_tells_what_is_wrong(name):
    chapter, _, mistakes = parts(name)
    assert len(mistakes.MISTAKES) >= 3
    for wrong, hint in mistakes.MISTAKES:
        with pytest.raises(lesson.Wrong, match=hint):
            chapter.check(*wrong)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_exercise_of_a_chapter_is_a_stub(name):
    chapter, _, _ = parts(name)
    stubs = [getattr(chapter, answer) for answer in answers(chapter)]
    with pytest.raises(NotImplementedError):
        chapter.check(*stubs)


@pytest.fixture
def short(monkeypatch):
    """Experiments of two repetitions, on the embedded digits."""
    monkeypatch.delenv("NKD_DATA_DIR", raising=False)
    monkeypatch.setattr(lesson, "REPETITIONS", 2)
    monkeypatch.setattr(lesson, "is_script", lambda: True)  # pytest is neither script nor browser


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_becomes_a_page_that_needs_nothing_else(name, short, capsys):
    page = pages.page(name)
    said = capsys.readouterr().out
    assert "exercise: **Not written yet.**" in said
    number = int(name[:2])
    for claim in CLAIMS:
        assert (f"claim: {claim.name}: " in said) == (claim.chapter == number)
    assert not re.search(r"marimo-|<script|<link|\|\||\$\$|src=\"(?!data:)", page)
    assert all(part in page for part in ("<math", "<details", "data:image/png", "The engine"))
    for section in re.findall(r"docs/mathematics.md, section (\d+)", page):
        assert f"](../course/{name}.py)" in chapters_of(int(section))


def chapters_of(section):
    """The text of a section of the mathematics, which leads to the chapters."""
    text = lesson.MATHEMATICS.read_text("utf-8")
    return re.search(rf"^## {section}\. .*?(?=^## )", text, re.MULTILINE | re.DOTALL)[0]


def test_each_chapter_is_linked_from_the_mathematics_and_has_its_picture_there():
    text = lesson.MATHEMATICS.read_text("utf-8")
    assert sorted(pictures.PICTURES.values()) == CHAPTERS
    for picture, name in pictures.PICTURES.items():
        assert f"](../course/{name}.py)" in text and f"](images/mathematics/{picture}.png)" in text
        assert (pictures.FOLDER / f"{picture}.png").exists()


def test_a_chapter_runs_as_a_script_with_its_solution_in_the_place_of_the_stub(tmp_path):
    """As a reader leaves it: the ninth, whose experiment is the shortest."""
    course = tmp_path / "course"
    course.mkdir()
    for name in ("lesson.py", "09_regression_bias_and_variance.py"):
        shutil.copy(ROOT / "course" / name, course)
    chapter = course / name
    (tmp_path / "docs").mkdir()
    shutil.copy(lesson.MATHEMATICS, tmp_path / "docs")
    solved = chapter.read_text("utf-8").replace(
        "    raise NotImplementedError\n",
        "    from solution import risk as solved\n\n"
        "    return solved(H_student, H_teacher, f, noise, alpha)\n",
        1,
    )
    chapter.write_text(solved, "utf-8")
    solution = ROOT / "course" / "solutions" / chapter.name
    shutil.copy(solution, course / "solution.py")
    environment = {**os.environ, "NKD_DATA_DIR": ""}
    done = subprocess.run(
        [sys.executable, chapter], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "exercise: **Right.**" in done.stdout and "claim: bayes-teacher: " in done.stdout
