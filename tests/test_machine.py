"""The library of products is named, and who could compute faster is told how."""

import os
import subprocess
import sys

import pytest

import nkd
from nkd.machine import VECTORS, Products, products_of, vector_bits


def test_each_backend_on_the_cpu_names_its_library():
    for name, package in (("numpy", "numpy"), ("numba", "scipy")):
        try:
            backend = nkd.choose(name)
        except nkd.UserError as reason:
            pytest.skip(str(reason))
        products = backend.products()
        assert products == products_of(package)
        if products is not None:
            assert str(products) in str(backend)


@pytest.mark.parametrize("processor", VECTORS)
@pytest.mark.parametrize("pinned", ["", "Haswell"])
def test_only_kernels_with_shorter_vectors_are_advised_against(processor, pinned, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", pinned)
    for bits, names in VECTORS.items():
        for name in names:
            advice = Products("openblas", "0.3.30", name, 2).advice(processor)
            assert (advice is not None) == (bits < processor)
            if advice:
                assert f"{bits} bits" in advice and f"has {processor}" in advice
                remedy = "unset OPENBLAS_CORETYPE, which is Haswell"
                remedy = remedy if pinned else f"set OPENBLAS_CORETYPE={VECTORS[processor][0]}"
                assert advice.endswith(remedy)
    assert Products("openblas", "1", "a new one", 2).advice(processor) is None
    assert Products("mkl", "2025", "", 2).advice(processor) is None


def test_a_run_on_pinned_kernels_says_so_in_one_line(tmp_path):
    products = products_of("numpy")
    if products is None or products.library != "openblas" or vector_bits() < 256:
        pytest.skip("needs OpenBLAS and a processor with AVX2")
    command = [sys.executable, "run_regression.py", "--dataset", "friedman", "--epochs", "1"]
    command += ["--seeds", "1", "--backend", "numpy", "--out", str(tmp_path / "out")]
    said = {}
    for pinned in ("Nehalem", VECTORS[vector_bits()][0]):
        environment = os.environ | {"OPENBLAS_CORETYPE": pinned}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        said[pinned] = done.stdout.splitlines()
        (first,) = (line for line in said[pinned] if "computing with numpy" in line)
        assert f"{pinned} kernels" in first
    advised = [line for line in said["Nehalem"] if "unset OPENBLAS_CORETYPE" in line]
    assert len(advised) == 1
    assert not any("OPENBLAS_CORETYPE" in line for line in said[VECTORS[vector_bits()][0]])
