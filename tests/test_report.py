"""report.html: what it says, that it is whole, and that a browser shows it without complaint."""

import base64
import dataclasses
import html.parser
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html import escape

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkd
from nkd import Classification, Regression, Settings, compare
from nkd.experiment import networks_of
from nkd.report.page import report_html, verdict
from nkd.report.view import style_for
from nkd.statistics import PairedDifference, paired_difference

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
COMMAND = "python run.py --out '<$HOME> & more'"
CONFIGURATION = {
    "experiment": "test",
    "flags": {"alpha": 0.5, "odd": "<b>&amp;"},
    "seeds": [1, 2],
    "command": COMMAND,
}
EMPTY = {"meta", "link", "img", "br", "hr"}


def trained(problem, hidden, pairs=3):
    """A small Teacher, pairs, and two arms."""
    settings, seeds = Settings(2, 64, 5e-3), range(pairs)
    teacher = networks_of(problem, hidden[0], [0], settings)
    options = {"alpha": 0.5, "temperature": 2.0, "seeds": seeds, "sweep": {"alpha": [0.1, 0.9]}}
    return compare(problem, teacher, hidden[1], settings, **options)


@pytest.fixture(scope="module")
def classes():
    return trained(Classification(nkd.load_classification("digits")), [(32,), (8,)])


@pytest.fixture(scope="module")
def numbers():
    return trained(Regression(nkd.load_regression("friedman")), [(16,), (4,)])


@pytest.fixture(scope="module", params=["classes", "numbers"])
def results(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def page(results):
    return report_html(results, CONFIGURATION).decode()


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text, of a page whose tags must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_whole_and_asks_for_nothing_else(page):
    parsed = Page(page)
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"script", "iframe", "object"}.isdisjoint(name for name, _ in parsed.tags)
    for name, attributes in parsed.tags:
        for key in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(key, "data:").startswith("data:"), (name, attributes)
    assert "url(" not in page
    assert "@import" not in page


def test_every_picture_can_be_read_and_says_what_it_shows(page, results):
    pictures = Page(page).all("img")
    assert len(pictures) >= 5
    for picture in pictures:
        assert len(picture["alt"]) > 20
        kind, content = picture["src"].split(";base64,")
        assert kind == "data:image/svg+xml"
        root = ElementTree.fromstring(base64.b64decode(content, validate=True))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10
    text = " ".join(picture["alt"] for picture in pictures)
    if isinstance(results.problem, Classification):
        for name in ("Reliability", "Confusion matrix of the Teacher", "of the Student", "image"):
            assert name in text
    else:
        assert text.count("Predicted against true") == 3


def test_the_page_has_the_table_the_verdict_the_sections_and_how_to_repeat_it(page, results):
    text = "\n".join(Page(page).text)
    for label, texts in results.rows():
        for part in (label, *texts):
            assert part in text
    assert results.sentence() in text
    assert all(part in text for part in verdict(results))
    assert COMMAND in text
    assert "<b>&amp;" in text
    for row in results.comparison.rows():
        assert all(part in text for part in row)
    assert "stand-in" in text
    assert text.index("against the Person") < text.index("How to repeat it")


def test_names_and_notices_are_escaped(classes, monkeypatch):
    title = "<script>alert('$title')</script> & \"more\""
    data = dataclasses.replace(classes.problem.data, title=title, notice=f"notice {title}")
    monkeypatch.setattr(classes.problem, "data", data)
    page = report_html(classes, CONFIGURATION).decode()
    assert "<script" not in page
    assert f"notice {escape(title)}" in page


def test_the_first_screen_says_who_the_three_are(page, results):
    first, _ = page.split("<main>")
    for words in ("big network", "small network", "without a teacher", "How sure?"):
        assert words in first
    for name in results.networks:
        assert f"<h3>{name.capitalize()}</h3>" in first


