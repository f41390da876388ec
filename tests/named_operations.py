"""The named operations, and random arguments for them: what each backend's forms are held to."""

import numpy as np

from nkd import layers, losses, optimizers, weighted_regression

PLAIN = {
    operation.__name__: operation
    for operation in (
        layers.dense_forward,
        layers.dense_backward,
        layers.limit_norms,
        losses.distillation_loss,
        losses.squared_error_loss,
        weighted_regression.weighted_squared_error_loss,
        optimizers.adam_update,
    )
}
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-13}


def arguments(name, dtype, R, B, C, generator):
    """Random arguments of one operation, after xp, as the engine gives them."""

    def normal(*shape):
        return generator.normal(size=shape).astype(dtype)

    def of_flat(*shape):  # as the layers' parameters: a part of each network's row
        flat = normal(R, np.prod(shape) + 16)[:, : np.prod(shape)]
        return flat.reshape(A, S, *shape)

    A = int(generator.choice([n for n in (1, 2, 3) if R % n == 0]))  # networks that share inputs
    S, I, relu = R // A, int(generator.integers(1, 300)), bool(generator.integers(2))
    x, W, bias, h = normal(S, B, I), of_flat(I, C), of_flat(1, C), normal(A, S, B, C)
    dx = normal(A, S, B, I) if A == 1 and generator.integers(2) else None

    z, column = normal(R, B, C), normal(R, B, 1)
    alpha, T = generator.uniform(0, 1, (R, 1, 1)), generator.uniform(0.5, 20, (R, 1, 1))
    blended = ((1 - alpha + alpha * T) * generator.dirichlet(np.ones(C), (R, B))).astype(dtype)
    w, v, rate = normal(R, C), normal(R, C) ** 2, generator.uniform(0.05, 0.2, (R, 1))
    return {
        "limit_norms": (of_flat(I, C), 0.9 * I**0.5, normal(A, S, 1, C)),
        "dense_forward": (h, x, W, bias, relu),
        "dense_backward": (
            dx, of_flat(I, C), of_flat(1, C), normal(A, S, B, C), x, h, W, relu,
            (np.empty(h.shape, bool), np.ones((1, B), dtype)),
        ),
        "distillation_loss": (
            normal(R), normal(R, B, C), 3 * z, blended, alpha.astype(dtype),
            T.astype(dtype), (normal(R, B, C), normal(R, B, C), column, column.copy()),
        ),
        "weighted_squared_error_loss": (
            normal(R), normal(R, B, C), z,
            np.concatenate([normal(R, B, C), normal(R, B, 2) ** 2], axis=-1),
            alpha.astype(dtype), (normal(R, B, C), column, column.copy()),
        ),
        "squared_error_loss": (normal(R), normal(R, B, C), z, normal(R, B, C)),
        "adam_update": (
            w, normal(R, C), v, normal(R, C), 0.9, 0.999, rate.astype(dtype), 1e-3,
            np.empty_like(w),
        ),
    }[name]  # fmt: skip


# What an operation may leave as it likes: buffers for intermediate results.
SCRATCH = {"work", "g"}
