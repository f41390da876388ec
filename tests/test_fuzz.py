"""What nkd reads, damaged: read or refused in one line, in memory that the file's size bounds.

`python -m benchmarks.fuzz` does the same with a million inputs. FINDS once failed, and most BOMBS.
"""

import gzip
import json
import struct
import tracemalloc

import numpy as np
import pandas
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors.numpy import save

import nkd
from benchmarks.fuzz import READERS, Seed, feed, reader_of, table, zipped
from nkd import own_table
from nkd.hinton2015.experiments import Experiments
from nkd.report.files import Folder

EXAMPLES = {"csv": 15, "tsv": 10, "csv.gz": 15, "parquet": 30}
"""Readers that take milliseconds; the others get 100 examples."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where inputs are written; within it memory is counted."""
    tracemalloc.start()
    yield tmp_path_factory.mktemp("fuzz")
    tracemalloc.stop()


@pytest.mark.parametrize("name", READERS)
def test_a_valid_file_is_read_and_a_damaged_one_is_read_or_refused_in_little_memory(name, folder):
    reader = reader_of(name)
    valid = {seed.wrap(seed.content) for seed in reader.seeds}
    for content in valid:
        (folder / reader.name).write_bytes(content)
        reader.read(folder / reader.name)

    @settings(max_examples=EXAMPLES.get(name, 100))
    @given(st.randoms(use_true_random=False))
    def every_input(draw):
        feed(reader, reader.input(draw), folder)

    every_input()


# What was found.


def weights(tensors=None, **metadata):
    """A file of weights that says this."""
    tensors = tensors or {"dense1.W": np.ones((2, 2)), "dense1.b": np.ones(2)}
    return save(tensors, {"sizes": "[2, 2]", "task": "classification", **metadata})


def tensor(kind, shape, content=b""):
    """A safetensors file with one tensor of that type and shape."""
    described = {"dtype": kind, "shape": shape, "data_offsets": [0, len(content)]}
    header = json.dumps({"__metadata__": {}, "dense1.W": described}).encode()
    return len(header).to_bytes(8, "little") + header + content


def encoding(**changed):
    """An encoding with one input, of which something else is said."""
    one = {"name": "a", "column": "age", "median": 1.0} | changed
    return json.dumps({"inputs": [one], "left_out": {}}).encode()


def forged(change):
    """A checkpoint with another definition, and the digest of that."""
    seed: Seed = reader_of("checkpoint").seeds[-1]
    described = json.loads(seed.content)
    change(described)
    return seed.wrap(json.dumps(described).encode())


def rows(line, count=30, header="a,y"):
    """A table of so many lines, with their number in the place of #."""
    return "\n".join([header, *(line.replace("#", str(n)) for n in range(count)), ""]).encode()


def in_parquet(*columns, metadata=None):
    """A table of Arrow in a Parquet file."""
    made = pyarrow.table(list(columns), names=list("ay"[-len(columns) :]), metadata=metadata)
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(made, sink)
    return sink.getvalue().to_pybytes()


def no_text():
    """A column of Arrow that should hold text in UTF-8, and does not."""
    offsets = np.arange(31, dtype=np.int32).tobytes()
    return pyarrow.StringArray.from_buffers(
        30, pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"\xff" * 30)
    )


DEEP, LARGE, HALF = "[" * 3000, "9" * 400, '"\\ud800"'
OF_PANDAS = {
    "index_columns": [], "column_indexes": [],
    "columns": [
        {"name": "y", "field_name": "y", "pandas_type": "?", "numpy_type": "ynt64", "metadata": {}}
    ],
}  # fmt: skip

