"""Typical mistakes in the exercise of chapter 6, and a part of what the check says of each."""

import numpy as np


def forward(x, W, b, relu):
    z = x @ W + b
    return np.maximum(z, 0) if relu else z


def backward(dh, x, h, W, relu, mask=None):
    dz = dh * (h > 0 if mask is None else mask) if relu else dh
    return dz @ W.T, x.T @ dz, dz.sum(axis=0, keepdims=True)


def forward_without_relu(x, W, b, relu):
    return x @ W + b


def forward_with_transposed_weights(x, W, b, relu):
    return forward(x, W.T, b, relu)


def biases_after_relu(x, W, b, relu):
    return (np.maximum(x @ W, 0) if relu else x @ W) + b


def forward_in_place(x, W, b, relu):
    z = x @ W + b
    b += 1
    return np.maximum(z, 0) if relu else z


def masked_by_the_input(dh, x, h, W, relu):
    return backward(dh, x, h, W, relu, x > 0)


def masked_by_not_negative(dh, x, h, W, relu):
    return backward(dh, x, h, W, relu, h >= 0)


def without_a_mask(dh, x, h, W, relu):
    return backward(dh, x, h, W, False)


def with_the_mean(dh, x, h, W, relu):
    dx, dW, db = backward(dh, x, h, W, relu)
    return dx, dW, db / len(x)


def weights_with_the_mean(dh, x, h, W, relu):
    dx, dW, db = backward(dh, x, h, W, relu)
    return dx, dW / len(x), db


def flat_biases(dh, x, h, W, relu):
    dx, dW, db = backward(dh, x, h, W, relu)
    return dx, dW, db[0]


def not_transposed(dh, x, h, W, relu):
    _, dW, db = backward(dh, x, h, W, relu)
    return (dh * (h > 0) if relu else dh) @ W, dW, db


def in_place(dh, x, h, W, relu):
    if relu:
        dh *= h > 0
    return backward(dh, x, h, W, False)


def masked_in_part(dh, x, h, W, relu):
    dx, _, db = backward(dh, x, h, W, relu)
    return dx, x.T @ dh, db


def with_a_tolerance(dh, x, h, W, relu):
    return backward(dh, x, h, W, relu, h > 1e-9)


def for_whole_numbers(dh, x, h, W, relu):
    dx, dW, db = backward(dh, x, h, W, relu)
    return dx.astype(x.dtype), dW.astype(W.dtype), db


def with_the_output(dh, x, h, W, relu):
    dx, _, db = backward(dh, x, h, W, relu)
    return dx, h.T @ (dh * (h > 0) if relu else dh), db


def with_the_mask_of_the_layer_before(dh, x, h, W, relu):
    dx, dW, db = backward(dh, x, h, W, relu)
    return dx * (x > 0), dW, db


def in_another_order(dh, x, h, W, relu):
    dx, dW, db = backward(dh, x, h, W, relu)
    return dx, db, dW


def summed_over_units(dh, x, h, W, relu):
    dx, dW, _ = backward(dh, x, h, W, relu)
    return dx, dW, (dh * (h > 0) if relu else dh).sum(axis=1, keepdims=True)


def with_one_bias(x, W, b, relu):
    return forward(x, W, b[0, 0], relu)


def leaky(x, W, b, relu):
    z = x @ W + b
    return np.where(z > 0, z, 0.01 * z) if relu else z


MISTAKES = [
    ((with_one_bias, backward), "first unit's bias"),
    ((leaky, backward), "right where z is above 0"),
    ((forward, with_the_output), "dW, .* output h stands"),
    ((forward, with_the_mask_of_the_layer_before), "dx, .* layer before's own"),
    ((forward, in_another_order), "looks like db"),
    ((forward, summed_over_units), "a column"),
    ((forward_without_relu, backward), "`relu` is ignored"),
    ((forward_with_transposed_weights, backward), "W is transposed"),
    ((biases_after_relu, backward), "biases come after the ReLU"),
    ((forward_in_place, backward), "changes its argument b"),
    ((forward, masked_by_the_input), "sign of x"),
    ((forward, masked_by_not_negative), "never negative"),
    ((forward, without_a_mask), "ReLU is ignored"),
    ((forward, with_the_mean), "db, .* mean over rows"),
    ((forward, weights_with_the_mean), "dW, .* divided by 4"),
    ((forward, flat_biases), "keepdims"),
    ((forward, not_transposed), "dx, .* W should be transposed"),
    ((forward, in_place), "changes its argument dh"),
    ((forward, masked_in_part), "dW, .* ReLU is ignored"),
    ((forward, with_a_tolerance), "any number above 0"),
    ((forward, for_whole_numbers), "whole numbers"),
]
