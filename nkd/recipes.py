"""Recipes: how each network of the two experiments is trained. Data, and nothing else.

A big network and a small one need different training. `tuned` was chosen on a validation split, the
Person's part first: docs/defaults.md. `plain` trains all networks alike, as a comparison.
"""

from dataclasses import dataclass, replace

from nkd.training import Settings


@dataclass(frozen=True)
class Recipe:
    """How Teacher, Student and Person are trained, and what the Student makes of the Teacher.

    Args:
        teacher: the Teachers' settings.
        student: the Students' and Persons'.
        alpha, temperature: the Student's, see `nkd.distillation.Run`.
        feature_bound: see `nkd.data.Dataset`.
    """

    teacher: Settings
    student: Settings
    alpha: float
    temperature: float = 1.0
    feature_bound: float | None = None


SMALL_CLASSIFIER = Settings(epochs=20, batch_size=128, learning_rate=4e-3)
SMALL_REGRESSOR = Settings(epochs=100, batch_size=64, learning_rate=1e-2)

CLASSIFICATION = {
    "tuned": Recipe(
        teacher=Settings(epochs=20, batch_size=128, learning_rate=1e-3, jitter=2),
        student=SMALL_CLASSIFIER,
        alpha=0.7,
        temperature=4.0,
    ),
    "plain": Recipe(SMALL_CLASSIFIER, SMALL_CLASSIFIER, alpha=0.3, temperature=2.0),
}
"""For MNIST."""

REGRESSION = {
    "tuned": Recipe(
        teacher=Settings(
            epochs=100, batch_size=128, learning_rate=3e-3, schedule="constant", average=70
        ),
        student=SMALL_REGRESSOR,
        alpha=0.6,
        feature_bound=5.0,
    ),
    "plain": Recipe(SMALL_REGRESSOR, SMALL_REGRESSOR, alpha=0.4),
}
"""For California Housing."""

SMALL_TABLE = Settings(epochs=60, batch_size=64, learning_rate=1e-2, report_every=0)
LARGE_TABLE = replace(SMALL_TABLE, epochs=30, learning_rate=3e-3)

TABLES = {
    "classification": {
        "tuned": Recipe(LARGE_TABLE, SMALL_TABLE, alpha=0.7, temperature=4.0, feature_bound=5.0),
        "plain": Recipe(SMALL_TABLE, SMALL_TABLE, alpha=0.7, temperature=4.0),
    },
    "regression": {
        "tuned": Recipe(LARGE_TABLE, SMALL_TABLE, alpha=0.5, feature_bound=5.0),
        "plain": Recipe(SMALL_TABLE, SMALL_TABLE, alpha=0.5),
    },
}
"""For any table, by task: see `nkd.estimators` and docs/own-models.md."""
