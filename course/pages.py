"""The chapters as pages for those who only read: `python course/pages.py`.

A page holds everything that a chapter shows when it runs as a script, pictures and formulas
included: it needs no network, no script and no Python.
"""

import argparse
import html
import importlib
import re
from pathlib import Path

import marimo as mo
from latex2mathml.converter import convert
from pygments.formatters import HtmlFormatter

from nkd import files

CHAPTERS = sorted(path.stem for path in Path(__file__).parent.glob("[0-9][0-9]_*.py"))
STYLE = """
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 1.05rem/1.6 Georgia, serif;
  color: #1a1a1a; background: #fff }
h1, h2 { line-height: 1.2 }
pre { overflow-x: auto; background: #f6f6f6; padding: 0.8rem; font-size: 0.85rem; line-height: 1.4 }
code { font-size: 0.9em; overflow-wrap: anywhere } pre code { overflow-wrap: normal }
details { border: 1px solid #ddd; border-radius: 4px; padding: 0.4rem 1rem; margin: 0.6rem 0 }
summary { cursor: pointer }
figure { margin: 1rem 0 } img { max-width: 100% } figcaption { font-size: 0.9rem; color: #555 }
table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { border-bottom: 1px solid #ddd; padding: 0.2rem 0.7rem; text-align: left }
math[display="block"] { overflow: auto hidden; margin: 0.6rem 0; padding: 0.4rem 0 }
mtd[columnalign="right"] { text-align: -webkit-right; padding-right: 0 }
mtd[columnalign="left"] { text-align: -webkit-left; padding-left: 0 }
.whole { white-space: nowrap }
.paragraph { display: block; margin: 1rem 0 } li .paragraph, td .paragraph { margin: 0 }
@media (max-width: 46rem) { .paragraph { overflow: auto hidden } }
"""


def formula(match: re.Match[str]) -> str:
    """A formula of marimo's as MathML, which browsers show by themselves."""
    text = html.unescape(match[1])
    block = text.startswith("||[")
    latex = text[3:-3].strip().replace(r"\arg", r"\operatorname{arg}")
    latex = latex.replace("{aligned}", "{align*}")  # which the converter knows
    shown = convert(latex, display="block" if block else "inline")
    space = '<mspace width="0.167em" />'  # which the converter forgets around a logarithm
    return shown.replace("<mi>log</mi>", f"<mrow>{space}<mi>log</mi>{space}</mrow>")


def static(output: object) -> str:
    """What a cell shows, without what only a running notebook can do."""
    text = mo.as_html(output).text
    text = re.sub(r"<marimo-ui-element.*?</marimo-ui-element>", "", text, flags=re.S)
    text = re.sub(r"<marimo-tex[^>]*>(.*?)</marimo-tex>", formula, text, flags=re.S)
    inline = r'(<math [^>]*display="inline"[^>]*>(?:(?!</math>).)*</math>[,.;:?!)]+)'
    return re.sub(inline, r'<span class="whole">\1</span>', text, flags=re.S)


def page(name: str) -> str:
    """A chapter as a page."""
    chapter = importlib.import_module(name)
    outputs, _ = chapter.app.run()
    shown = "\n".join(static(output) for output in outputs if output is not None)
    title = (chapter.__doc__ or name).strip().rstrip(".")
    place = CHAPTERS.index(name)
    links = [("index", "All chapters"), *((each, each[:2]) for each in CHAPTERS)]
    around = " · ".join(
        label if each == CHAPTERS[place] else f'<a href="{each}.html">{label}</a>'
        for each, label in links
    )
    return document(title, f"<nav>{around}</nav>\n{shown}\n<nav>{around}</nav>")


def document(title: str, body: str) -> str:
    """A whole HTML document."""
    code = HtmlFormatter().get_style_defs(".codehilite")
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}{code}</style></head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def index() -> str:
    """The page that lists the chapters."""
    lines = []
    for name in CHAPTERS:
        title = (importlib.import_module(name).__doc__ or name).strip().rstrip(".")
        lines.append(f'<li><a href="{name}.html">{html.escape(title.partition(": ")[2])}</a></li>')
    heading = "The mathematics of distillation, to be learned by doing"
    return document(heading, f"<h1>{heading}</h1>\n<ol>\n{chr(10).join(lines)}\n</ol>")


def main() -> None:
    """Write a page for each chapter, and one that lists them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="01, say; by default all")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/course"), help="folder for the pages"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in CHAPTERS if name[:2] in arguments.chapters or not arguments.chapters]
    for name in wanted:
        files.write(arguments.out / f"{name}.html", page(name).encode())
        print(arguments.out / f"{name}.html")
    files.write(arguments.out / "index.html", index().encode())


if __name__ == "__main__":
    main()
