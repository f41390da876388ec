"""Chapter 7: a step of Adam."""

import numpy as np


def adam_step(w, g, m, v, t, rate):
    """Two running means, both corrected for their start at 0, and the step."""
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - rate * m_hat / (np.sqrt(v_hat) + epsilon), m, v
