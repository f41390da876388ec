"""What the documentation names in the code and in the tests is there."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
from sklearn.datasets import load_diabetes
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import nkd
from nkd.__main__ import COMMANDS
from nkd.command_line import Parser
from nkd.model import Model

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


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """What somebody has who follows the documentation: a folder with a Student, and a table."""
    monkeypatch.chdir(tmp_path)
    problem = nkd.Regression(nkd.load_regression("friedman"))
    settings = nkd.Settings(1, 256, 1e-2)
    student = nkd.Training(problem, (8, 4, 1), [nkd.Run(seed=0)], settings).run()
    Path("runs/housing").mkdir(parents=True)
    model = Model.of(student, 0)
    model.save("runs/housing/student.safetensors")
    nkd.to_onnx(model, "student.onnx")
    x, y = load_diabetes(return_X_y=True)
    return {"X": x, "y": y}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_the_python_of_the_documentation_runs(path, reader, capsys):
    parsers = [PythonCodeBlockParser(), SkipParser()]
    document = Sybil(parsers).parse(path)
    document.namespace.update(reader)
    for example in document.examples():
        example.evaluate()
    if path.name == "README.md":
        assert "Student − Person on Wine" in capsys.readouterr().out


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_the_commands_of_the_documentation_have_the_flags_that_it_shows(path):
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        words = " ".join(line.replace("exec ", "").split(" && ")[-1:])
        start = re.match(r"(?:python -m nkd|nkd|python run_(?=\w+\.py)) ?(\w+)(?:\.py)?", words)
        if not start:
            continue
        command, flags = COMMANDS[start[1]], shlex.split(words[start.end() :], comments=True)
        parser = Parser(**command.texts())
        parser.add_arguments(command.flags, dest="flags")
        parser.parse_args(flags)
