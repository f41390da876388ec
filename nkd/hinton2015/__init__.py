"""Hinton, Vinyals and Dean 2015 (arXiv:1503.02531), section 3, "Preliminary experiments on MNIST".

`biases` sets the bias of classes that were never seen, `experiments` trains, `scoreboard` compares
the paper's figures with what was measured, `command` is `python -m nkd hinton2015`. What the paper
leaves open, and how it was chosen: docs/hinton2015.md.
"""
