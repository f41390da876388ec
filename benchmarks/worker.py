"""One contestant in a process of its own: reads commands, answers with a line of JSON each.

Separate processes keep the libraries' thread pools apart. Only one works at a time, except where
two runs at once are timed.
"""

import json
import resource
import sys
import time
import warnings

from benchmarks.peers import GPU_PEERS, PEERS
from benchmarks.workloads import CPU, GPU


def serve(peer_name: str, workload_name: str, where: str) -> None:
    """Answer "check", "time STEPS" and "memory" until the input ends."""
    warnings.filterwarnings("ignore")
    kind = (GPU_PEERS if where == "gpu" else PEERS)[peer_name]
    workload = {each.name: each for each in (*CPU, *GPU)}[workload_name]
    try:
        supported = kind.supports(workload)
    except Exception as error:  # noqa: BLE001 - a missing library is reported, not raised
        print(json.dumps({"missing": f"{type(error).__name__}: {error}"}), flush=True)
        return
    if not supported:
        print(json.dumps({"missing": ""}), flush=True)
        return
    contestant = kind(workload)
    first = {"compared": contestant.compared, "computes_with": contestant.computes_with()}
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "check":
            answer = contestant.check()
        elif command == "time":
            start = time.perf_counter()
            contestant.run(int(numbers[0]))
            answer = time.perf_counter() - start
        else:
            answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
