"""Trainings that are dropped leave nothing; `python -m benchmarks.soak` makes a thousand."""

import gc
import tracemalloc
import weakref

import pytest

import nkd
from benchmarks.soak import BACKENDS, KINDS, soak

BYTES = 16_384
"""By which what Python and NumPy have allocated may differ: caches, and what is counted."""


@pytest.fixture(params=BACKENDS)
def name(request):
    try:
        nkd.choose(request.param)
    except nkd.UserError as reason:
        pytest.skip(str(reason))
    return request.param


def test_memory_threads_and_files_stay_where_they_are(name):
    soak(name, 20)  # what is made once
    tracemalloc.start()
    try:
        soak(name, 20)
        before = tracemalloc.get_traced_memory()[0]
        first, last = soak(name, 40, every=20)
        assert tracemalloc.get_traced_memory()[0] - before < BYTES
    finally:
        tracemalloc.stop()
    for what in ("threads", "open files"):
        assert last[what] == first[what]


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_gone_as_soon_as_nobody_has_it(name, kind, monkeypatch, tmp_path):
    made, init = [], nkd.Training.__init__

    def recorded(self, *arguments, **options):
        made.append(weakref.ref(self))
        init(self, *arguments, **options)

    monkeypatch.setattr(nkd.Training, "__init__", recorded)
    gc.disable()  # its memory is not to wait for the collector, which counts objects, not bytes
    try:
        kind(0, nkd.choose(name), tmp_path)
        assert made and not any(reference() for reference in made)
    finally:
        gc.enable()
