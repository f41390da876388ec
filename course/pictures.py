"""The pictures of docs/mathematics.md, as the chapters draw them: `python course/pictures.py`."""

import importlib
from pathlib import Path

from nkd import files
from nkd.report.files import png

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "mathematics"
PICTURES = {
    "temperature": "01_softmax_and_temperature",
    "cross-entropy": "02_gradient_of_cross_entropy",
    "t-squared": "03_why_t_is_squared",
    "logits": "04_matching_logits",
    "blended-target": "05_one_blended_target",
    "backpropagation": "06_backpropagation",
    "adam": "07_adam",
    "controls": "08_what_carries_the_knowledge",
    "bias-and-variance": "09_regression_bias_and_variance",
    "intervals": "10_does_it_help",
}
"""Their names, and the chapters that draw them, at what the sliders are set to first."""


def main() -> None:
    """Draw and write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, module in PICTURES.items():
        chapter = importlib.import_module(module)
        files.write(FOLDER / f"{name}.png", png(chapter.SIZE, chapter.picture))
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
