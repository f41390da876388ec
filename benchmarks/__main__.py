"""Race nkd against PyTorch, JAX and scikit-learn on the same training steps.

    python -m benchmarks                      everything, about half an hour
    python -m benchmarks --quick              the same with fewer rounds, 15 minutes
    python -m benchmarks --only student-mnist --json results.json --chart results.png

All start with the same weights and see the same batches, and their losses are compared before
anything is timed; scikit-learn, which takes no weights, and bare products are not compared.
Contestants run in turn, each in a process of its own, without the variables that choose kernels or
numbers of threads, and only while nothing else computes. The ratio is a peer's time divided by
nkd's in the same round: above 1, nkd is faster.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.peers import PEERS
from benchmarks.workloads import CPU, Workload
from nkd.machine import products_of

REFERENCES = ("nkd numba", "nkd numpy")
"""nkd's best backend comes first; if it is missing, the next one represents nkd."""
SAME = 1e-3
"""Relative difference up to which losses count as equal: float32, added in different orders."""


PINNING = (
    "OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "VECLIB_", "NPY_", "ATEN_CPU",
    "DNNL_", "ONEDNN_", "XLA_FLAGS", "NUMBA_NUM_THREADS", "NUMBA_CPU", "NUMBA_THREADING",
)  # fmt: skip
"""How variables begin that choose kernels, threads or how they wait: no contestant has any."""
QUIET, PATIENCE = 10.0, 60
"""Per cent of the processor that others may take, and how many seconds to wait for it."""


