"""`nkd claims`: flags, what is still to be measured, the table."""

import dataclasses
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from simple_parsing import field

from nkd.backend import choose
from nkd.claims.experiments import CLAIMS, VERDICTS, Measured, differences, sentence
from nkd.claims.laboratory import Laboratory, problem_of
from nkd.command_line import check_seconds, resumed, wrong
from nkd.random_streams import LARGEST_SEED
from nkd.work import Kept, Work

DESCRIPTION = "Famous claims about distillation, each put to the test."


@dataclass
class Flags:
    """Flags of the tests of claims."""

    repetitions: int = 100
    """How often each experiment is repeated; each time with its own teacher and students."""

    first_seed: int = 0
    """The seeds of the repetitions count up from it."""

    only: list[str] = field(default_factory=list, metavar="NAME", nargs="*")  # noqa: RUF009
    """Only these claims, instead of all: calibration, smoothed-teacher, other-classes, …"""

    backend: Literal["auto", "numpy", "numba", "cupy"] = "auto"
    """numpy; numba (compiled, faster); cupy (NVIDIA GPU); auto: cupy or numba if usable."""

    dataset: Literal["mnist", "digits"] = "mnist"
    """mnist: 2,000 of its training rows, all test rows; digits: those of scikit-learn."""

    data_dir: str = field(default="", metavar="DIR")
    """Folder that holds the data files; without it, and without $NKD_DATA_DIR, they are fetched."""

    out: str = field(default="runs/claims-<dataset>", metavar="DIR")
    """Folder for results; those already there are not measured again."""

    checkpoint_every: float = field(default=30.0, metavar="SECONDS")
    """Keep a training that goes on, at the end of an epoch, when this time has passed."""

    resume: str = field(default="", metavar="DIR")
    """Go on in this folder with the flags that were used there last."""

    def check(self) -> None:
        """Raise a UserError that names the first flag whose value makes no sense."""
        if not 2 <= self.repetitions <= 10_000:
            raise wrong("repetitions", self.repetitions, "must lie in 2 … 10,000")
        if not 0 <= self.first_seed <= LARGEST_SEED // 1000:
            raise wrong("first_seed", self.first_seed, f"must lie in 0 … {LARGEST_SEED // 1000:,}")
        unknown = [name for name in self.only if name not in NAMES]
        if unknown:
            raise wrong("only", unknown[0], f"choose from {', '.join(NAMES)}")
        if not self.out:
            raise wrong("out", "''", "name a folder")
        check_seconds(self.checkpoint_every)


NAMES = [claim.name for claim in CLAIMS]


def run(flags: Flags) -> None:
    """Measure what is not measured yet, then show the table."""
    flags = resumed(flags, "claims") if flags.resume else flags
    flags.check()
    backend = choose(flags.backend)
    problem, plan = problem_of(flags.dataset, flags.data_dir or None)

    from nkd.report.files import CHECKPOINTS, Folder
    from nkd.report.screen import Screen, table_of

    screen = Screen()
    folder = Folder(Path(flags.out.replace("<dataset>", flags.dataset)))
    checkpoints = Kept(folder.path / CHECKPOINTS, flags.checkpoint_every)
    seeds = range(flags.first_seed, flags.first_seed + flags.repetitions)
    common = {
        "plan": dataclasses.asdict(plan),
        "dataset": flags.dataset,
        "backend": backend.name,
        "seeds": [seeds.start, seeds.stop - 1],
    }
    folder.claim(common)
    last = {"experiment": "claims", "flags": dataclasses.asdict(flags)}
    resolved = {"backend": backend.name, "out": str(folder.path)}
    folder.write_json("configuration.json", {**common, **last, "resolved": resolved})

    def show(training: Any, title: str) -> None:
        for _ in screen.epochs(training, title):
            pass

    work = Work(backend.free_memory(), backend, screen.print, checkpoints)
    laboratory = Laboratory(problem, plan, seeds, work, show)
    wanted = [claim for claim in CLAIMS if not flags.only or claim.name in flags.only]
    screen.start(problem.data, backend, f"; results go to {folder.path}")
    try:
        with folder.locked("claims"):
            for number, claim in enumerate(wanted, start=1):
                record = folder.record(claim.name)
                if record is None:
                    laboratory.name, start = claim.name, time.perf_counter()
                    measured = claim.experiment(laboratory)
                    record = record_of(measured, time.perf_counter() - start)
                    folder.write_json(f"{claim.name}.json", record)
                difference = differences([measured_of(record)])[0]
                screen.print(
                    f"{number:2}/{len(wanted)}  {claim.name:16}  {sentence(claim, difference)} "
                    f"({record['seconds']:.0f} s)"
                )
            checkpoints.clear()
    except KeyboardInterrupt as stop:
        raise type(stop)(
            f"what was measured is kept in {folder.path}; the same command goes on there, or "
            f"--resume {folder.path}"
        ) from None

    records = {name: record for name in NAMES if (record := folder.record(name)) is not None}
    found = {
        "title": problem.data.title,
        "rows": len(problem.data.x_train),
        "repetitions": len(seeds),
        **common,
        "machine": f"{backend.name} on {backend.device()}, {platform.system()}",
        "date": time.strftime("%Y-%m-%d"),
        "claims": records,
    }
    folder.write_json("claims.json", found)
    folder.write("claims.md", markdown(found).encode())

    head = ["claim", "measured", "interval", "verdict"]
    rows = [
        [claim.name, cells["difference"], cells["interval"], cells["verdict"]]
        for claim, cells in rows_of(records)
    ]
    title = f"Claims about distillation on {problem.data.title}"
    caption = (
        f"Less is better; {len(seeds)} repetitions, each with its own teacher. One family of "
        f"{len(rows)} comparisons (Holm). The records: {folder.path / 'claims.json'}"
    )
    screen.print(table_of(title, caption, head, rows))


