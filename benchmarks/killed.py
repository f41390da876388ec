"""Runs that are killed at random moments and go on, against one that nobody disturbs.

    python -m benchmarks.killed --json docs/results/killed.json

Each run is killed (SIGKILL) after a random time and resumed, until it comes to its end; then its
files have to be those of the undisturbed run, byte for byte but for times, and no other file may be
left. The same for SIGTERM with `--signal term`.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.__main__ import machine

ROOT = Path(__file__).parents[1]
ONE_THREAD = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
FLAGS = {
    "classification": [
        "--dataset", "digits", "--epochs", "20", "--seeds", "4", "--teachers", "2",
        "--sweep", "alpha=0.1,0.5", "temperature=1,4", "--arms", "label-smoothing",
    ],
    "regression": [
        "--dataset", "friedman", "--epochs", "60", "--seeds", "4", "--sweep", "rows=500,1000",
    ],
}  # fmt: skip
CHANGED = "out", "resume", "checkpoint_every", "cluster"
"""Flags that may be others in a run that goes on."""
TIMES = ("seconds", "started", "inference", "training_time")
"""What the names of times in results.json and configuration.json contain."""


def command(experiment: str, backend: str, out: Path) -> list[str]:
    """The command of a run."""
    flags = [*FLAGS[experiment], "--backend", backend, "--checkpoint-every", "0.2"]
    return [sys.executable, "-m", "nkd", experiment, *flags, "--out", str(out)]


def resuming(experiment: str, out: Path) -> list[str]:
    """The command that goes on with it."""
    return [
        sys.executable,
        "-m",
        "nkd",
        experiment,
        "--resume",
        str(out),
        "--checkpoint-every",
        "0.2",
    ]


def timeless(value: Any) -> Any:
    """The same without times."""
    if isinstance(value, dict):
        named = {key: timeless(each) for key, each in value.items()}
        return {
            key: each
            for key, each in named.items()
            if not any(word in key for word in TIMES) and key not in CHANGED
        }
    return [timeless(each) for each in value] if isinstance(value, list) else value


def content(folder: Path) -> dict[str, Any]:
    """What has to be equal: each file's bytes, without times; of reports, that they are there."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.suffix == ".csv":
            with open(path, newline="") as file:
                found[name] = list(csv.reader(file))
        elif path.suffix == ".safetensors":
            found[name] = path.read_bytes()
        else:
            found[name] = None
    return found


def killed(
    words: list[str],
    resuming: list[str],
    out: Path,
    kills: int,
    longest: float,
    number: int,
    chance: random.Random,
) -> int:
    """Kill a run so many times, each after a random time of at most `longest`; let it end.

    Args:
        words, resuming: the command that begins it, and the one that goes on.
        out: its folder.
        number: of the signal.

    Returns:
        How often it was killed; less if it came to its end before.
    """
    done = 0
    while True:
        begun = (out / "configuration.json").exists()
        process = subprocess.Popen(
            resuming if begun else words,
            cwd=ROOT,
            env=os.environ | ONE_THREAD,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done < kills:
            try:
                process.wait(chance.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                done += 1
        _, complaint = process.communicate()
        if process.returncode == 0:
            return done
        if process.returncode not in (-number, 128 + number):
            raise SystemExit(f"exit code {process.returncode}: {complaint}")


def main() -> None:
    """Kill, resume, compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=100, help="how often runs are killed in all")
    parser.add_argument("--each", type=int, default=5, help="how often a run is killed at most")
    parser.add_argument("--signal", choices=("kill", "term"), default="kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    arguments = parser.parse_args()
    number = signal.SIGKILL if arguments.signal == "kill" else signal.SIGTERM
    chance, records = random.Random(arguments.seed), []
    cases = [(experiment, backend) for experiment in FLAGS for backend in ("numpy", "numba")]
    with tempfile.TemporaryDirectory() as temporary:
        for experiment, backend in cases:
            whole, out = Path(temporary) / "whole", Path(temporary) / "out"
            start = time.monotonic()
            subprocess.run(
                command(experiment, backend, whole),
                cwd=ROOT,
                env=os.environ | ONE_THREAD,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            seconds, expected = time.monotonic() - start, content(whole)
            kills = runs = equal = 0
            while kills < arguments.times / len(cases):
                most = min(arguments.each, round(arguments.times / len(cases)) - kills)
                words = command(experiment, backend, out), resuming(experiment, out)
                kills += killed(*words, out, most, seconds, number, chance)
                runs += 1
                print(f"{experiment}, {backend}: {kills} kills in {runs} runs", flush=True)
                equal += content(out) == expected
                if content(out) != expected:
                    found = content(out)
                    wrong = [
                        n for n in {*found, *expected} if found.get(n, 0) != expected.get(n, 0)
                    ]
                    print(f"{experiment}, {backend}: {', '.join(wrong)} differ")
                    shutil.copytree(out, f"killed-{experiment}-{backend}-{runs}")
                shutil.rmtree(out)
            shutil.rmtree(whole)
            line = {"experiment": experiment, "backend": backend, "seconds": round(seconds, 1)}
            records.append({**line, "kills": kills, "runs": runs, "equal": equal})
            print(
                f"{experiment}, {backend}: {kills} kills, {equal} of {runs} runs equal", flush=True
            )
    if arguments.json:
        record = {"signal": arguments.signal, "seed": arguments.seed, "runs": records, **machine()}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