FINDS = {
    "nothing, in a shape that has no room": (
        "idx",
        lambda: zipped(struct.pack(">HBB3I", 0, 8, 3, 0, 2**32 - 1, 2**32 - 1)),
    ),
    "deep JSON in metadata": ("weights", lambda: weights(bound=DEEP)),
    "a scale beyond float64": ("weights", lambda: weights(scale=LARGE)),
    "a bound beyond float64": ("weights", lambda: weights(bound=LARGE)),
    "a text repeated 2^62 times": (
        "weights",
        lambda: weights(image_shape='["x", 4611686018427387904]'),
    ),
    "images with one axis": ("weights", lambda: weights(image_shape="[2]")),
    "half of a character": ("weights", lambda: weights(classes=f'[{HALF}, "a"]')),
    "sizes in two lines": ("weights", lambda: weights(sizes="[2,\n 2]")),
    "a shape that has no room": ("weights", lambda: tensor("F32", [0, 2**62])),
    "a shape with too many axes": ("weights", lambda: tensor("F32", [1] * 70, bytes(4))),
    "complex weights": (
        "weights",
        lambda: weights({"dense1.W": np.ones((2, 2), "c8"), "dense1.b": np.ones(2, "c8")}),
    ),
    "weights beyond float32": (
        "weights",
        lambda: weights({"dense1.W": np.full((2, 2), 1e300), "dense1.b": np.ones(2)}),
    ),
    "weights that signal": (
        "weights",
        lambda: weights(
            {"dense1.W": np.full((2, 2), 0x7FF0000000000001).view("f8"), "dense1.b": np.ones(2)}
        ),
    ),
    "deep JSON": ("encoding", lambda: DEEP.encode()),
    "a median beyond float64": ("encoding", lambda: encoding(median=10**400)),
    "a median that is no number": ("encoding", lambda: encoding(median=float("nan"))),
    "a name that is no text": ("encoding", lambda: encoding(name=1)),
    "a category that is no text": ("encoding", lambda: encoding(one_of=[["a"]])),
    "no inputs": ("encoding", lambda: b'{"inputs": [], "left_out": {}}'),
    "deep configuration": ("configuration", lambda: DEEP.encode()),
    "numbers beyond float64": ("csv", lambda: rows(f"#,{LARGE}1")),
    "a class in two lines": ("csv", lambda: rows('#,"one\ntwo"')),
    "a text that is none": ("parquet", lambda: in_parquet(no_text(), pyarrow.array([0, 1] * 15))),
    "a type that there is not": (
        "parquet",
        lambda: in_parquet(pyarrow.array([0, 1] * 15), metadata={"pandas": json.dumps(OF_PANDAS)}),
    ),
    "a definition that is none": (
        "checkpoint",
        lambda: forged(lambda described: described.update(definition=1)),
    ),
    "parameters of a run that are none": (
        "checkpoint",
        lambda: forged(lambda described: described["definition"]["runs"][1].update(parameters=[])),
    ),
}

BOMBS = {
    "few bytes that unpack to many": (
        "idx",
        lambda: zipped(struct.pack(">HBBI", 0, 8, 1, 7) + bytes(2**26)),
    ),
    "a header that is not there": ("weights", lambda: (2**60).to_bytes(8, "little") + b"{}"),
    "a class of a long text": ("csv", lambda: rows("#,b", 3000) + b"a," + b"x" * 100_000),
    "more columns than memory": ("csv", lambda: b"," * 200_000),
    "a table that unpacks to much": ("csv.gz", lambda: zipped(b"a,y\n" + b"1,2\n" * 2**22)),
    "many rows in few bytes": (
        "parquet",
        lambda: in_parquet(pyarrow.nulls(2**24, pyarrow.int8())),
    ),
    "a layer that is not there": (
        "checkpoint",
        lambda: forged(lambda described: described["definition"].update(sizes=[2, 2**20, 3])),
    ),
}
"""Little files that would take much."""


@pytest.mark.parametrize(("name", "content"), FINDS.values(), ids=FINDS)
def test_what_once_failed_is_refused_in_one_line(name, content, folder):
    assert not feed(reader_of(name), content(), folder).was_read


@pytest.mark.parametrize(("name", "content"), BOMBS.values(), ids=BOMBS)
def test_a_little_file_takes_little_memory(name, content, folder):
    outcome = feed(reader_of(name), content(), folder)
    assert not outcome.was_read and outcome.peak < 2**25


def test_a_column_may_be_named_by_a_byte_that_numpy_drops(folder):
    assert feed(reader_of("csv"), rows("#,#,0\n#,#,1", header="\x00,b,y"), folder).was_read


def test_a_table_that_unpacks_to_a_hundred_times_its_size_is_read_when_it_is_unpacked(tmp_path):
    text = b"a,y\n" + b"1,2\n" * 2**20
    (tmp_path / "table.csv").write_bytes(text)
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(text))
    with pytest.raises(nkd.UserError, match="gunzip"):
        own_table.read(tmp_path / "table.csv.gz")
    assert len(own_table.read(tmp_path / "table.csv")) == 2**20


def test_a_folder_of_parquet_files_is_a_table(tmp_path):
    (tmp_path / "table.parquet").mkdir()
    for number in range(2):
        table().to_parquet(tmp_path / "table.parquet" / f"{number}.parquet")
    frame = own_table.read(tmp_path / "table.parquet")
    expected = pandas.concat([table(), table()], ignore_index=True)
    pandas.testing.assert_frame_equal(frame, expected)


def test_damaged_json_of_a_run_is_refused_by_name(tmp_path):
    experiments = object.__new__(Experiments)
    experiments.folder = Folder(tmp_path)
    for text in ("{", DEEP):
        (tmp_path / "alone-seed0.json").write_text(text)
        with pytest.raises(nkd.UserError, match=r"alone-seed0\.json"):
            experiments.kept("alone", 0)