@pytest.mark.parametrize(
    ("student", "person", "answer", "sureness"),
    [
        ([10, 12, 11], [20, 21, 23], "Yes: the teacher helped.", "chance alone is an unlikely"),
        ([20, 21, 23], [10, 12, 11], "No: with the teacher", "chance alone is an unlikely"),
        ([20, 10, 23], [10, 22, 11], "Not clear", "no difference at all is possible too"),
        ([20, 10, 23], [20, 10, 23], "Not clear", "exactly the same amount"),
        ([20, 21, 22], [10, 11, 12], "No verdict", "exactly the same amount"),
        ([20], [10], "No verdict", "one pair proves nothing"),
    ],
)
def test_the_answer_is_the_verdict_in_plain_words(
    results, monkeypatch, student, person, answer, sureness
):
    monkeypatch.setattr(results, "difference", paired_difference(student, person))
    texts = verdict(results)
    assert texts[0].startswith(answer)
    assert sureness in texts[2]
    assert "p-value" not in " ".join(texts)


def test_the_way_to_the_teacher_and_the_direction_are_told_right(classes, monkeypatch):
    finals = {"teacher": [100], "student": [140, 142], "person": [180, 180]}
    view = classes.view.decisive.name
    monkeypatch.setattr(classes, "final", lambda name: {view: np.array(finals[name])})
    difference = PairedDifference(2, -39.0, 1.0, -60.0, -18.0, 0.95, 0.01)
    monkeypatch.setattr(classes, "difference", difference)
    _, finding, sureness = verdict(classes)
    assert "made 141.0 mistakes" in finding
    assert "39.0 fewer with the teacher" in finding
    assert "came 49 % of the way to it" in finding
    assert "between 60.0 fewer and 18.0 fewer (95 % confidence)" in sureness


def test_a_single_pair_of_classifiers_is_told_of_as_these_two_networks_only():
    results = trained(Classification(nkd.load_classification("digits")), [(32,), (8,)], pairs=1)
    wrong = {
        name: z[0].argmax(-1) != results.problem.data.y_test for name, z in results.outputs.items()
    }
    only_student = np.count_nonzero(wrong["student"] & ~wrong["person"])
    assert only_student > 0
    for part in (
        "One pair proves nothing",
        f"Of 360 test rows, the Student alone is wrong on {only_student},",
        "This speaks of these two networks only",
    ):
        assert part in results.sentence()
    assert "pairs" not in verdict(results)[1]
    assert results.sentence() in "".join(Page(report_html(results, {}).decode()).text)


def test_networks_that_agree_everywhere_are_told_to_agree(classes, monkeypatch):
    z = classes.outputs["teacher"]
    monkeypatch.setattr(classes, "outputs", {name: z for name in classes.outputs})
    page = report_html(classes, CONFIGURATION).decode()
    assert "Teacher, Student and Person agree on all 360 test rows" in page


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_shows_the_page_without_complaint(page, tmp_path):
    # Once as it is, for the browser's complaints; once with a script of ours that looks.
    looks = """<script>addEventListener("load", () => {
      const images = [...document.images];
      document.body.textContent = "SEEN" + JSON.stringify({
        images: images.length,
        missing: images.filter(image => !image.complete || image.naturalWidth == 0).length,
        requests: performance.getEntriesByType("resource").map(entry => entry.name)
          .filter(name => !name.startsWith("data:")),
        overflow: document.documentElement.scrollWidth > innerWidth,
      }) + "SEEN"; });</script>"""
    policy = re.search(r"<meta http-equiv=[^>]*>", page)[0]  # it would forbid the script
    bodies = {"as-it-is": page, "looked-at": page.replace(policy, "").replace("</main>", looks)}
    output = {}
    for name, body in bodies.items():
        path = tmp_path / f"{name}.html"
        path.write_text(body, encoding="utf-8")
        output[name] = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900",
             "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
             "--dump-dom", path.as_uri()],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert output[name].returncode == 0, output[name].stderr
    assert "CONSOLE" not in output["as-it-is"].stderr
    seen = json.loads(output["looked-at"].stdout.split("SEEN")[-2])
    expected = {"images": page.count("<img"), "missing": 0, "requests": [], "overflow": False}
    assert seen == expected


@given(st.floats(1e-30, 1e30))
def test_a_number_of_any_size_is_shown_with_some_four_digits(size):
    text = format(size, style_for(size))
    assert float(text.replace(",", "")) == pytest.approx(size, rel=1e-3)
    assert len(text) < 16
