"""Damaged files for all that nkd reads: each is read, or refused in one line, in bounded memory.

    python -m benchmarks.fuzz --inputs 1000000 --json docs/results/fuzz.json
    python -m benchmarks.fuzz --inputs 2000 --only weights --finds DIR

Small valid files are mutated: bits, bytes, numbers in headers and in text, values of JSON, parts
left out, repeated and mixed; on the outside of a file and inside its layers (what is gzipped, the
JSON of a header, the JSON in that JSON). What is read is used, too. A seed gives the same inputs
each time.

An input fails if it raises anything but a UserError of one line, if it warns, or if reading it
takes more memory, as Python, NumPy and Arrow count it, than a bound that its size gives.
tests/test_fuzz.py does the same with few inputs, and keeps what was found.
"""

import argparse
import ctypes
import gzip
import hashlib
import io
import json
import math
import random
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import tracemalloc
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from safetensors.numpy import save

import nkd
from benchmarks.__main__ import machine
from nkd import data
from nkd.files import unzipped
from nkd.model import OWN_KEYS
from nkd.own_table import MOST_UNPACKED, OwnTable, read
from nkd.report.files import Folder
from nkd.table_encoding import Encoding

NUMBERS = (0, 1, 2**7, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""What stands in the place of a number in a header."""

TEXTS = tuple(
    text.encode()
    for text in (
        "0", "-1", "-0.0", "0.5", "1e-320", "1e39", "1e999", "-1e999", "nan", "inf", "NaN",
        "Infinity", "2147483648", "9223372036854775808", "18446744073709551616", "9" * 400,
        "9" * 5000, "null", "true", "F64", "I64", "C64", "BOOL", "I8", "[]", "{}", '""', '"a"',
        "[1]", '{"a": 1}', "[" * 3000, '{"a":' * 3000, ",", ",,", "\n", "\r", "\r\n", '"', "'", "#",
        "\\", "\t", " ", "é", "\u2028", "\x00", "\ufeff", "\\ud800", "2024-01-01", "0x10", "1_000",
        "1j", "NA", "None", "True", "," * 300, "\n" * 300, "x" * 300,
    )
)  # fmt: skip
"""What stands in the place of a number or a mark in text."""


VALUES = (
    None, True, False, 0, 1, 2, -1, 0.5, -0.0, 1e-320, 1e39, math.inf, -math.inf, math.nan, 2**20,
    2**31, 2**63, 10**400, "", "a", "x" * 300, "1", "é", "\ud800", "\n", [], [1], [[]], {},
    {"a": 1},
)  # fmt: skip
"""What stands in the place of a value in JSON."""

LONGEST = 2**17
"""Bytes up to which a file grows by repetition."""


def mutated(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """The content with one to four changes."""
    for _ in range(draw.randint(1, 4)):
        content = CHANGES[draw.randrange(len(CHANGES))](content, draw, others)
    return content


def place(content: bytes, draw: random.Random) -> int:
    """A place in the content; the beginning, where headers are, in half of the cases."""
    return draw.randint(0, min(len(content), 40) if draw.randrange(2) else len(content))


def part(content: bytes, draw: random.Random) -> slice:
    """A part of the content, mostly a short one."""
    start = place(content, draw)
    length = draw.choice((1, 1, 2, 4, 8, 64, len(content)))
    return slice(start, min(start + length, len(content)))


def replaced(content: bytes, old: slice, new: bytes) -> bytes:
    """The content with another part in the place of that one."""
    return content[: old.start] + new + content[old.stop :]


def flip(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """One bit is another."""
    if not content:
        return content
    where = min(place(content, draw), len(content) - 1)
    return replaced(
        content, slice(where, where + 1), bytes([content[where] ^ 1 << draw.randrange(8)])
    )


def cut(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """The end is missing."""
    return content[: draw.randint(0, len(content))]


def leave_out(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """A part is missing."""
    return replaced(content, part(content, draw), b"")


def repeat(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """A part comes several times."""
    old, times = part(content, draw), draw.choice((2, 2, 3, 16, 100))
    times = min(times, 1 + LONGEST // max(1, len(content)))
    return replaced(content, old, content[old] * times)


def insert(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """Some bytes are put in between."""
    where = place(content, draw)
    return replaced(content, slice(where, where), draw.randbytes(draw.choice((1, 2, 4, 8, 16))))


def overwrite(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """Some bytes are others."""
    where, new = place(content, draw), draw.randbytes(draw.choice((1, 2, 4, 8, 16)))
    return replaced(content, slice(where, where + len(new)), new)


def number(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """A number of two, four or eight bytes is a large or a special one."""
    size, order = draw.choice((1, 2, 4, 8)), draw.choice(("big", "little"))
    new = (draw.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, order)
    where = place(content, draw)
    return replaced(content, slice(where, where + size), new)


def text(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """A word or a number in text is another one, or a mark is put in between."""
    start = stop = place(content, draw)
    while stop < len(content) and content[stop] in WORD:
        stop += 1
    while start and content[start - 1] in WORD:
        start -= 1
    return replaced(content, slice(start, stop), draw.choice(TEXTS))


def value(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """In JSON, one value is another one, is missing, or is there twice; else as `text`."""
    try:
        read = json.loads(content)
        places = list(places_in([read]))
        where, key = draw.choice(places)
        what = draw.randrange(8)
        if what == 0 and where is not places[0][0]:
            del where[key]
        elif what == 1 and isinstance(where, list):
            where.insert(key, where[key])
        else:
            where[key] = draw.choice(VALUES)
        return json.dumps(places[0][0][0], ensure_ascii=draw.randrange(2) == 0).encode()
    except (ValueError, RecursionError):
        return text(content, draw, others)


def places_in(values: Any) -> Iterator[tuple[Any, Any]]:
    """Where each value in some JSON stands: in what, and at which index or key."""
    for key in list(values) if isinstance(values, dict) else range(len(values)):
        yield values, key
        if isinstance(values[key], list | dict):
            yield from places_in(values[key])


def mix(content: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """A part is one of another file."""
    other = draw.choice(others)
    return replaced(content, part(content, draw), other[part(other, draw)])


WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._")
CHANGES = (flip, cut, leave_out, repeat, insert, overwrite, number, text, text, mix, value)


@dataclass(frozen=True)
class Seed:
    """A valid file, or a layer of one.

    Args:
        content: what is mutated.
        wrap: makes a file of it.
    """

    content: bytes
    wrap: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True)
class Reader:
    """Something that reads a file from outside.

    Args:
        name: of the file.
        read: reads the file at that path, and uses what it has read.
        seeds: valid files and their layers.
        share: of all inputs, in proportion; slow readers get fewer.
        bound: the bytes that reading a file may take at most.
    """

    name: str
    read: Callable[[Path], Any]
    seeds: tuple[Seed, ...]
    share: int
    bound: Callable[[bytes], int]

    def input(self, draw: random.Random) -> bytes:
        """A mutated file; with luck, a valid one."""
        contents = tuple(seed.content for seed in self.seeds)
        seed = self.seeds[draw.randrange(len(self.seeds))]
        content = seed.wrap(mutated(seed.content, draw, contents))
        return mutated(content, draw, contents) if draw.randrange(20) == 0 else content


@dataclass
class Outcome:
    """Whether an input was read, the most bytes that this took, and those allowed."""

    was_read: bool
    peak: int
    allowed: int


class TooMuch(AssertionError):
    """Reading took more memory than allowed."""


def feed(reader: Reader, content: bytes, folder: Path) -> Outcome:
    """Write an input into the folder and read it.

    Memory is counted if tracemalloc is on.

    Raises:
        TooMuch: it took more memory than its size allows.
        Exception: whatever the reader raised that is no UserError of one line.
    """
    path = folder / reader.name
    path.write_bytes(content)
    taken_by_arrow = arrow_count()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        reader.read(path)
        was_read = True
    except nkd.UserError as error:
        assert len(str(error).splitlines()) == 1, f"not one line: {error}"
        if isinstance(error.__context__, MemoryError):  # of which no count knows how much it was
            raise TooMuch(f"{error.__context__} for a file of {len(content):,}") from error
        was_read = False
    peak = tracemalloc.get_traced_memory()[1] - before + taken_by_arrow()
    allowed = reader.bound(content)
    if peak > allowed:
        raise TooMuch(f"{peak:,} bytes for a file of {len(content):,}; allowed are {allowed:,}")
    return Outcome(was_read, peak, allowed)


def arrow_count() -> Callable[[], int]:
    """A new count of the bytes that Arrow takes at most."""
    if "pandas" not in sys.modules:
        return int
    import pyarrow

    pool = pyarrow.proxy_memory_pool(pyarrow.system_memory_pool())
    # Whoever has memory of it may give that back at any time, so it stays for good.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(pool))
    pyarrow.set_memory_pool(pool)
    return pool.max_memory


def per_byte(factor: int, constant: int = 2**18) -> Callable[[bytes], int]:
    """So many bytes for each byte of a file, and some besides."""
    return lambda content: factor * len(content) + constant


def for_table(content: bytes) -> int:
    """So many bytes for each byte of a table, as text or unpacked, and for each column."""
    with suppress(EOFError, OSError, zlib.error):
        content = max(content, unzipped(content, MOST_UNPACKED * len(content) + 2**20), key=len)
    wide = re.findall(b"[^\r\n]{64,}", content)
    columns = max([64, *(max(line.count(b","), line.count(b"\t")) for line in wide)])
    return 400 * len(content) + 10_000 * columns + 2**21


# The readers, and valid files for each.


def zipped(content: bytes) -> bytes:
    """The content as a gzip file, which is the same each time."""
    return gzip.compress(content, 1, mtime=0)


def idx_seeds() -> tuple[Seed, ...]:
    """Images and labels: what is inside of the gzip file, and the gzip file."""
    images = struct.pack(">HBB3I", 0, 8, 3, 4, 5, 3) + bytes(range(60))
    labels = struct.pack(">HBBI", 0, 8, 1, 7) + bytes(range(7))
    inside = [Seed(content, zipped) for content in (images, labels)]
    return (*inside, Seed(zipped(images)), Seed(zipped(labels)))


HOUSING_ROWS = 12
DIGEST = b"0" * 64
"""What stands in the place of a digest while it is computed, as in `nkd.checkpoint`."""


def housing_text() -> bytes:
    """A small table of houses, as in cal_housing.data."""
    rows = np.random.default_rng(0).uniform(-130, 9000, (HOUSING_ROWS, 9)).round(4)
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()


def read_housing(path: Path) -> None:
    """The table of houses, as if it had the few rows and the numbers of the seed."""
    table = np.loadtxt(io.StringIO(housing_text().decode()), delimiter=",")
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    with mock.patch.multiple(data, CALIFORNIA_ROWS=HOUSING_ROWS, CALIFORNIA_SHA256=digest):
        data.load_regression("california", path.parent)


def models() -> list[nkd.Model]:
    """Networks with everything that a file of weights can say."""
    draw = np.random.default_rng(0)
    W1, W2, W3 = (draw.normal(size=shape).round(3) for shape in ((4, 3), (3, 2), (3, 1)))
    pixels = nkd.Model(
        [(W1, np.ones(3)), (W2, np.zeros(2))], "classification",
        scale=1 / 255, image_shape=(2, 2), facts={"network": "student", "seed": "0"},
    )  # fmt: skip
    named = nkd.Model(
        [(W2, np.ones(2))], "classification",
        mean=[1, 2, 3], deviation=[4, 5, 6], bound=2.5, classes=["é", "b"], features=list("xyz"),
    )  # fmt: skip
    return [pixels, named, nkd.Model([(W3, np.ones(1))], "regression", unit="m")]


def safetensors_seeds(content: bytes, texts: Container[str]) -> list[Seed]:
    """A safetensors file; its tensors; its header; these texts in its metadata.

    A digest of the file is made anew, as somebody would who means harm.
    """

    def file(header: bytes, tensors: bytes) -> bytes:
        whole = len(header).to_bytes(8, "little") + header + tensors
        return whole.replace(DIGEST, hashlib.sha256(whole).hexdigest().encode(), 1)

    def with_text(name: str, header: dict[str, Any], tensors: bytes, text: bytes) -> bytes:
        said = header["__metadata__"] | {name: text.decode(errors="replace")}
        changed = json.dumps(header | {"__metadata__": said}, ensure_ascii=False)
        return file(changed.encode(), tensors)

    end = 8 + int.from_bytes(content[:8], "little")
    read, tensors = json.loads(content[8:end]), content[end:]
    metadata = read["__metadata__"]
    header = content[8:end].replace(metadata.get("sha256", "no digest").encode(), DIGEST)
    metadata |= {"sha256": DIGEST.decode()} if "sha256" in metadata else {}
    return [
        Seed(content),
        Seed(tensors, partial(file, header)),
        *[Seed(header, partial(file, tensors=tensors))] * 4,
        *(
            Seed(said.encode(), partial(with_text, name, read, tensors))
            for name, said in metadata.items()
            if name in texts
        ),
    ]


def weights_seeds() -> tuple[Seed, ...]:
    """Files of weights, one with tensors of several types."""
    types = {"dense1.W": np.ones((2, 3)), "dense1.b": np.ones(3, np.int8)}
    others = save(types, {"sizes": "[2, 3]", "task": "regression"})
    contents = [others, *(model.to_bytes() for model in models())]
    return tuple(seed for content in contents for seed in safetensors_seeds(content, OWN_KEYS))


@cache
def problem() -> nkd.Classification:
    """What checkpoints are of."""
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    y = np.arange(12) % 3
    return nkd.Classification(nkd.Dataset("made-up", "", x, y, x[:4], y[:4]))


def checkpoint_seeds() -> tuple[Seed, ...]:
    """Trainings that were saved after the first epoch, and after the last."""
    settings = nkd.Settings(2, 8, 0.01, dropout=(0.2, 0.2), average=1)
    said = np.ones((12, 3), np.float32)
    training = nkd.Training(problem(), (2, 3, 3), nkd.pairs([0], 0.5, said, 2.0), settings)
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in training.epochs():
            training.save(Path(folder, "checkpoint"))
            content = Path(folder, "checkpoint").read_bytes()
            *rest, last = safetensors_seeds(content, ["description"])
            seeds += [*rest, *[last] * 6]
    return tuple(seeds)


def use_checkpoint(path: Path) -> None:
    """Load a training, and compute with it."""
    with np.errstate(all="ignore"):
        training = nkd.Training.load(path, problem())
        training.outputs(training.test_inputs)


def use_weights(path: Path) -> None:
    """Load a network, compute with it, and write it again."""
    model = nkd.load(path)
    if model.sizes[0] < 10_000:
        with np.errstate(all="ignore"):
            model.outputs(np.ones((2, model.sizes[0])))
    again = nkd.Model.from_bytes(model.to_bytes())
    assert again.metadata() == model.metadata()


def table() -> Any:
    """A table with each kind of column, as a data frame."""
    from pandas import DataFrame

    draw, rows = np.random.default_rng(0), 24
    frame = DataFrame(
        {
            "colour": draw.choice(["red", "green", "blä"], rows),
            "age": draw.normal(40, 10, rows).round(1),
            "visits": draw.integers(0, 50, rows),
            "member": draw.random(rows) < 0.5,
            "since": "2024-05-01",
            "y": np.arange(rows) % 2,
        }
    )
    frame.loc[3:6, "colour"] = None
    frame.loc[5:9, "age"] = None
    return frame


def use_table(path: Path) -> None:
    """Read a table, find what is to be learned, and make inputs of its columns."""
    frame = read(path)
    encoding = Encoding.fit(OwnTable.of(frame, "y").features)
    x = encoding.transform(frame)
    assert np.isfinite(x).all()
    assert Encoding.from_json(encoding.to_json()) == encoding


def text_seeds(separator: str) -> tuple[Seed, ...]:
    """Tables in text: all columns, and with a column that numbers the rows."""
    return tuple(
        Seed(frame.to_csv(sep=separator, index=index).encode())
        for frame, index in ((table(), False), (table()[["age", "y"]], True))
    )


def parquet_seeds() -> tuple[Seed, ...]:
    """Tables in Parquet, compressed in several ways."""
    return tuple(Seed(table().to_parquet(compression=how)) for how in (None, "snappy", "gzip"))


def use_encoding(path: Path) -> None:
    """Read an encoding, and make inputs of a table's columns."""
    encoding = Encoding.from_json(path.read_bytes().decode(errors="replace"))
    assert np.isfinite(encoding.transform(known())).all()
    assert Encoding.from_json(encoding.to_json()) == encoding


@cache
def known() -> Any:
    """The table that an encoding was made for."""
    return table()


CONFIGURED = {
    "plan": {"epochs": [1, 2], "map": {"30": 0.5}},
    "dataset": "mnist",
    "backend": "numpy",
}


def use_configuration(path: Path) -> None:
    """Read the configuration in a folder of results."""
    folder = Folder(path.parent)
    folder.configuration()
    folder.claim(CONFIGURED)


def compressed_seeds() -> tuple[Seed, ...]:
    """Tables in text: what is inside of the gzip file, and the gzip file."""
    inside = [Seed(seed.content, zipped) for seed in text_seeds(",")]
    return (*inside, *(Seed(zipped(seed.content)) for seed in inside))


READERS: dict[str, Callable[[], Reader]] = {
    "idx": lambda: Reader("labels.gz", data.read_idx, idx_seeds(), 300, per_byte(2100)),
    "housing": lambda: Reader(
        "cal_housing.data", read_housing, (Seed(housing_text()),), 150, per_byte(40)
    ),
    "weights": lambda: Reader(
        "student.safetensors", use_weights, weights_seeds(), 300, per_byte(40)
    ),
    "checkpoint": lambda: Reader(
        "checkpoint", use_checkpoint, checkpoint_seeds(), 100, per_byte(60, 2**20)
    ),
    "encoding": lambda: Reader(
        "encoding.json",
        use_encoding,
        (Seed(Encoding.fit(table()).to_json().encode()),),
        100,
        per_byte(40),
    ),
    "configuration": lambda: Reader(
        "configuration.json",
        use_configuration,
        (Seed(json.dumps(CONFIGURED).encode()),),
        50,
        per_byte(40),
    ),
    "csv": lambda: Reader("table.csv", use_table, text_seeds(","), 40, for_table),
    "tsv": lambda: Reader("table.tsv", use_table, text_seeds("\t"), 20, for_table),
    "csv.gz": lambda: Reader("table.csv.gz", use_table, compressed_seeds(), 20, for_table),
    # Arrow reserves what a page says of itself, which may be 2 GiB, before it looks at the page.
    "parquet": lambda: Reader(
        "table.parquet", use_table, parquet_seeds(), 20, per_byte(2000, 2**31)
    ),
}
"""All readers by name."""


@cache
def reader_of(name: str) -> Reader:
    """A reader, with its valid files."""
    return READERS[name]()


# The long run.

KEPT = 20
"""Failures of a reader that are kept as files."""
ADDRESSES = 2**33
"""Bytes of address space, so that what asks for more fails instead of being given it."""


def run(name: str, inputs: int, seed: int, finds: Path | None) -> dict[str, Any]:
    """Feed a reader that many inputs; what became of them."""
    reader, outcomes, failures = reader_of(name), Counter[str](), Counter[str]()
    start, slowest, largest, most, share = time.process_time(), 0.0, 0, 0.0, 0.0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        for seed_file in reader.seeds[:3]:  # what is imported or compiled once is not counted
            with suppress(nkd.UserError):
                Path(folder, reader.name).write_bytes(seed_file.wrap(seed_file.content))
                reader.read(Path(folder, reader.name))
        tracemalloc.start()
        for number in range(inputs):
            content = reader.input(random.Random(f"{seed} {name} {number}"))
            before = time.process_time()
            try:
                outcome = feed(reader, content, Path(folder))
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                outcomes["failed"] += 1
                place = traceback.extract_tb(error.__traceback__)[-1]
                failures[f"{type(error).__name__} in {Path(place.filename).name}"] += 1
                if finds and outcomes["failed"] <= KEPT:
                    finds.mkdir(parents=True, exist_ok=True)
                    (finds / f"{seed}-{number}-{reader.name}").write_bytes(content)
            else:
                outcomes["read" if outcome.was_read else "refused"] += 1
                largest = max(largest, outcome.peak)
                share = max(share, outcome.peak / outcome.allowed)
                if len(content) >= LONG:
                    most = max(most, outcome.peak / len(content))
            slowest = max(slowest, time.process_time() - before)
        tracemalloc.stop()
    return {
        "reader": name,
        "inputs": inputs,
        **{what: outcomes[what] for what in ("read", "refused", "failed")},
        "failures": dict(failures),
        "largest allocation, bytes": largest,
        f"largest allocation, times the size of a file of {LONG:,} bytes or more": round(most, 1),
        "largest share of the allowed": round(share, 3),
        "slowest input, seconds of the processor": round(slowest, 3),
        "seconds of the processor": round(time.process_time() - start, 1),
    }


MEMORY = Path("/dev/shm")
LONG = 4096
"""From this size on, what each reading takes besides the file weighs little."""


def main() -> None:
    """Feed all readers, print and write the record; the exit code is 1 if something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--inputs", type=int, default=10_000, help="of all readers together")
    parser.add_argument("--only", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finds", type=Path, metavar="DIR", help="keep the first failures there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    warnings.simplefilter("error")
    shares = {name: reader_of(name).share for name in arguments.only}
    records = []
    for name, share in shares.items():
        inputs = round(arguments.inputs * share / sum(shares.values()))
        records.append(run(name, inputs, arguments.seed, arguments.finds))
        print(records[-1], flush=True)
    where = machine()
    packages = ("pandas", "pyarrow", "safetensors")
    record = {
        "command": f"python -m benchmarks.fuzz --inputs {arguments.inputs} --seed {arguments.seed}",
        "date": where["date"],
        "cpu": where["cpu"],
        "versions": where["versions"] | {each: metadata.version(each) for each in packages},
        "inputs": sum(each["inputs"] for each in records),
        "failed": sum(each["failed"] for each in records),
        "seconds of the processor": round(
            sum(each["seconds of the processor"] for each in records), 1
        ),
        "shares": "readers that compute little get most inputs: " + str(shares),
        "readers": records,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(1 if record["failed"] else 0)


if __name__ == "__main__":
    main()