class Contestant:
    """A worker process; in a workload in the company of itself, two."""

    def __init__(self, peer: str, workload: Workload, where: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(PINNING)}
        command = [sys.executable, "-m", "benchmarks.worker", peer, workload.name, where]
        self.company = workload.company
        self.processes = [
            subprocess.Popen(
                command, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            for _ in range(2 if self.company == "itself" else 1)
        ]  # fmt: skip

    @cached_property
    def first(self) -> Any:
        """Its first answer."""
        answers = [self.answer(process) for process in self.processes]
        return answers[0]

    def answer(self, process: Any) -> Any:
        """The next line of a process, parsed."""
        line = process.stdout.readline()
        return json.loads(line) if line else {"missing": "its process ended"}

    def ask(self, command: str, alone: bool = False) -> Any:
        """Send a command to all processes, or one alone; wait for all, return the first's answer.

        The answer to "time" is the time of the slowest.
        """
        asked = self.processes[:1] if alone else self.processes
        for process in asked:
            process.stdin.write(f"{command}\n")
            process.stdin.flush()
        answers = [self.answer(process) for process in asked]
        return max(answers) if command.startswith("time") else answers[0]

    def time(self, steps: int, alone: bool = False) -> float:
        """Seconds per step, in the workload's company or alone."""
        if alone or self.company != "a loop":
            return self.ask(f"time {steps}", alone) / steps
        loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            time.sleep(0.2)
            return self.ask(f"time {steps}") / steps
        finally:
            loop.kill()
            loop.wait()

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.communicate()


def wait_for_quiet() -> None:
    """Wait until nothing else computes on this machine.

    Raises:
        SystemExit: something still does after a minute.
    """
    import psutil

    for _ in range(PATIENCE):
        busy = psutil.cpu_percent(interval=1.0)
        if busy < QUIET:
            return
    print(
        f"error: other programs take {busy:.0f} % of this machine's processor, so times would mean "
        "little; stop them, or measure --anyway",
        file=sys.stderr,
    )
    raise SystemExit(2)


def race(
    workload: Workload,
    seconds: float,
    rounds: int,
    console: Console,
    *,
    peers: Iterable[str] = PEERS,
    references: Sequence[str] = REFERENCES,
    where: str = "cpu",
) -> list[dict[str, Any]]:
    """Time all that can do this work; return a record for each."""
    contestants: dict[str, Contestant] = {}
    checks: dict[str, list[float]] = {}
    for name, contestant in {name: Contestant(name, workload, where) for name in peers}.items():
        reason = contestant.first.get("missing")
        if reason is not None:
            if reason:
                console.print(f"  {name} is skipped: {reason}", style="yellow", markup=False)
            contestant.close()
            continue
        answer = contestant.ask("check")
        if isinstance(answer, dict):
            console.print(f"  {name} is skipped: {answer['missing']}", style="yellow")
            contestant.close()
            continue
        contestants[name], checks[name] = contestant, answer
    expected = np.array(checks[references[-1]])
    for name, values in checks.items():
        if workload.compared and contestants[name].first["compared"]:
            difference = float((np.abs(values - expected) / np.abs(expected)).max())
            if not difference < SAME:
                raise SystemExit(
                    f"error: {name} computes something else on {workload.name}: {values} "
                    f"instead of {expected.tolist()}"
                )
    steps = {}
    seconds /= 4 if workload.company else 1  # some take a hundred times as long there
    for name, contestant in contestants.items():
        contestant.ask("time 20")
        step = contestant.ask("time 20", alone=True) / 20
        steps[name] = max(1, round(seconds / step))
        contestant.ask(f"time {steps[name]}")  # JAX compiles for this number of steps
    times: dict[str, list[float]] = {name: [] for name in contestants}
    alone: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            time.sleep(0.3)  # the last one's threads spin for a while when they are done
            times[name].append(contestants[name].time(steps[name]))
            if workload.company:
                time.sleep(0.3)
                alone[name].append(contestants[name].time(steps[name], alone=True))
    reference = next(name for name in references if name in times)
    records = []
    for name, values in times.items():
        ratios = np.array(values) / np.array(times[reference])
        interval = stats.quantile_test(ratios, p=0.5).confidence_interval()
        quartiles = np.quantile(values, (0.25, 0.5, 0.75))
        records.append(
            {
                "workload": workload.name,
                "title": workload.title,
                "peer": name,
                "reference": reference,
                "ratio": float(np.median(ratios)),
                "low": float(np.nanmax([interval.low, ratios.min()])),
                "high": float(np.nanmin([interval.high, ratios.max()])),
                "seconds": float(quartiles[1]),
                "quartiles": [float(quartiles[0]), float(quartiles[2])],
                "rounds": rounds,
                "steps_per_round": steps[name],
                "peak_memory_mb": round(contestants[name].ask("memory")),
                "computes_with": contestants[name].first["computes_with"],
            }
        )
        if workload.company:
            company = np.median(np.array(values) / np.array(alone[name]))
            records[-1] |= {"company": workload.company, "times_alone": float(company)}
        contestants[name].close()
    return records


def show(records: list[dict[str, Any]], console: Console) -> None:
    """Print the table of one workload."""
    table = Table(title=f"{records[0]['title']} ({records[0]['workload']})", title_justify="left")
    company = ["× alone"] if "times_alone" in records[0] else []
    numbers = ["µs per step", "quartiles", "peer / nkd", "interval", "peak MB", *company]
    for column in ("", *numbers, "computes with"):
        table.add_column(column, justify="right" if column in numbers else "left")
    for record in records:
        low, high = (f"{1e6 * value:,.1f}" for value in record["quartiles"])
        table.add_row(
            record["peer"],
            f"{1e6 * record['seconds']:,.1f}",
            f"{low} – {high}",
            f"{record['ratio']:.2f}",
            f"{record['low']:.2f} – {record['high']:.2f}",
            f"{record['peak_memory_mb']:,}",
            *(f"{record['times_alone']:.2f}" for _ in company),
            record["computes_with"],
        )
    console.print(table)


def chart(records: list[dict[str, Any]], path: Path) -> None:
    """Draw a bar per peer and workload: its time as a multiple of nkd's, on a logarithmic axis."""
    from matplotlib.figure import Figure

    workloads = list(dict.fromkeys(record["workload"] for record in records))
    columns = 1 if len(workloads) < 6 else 2
    lines = -(-len(workloads) // columns)
    figure = Figure(figsize=(6 + 5 * columns, 1.5 + 1.4 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False).T.reshape(-1)
    for axes in panels[len(workloads) :]:
        axes.axis("off")
    panels[len(workloads) - 1].tick_params(labelbottom=True)
    for axes, name in zip(panels, workloads, strict=False):
        rows = [record for record in records if record["workload"] == name][::-1]
        ratios = np.array([record["ratio"] for record in rows])
        errors = [
            ratios - [record["low"] for record in rows],
            [record["high"] for record in rows] - ratios,
        ]
        colours = ["#0072B2" if "nkd" in record["peer"] else "#999999" for record in rows]
        axes.barh([record["peer"] for record in rows], ratios, xerr=np.abs(errors), color=colours)
        axes.axvline(1, color="black", lw=0.8)
        axes.set_xscale("log")
        axes.set_title(rows[0]["title"], fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        for place, row in enumerate(rows):
            end = max(row["high"], 1)
            axes.annotate(f" {row['ratio']:.2f}", (end, place), va="center", fontsize=8)
    figure.supxlabel("time relative to the best CPU backend of nkd (above 1: nkd is faster)")
    figure.savefig(path, dpi=110)


def machine() -> dict[str, Any]:
    """Where and with what the times were measured."""
    versions = {"python": platform.python_version()}
    for package in (
        "nkd",
        "numpy",
        "numba",
        "cupy-cuda12x",
        "cupy-cuda13x",
        "torch",
        "jax",
        "scikit-learn",
    ):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    blas = [each for each in map(products_of, ("numpy", "scipy")) if each]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "blas": [f"{x.library} {x.version} ({x.kernels})" for x in blas],
        "blas_threads": [x.threads for x in blas],
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def main() -> None:
    """Parse the flags, race, show and write."""
    workloads = {workload.name: workload for workload in CPU}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=workloads, default=list(workloads))
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--anyway", action="store_true", help="measure while others compute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write the bar chart there")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    where = machine()
    console.print(where)
    chosen = [workloads[name] for name in arguments.only]
    seconds, rounds = (0.15, 7) if arguments.quick else (0.4, 11)
    records = []
    for workload in chosen:
        if not arguments.anyway:
            wait_for_quiet()
        records += race(workload, seconds, rounds, console)
        show([record for record in records if record["workload"] == workload.name], console)
    for record in records:
        record.update(where)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(records, indent=1) + "\n")
    if arguments.chart:
        chart(records, arguments.chart)


if __name__ == "__main__":
    main()