def record_of(measured: Measured, seconds: float) -> dict[str, Any]:
    """What was measured, as JSON can hold it."""

    def listed(values: np.ndarray) -> list[float | None]:
        return [None if np.isnan(value) else round(value, 6) for value in values.tolist()]

    return {
        "a": listed(measured.a),
        "b": listed(measured.b),
        "beside": {name: listed(values) for name, values in measured.beside.items()},
        "seconds": round(seconds, 1),
    }


def measured_of(record: Mapping[str, Any]) -> Measured:
    """What was measured, from its record."""
    beside = {name: np.array(values, float) for name, values in record["beside"].items()}
    return Measured(np.array(record["a"], float), np.array(record["b"], float), beside)


def rows_of(records: Mapping[str, Any]) -> list[tuple[Any, dict[str, str]]]:
    """The claims that were tested, in order, and what to say of each."""
    tested = [claim for claim in CLAIMS if claim.name in records]
    measured = [measured_of(records[claim.name]) for claim in tested]
    rows = []
    for claim, each, difference in zip(tested, measured, differences(measured), strict=True):
        there = difference.low is not None
        interval = f"{difference.low:+.3g} to {difference.high:+.3g}" if there else "–"
        beside = ", ".join(
            f"{name} {np.nanmean(values):.4g}" for name, values in each.beside.items()
        )
        cells = {
            "difference": f"{difference.mean:+.3g} {claim.unit}",
            "interval": interval,
            "verdict": VERDICTS[difference.verdict],
            "beside": beside,
        }
        rows.append((claim, cells))
    return rows


def markdown(found: Mapping[str, Any]) -> str:
    """The tables of docs/claims.md for one data set: the verdicts, and what they rest on."""

    def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]

    minutes = sum(record["seconds"] for record in found["claims"].values()) / 60
    verdicts, grounds = [], []
    for claim, cells in rows_of(found["claims"]):
        told = cells["difference"], cells["interval"], f"**{cells['verdict']}**"
        verdicts.append([str(claim.chapter), claim.name, f"{claim.text}.", *told])
        grounds.append([claim.name, f"{claim.source}.", claim.compared, cells["beside"]])
    lines = [
        f"{found['title']}, {found['rows']:,} training rows; {found['repetitions']} repetitions "
        f"(seeds {found['seeds'][0]} to {found['seeds'][1]}); {minutes:.0f} minutes, "
        f"{found['machine']}, {found['date']}.",
        "",
        *table(["chapter", "name", "claim", "difference", "interval", "verdict"], verdicts),
        "",
        *table(["name", "source", "a − b", "means of what was measured"], grounds),
    ]
    return "\n".join(lines) + "\n"
