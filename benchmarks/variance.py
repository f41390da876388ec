"""The Person's variance: what a teacher could take from a small network without lowering its bias.

    python -m benchmarks.variance --data-dir DIR

The Person of California Housing is trained on disjoint samples of the training rows, several seeds
each. Half the mean squared difference between networks of different samples is the variance of
what it predicts, over samples and seeds; between seeds of the same sample, the part of the seeds
alone. A teacher that leaves the bias as it is can take no more from the squared error than this
(docs/mathematics.md, section 9). The record goes to docs/results/variance-california.json.
"""

import argparse
import dataclasses
import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np

from nkd import Regression, Run, Training, choose, load_regression
from nkd.data import nested_order
from nkd.recipes import REGRESSION
from nkd.training import for_rows

SIZES, SEEDS = (8, 16, 8, 1), 4
COUNTS = (500, 1_000, 2_000, 4_000, 8_000, None)
"""Rows of a sample; None: all, of which there is only one."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    recipe, backend = REGRESSION["tuned"], choose("auto")
    data = load_regression(data_dir=parser.parse_args().data_dir)
    data = dataclasses.replace(data, feature_bound=recipe.feature_bound)
    order, y, records = nested_order(data.y_train), data.y_test[:, 0], []
    for count in COUNTS:
        rows, outputs = count or len(order), []
        for number in range(min(len(order) // rows, 16)):
            part = order[number * rows : (number + 1) * rows]
            sample = dataclasses.replace(
                data, x_train=data.x_train[part], y_train=data.y_train[part]
            )
            settings = for_rows(recipe.student, rows, len(order))
            settings = dataclasses.replace(settings, report_every=0)
            runs = [Run(SEEDS * number + seed) for seed in range(SEEDS)]
            training = Training(Regression(sample), SIZES, runs, settings, backend=backend).run()
            outputs.append(training.outputs(training.test_inputs)[..., 0].astype(np.float64))
        s = np.array(outputs)  # samples, seeds, test rows
        between = [((a[:, None] - b) ** 2).mean() / 2 for a, b in combinations(s, 2)]
        among = [((a - b) ** 2).mean() / 2 for one in s for a, b in combinations(one, 2)]
        squared = float(((s - y) ** 2).mean())
        variance = float(np.mean(between)) if between else None
        records.append(
            {
                "rows": rows,
                "samples": len(s),
                "seeds": SEEDS,
                "rmse": math.sqrt(squared),
                "variance": variance,
                "variance of the seeds": float(np.mean(among)),
                "rmse without the variance": math.sqrt(squared - (variance or np.mean(among))),
            }
        )
        print(records[-1], flush=True)
    path = Path("docs/results/variance-california.json")
    path.write_text(json.dumps(records, indent=1) + "\n")
