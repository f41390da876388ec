"""What the documentation names in the code and in the tests is there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = {
    node.name
    for path in (ROOT / "tests").glob("test_*.py")
    for node in ast.parse(path.read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef)
}


def resolve(name):
    """What nkd.a.b is, whether a module, or part of one."""
    module, *rest = name.split(".")
    found = importlib.import_module(module)
    for number, part in enumerate(rest, start=1):
        if not hasattr(found, part):
            importlib.import_module(".".join([module, *rest[:number]]))
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_name_of_the_package_and_every_test_that_is_mentioned_exists(path):
    text = path.read_text("utf-8")
    for name in set(re.findall(r"`(nkd(?:\.\w+)+)`", text)):
        resolve(name)
    modules = "|".join(path.stem for path in (ROOT / "nkd").glob("[a-z]*.py"))
    for name in set(re.findall(rf"`((?:{modules})(?:\.\w+)+)`", text)):
        if name.split(".")[-1] not in ("py", "csv", "json", "png", "html", "md"):
            resolve(f"nkd.{name}")
    for name in set(re.findall(r"`((?:nkd|tests|benchmarks|docs)/[\w/.]+)`", text)):
        assert (ROOT / name).exists(), name
    assert sorted(set(re.findall(r"`(test_\w+)`", text)) - TESTS) == []
    for target in set(re.findall(r"\]\((?!http|#)([^)#]+)", text)):
        assert (path.parent / target).exists(), target


def test_the_python_of_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", TEXTS[0].read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    exec("".join(blocks), {})
    assert "Student − Person on Wine" in capsys.readouterr().out
