"""The course: chapters run as scripts; checks tell right answers from typical mistakes."""

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import lesson
import pytest

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


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_as_a_script(name):
    script = ROOT / "course" / f"{name}.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "exercise: **Not written yet.**" in done.stdout
