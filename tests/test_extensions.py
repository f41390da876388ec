"""What is added from outside, a loss, a layer, an optimiser, is found and never skipped."""

import numpy as np
import pytest
from conftest import assert_same_tensors, classification_data, teacher_outputs
from test_memory import ROWS, measured
from test_strict_arrays import StrictBackend

from nkd import MLP, Classification, Run, Settings, Training, training
from nkd.arms import cells
from nkd.backend import NUMPY
from nkd.claims.decoupled import DecoupledLoss
from nkd.distillation import arms_of, pairs
from nkd.layers import Dense
from nkd.losses import DistillationLoss
from nkd.memory import bytes_of_training
from nkd.optimizers import OPTIMIZERS, Adam
from nkd.tables import Table
from nkd.training import Step

PROBLEM, SIZES = Classification(classification_data()), (6, 8, 5, 4)
SETTINGS = Settings(epochs=2, batch_size=5, learning_rate=0.03)
TEACHER = teacher_outputs()


@pytest.fixture
def decoupled(monkeypatch):
    """The one place: the problem's list of losses."""
    monkeypatch.setattr(Classification, "losses", [*Classification.losses, DecoupledLoss])


def train(runs, backend=NUMPY, **options):
    options |= {"dtype": np.float64, "backend": backend}
    return Training(PROBLEM, SIZES, runs, SETTINGS, **options).run()


def student(loss="blend", seed=1, **parameters):
    return Run(seed, 0.7, 3.0, TEACHER, loss, parameters)


def test_an_added_loss_trains_beside_others_and_each_run_is_that_run_alone(backend, decoupled):
    runs = [
        student("decoupled"),
        student("decoupled", others=8.0),
        student(),
        Run(1),
        Run(2),
        student("decoupled", seed=2),
    ]
    alone = [train([run]) for run in runs]
    for each in (backend, StrictBackend()):
        together = train(runs, each)
        for replica, single in enumerate(alone):
            tensors = together.network.tensors(replica), single.network.tensors()
            assert_same_tensors(*tensors, 1e-10)
            objective = together.history[-1].objective[replica]
            assert objective == pytest.approx(single.history[-1].objective[0])
    one, eight, plain, *_ = (together.network.tensors(replica) for replica in range(6))
    assert_same_tensors(one, plain, 1e-9)  # others = 1: a theorem
    assert abs(eight["dense1.W"] - one["dense1.W"]).max() > 1e-3


def test_each_value_of_a_parameter_of_its_own_is_an_arm(decoupled):
    runs = [
        student("decoupled", others=others, seed=seed) for others in (1.0, 8.0) for seed in (1, 2)
    ]
    first, arm_of_run, sharing = arms_of(runs)
    assert (first, arm_of_run, sharing) == ([0, 2], [0, 0, 1, 1], 2)
    arms = cells(
        {"others": [1.0, 8.0], "loss": ["decoupled"]}, pairs((1, 2), 0.7, TEACHER, 3.0)[:2]
    )
    assert [arm.name for arm in arms] == ["others 1, loss decoupled", "others 8, loss decoupled"]
    assert [run.arm for arm in arms for run in arm.runs] == [run.arm for run in runs]


class Again(DistillationLoss):
    """The same under another name, so a list with both has two classes of losses."""

    names = ("again",)


@pytest.mark.parametrize(
    ("losses", "batch_size"),
    [(("decoupled", "decoupled"), 64), (("decoupled", "blend"), 64), (("again", "blend"), 2000)],
)
def test_its_memory_is_predicted(monkeypatch, losses, batch_size):
    monkeypatch.setattr(Classification, "losses", [DistillationLoss, DecoupledLoss, Again])
    problem = Classification(classification_data(ROWS, 60, 8))
    targets = teacher_outputs(ROWS, 8)
    runs = [Run(seed, 0.7, 3.0, targets, loss) for loss in losses for seed in range(2)]
    settings = Settings(epochs=1, batch_size=batch_size, learning_rate=0.001)
    predicted = bytes_of_training(problem, (60, 40, 8), runs, settings)
    taken = measured(problem, (60, 40, 8), runs, settings, np.float32)
    assert 0.98 * taken <= predicted <= 1.03 * taken


# What has no compiled form takes the plain way, on every backend, and computes what it says.


class Doubled(Dense):
    """Its output is twice that of its weights."""

    def forward(self, x):
        super().forward(x)
        self.h *= 2
        return self.output

    def backward(self, dh):
        dh *= 2
        return super().backward(dh)


class Shifted(MLP):
    """All its outputs are shifted."""

    def forward(self, x, training=False):
        return super().forward(x, training) + self.backend.xp.arange(self.sizes[-1])


class Clipped(Adam):
    """Gradients are clipped first."""

    def update(self, learning_rate):
        self.xp.clip(self.g, -1e-3, 1e-3, out=self.g)
        super().update(learning_rate)


class Brighter(Table):
    """Batches are brighter than what is stored."""

    def gather(self, rows):
        batch = super().gather(rows)
        batch += 1
        return batch


class Biased(DistillationLoss):
    """The first class counts three times in the gradient."""

    def compute(self, z, t):
        super().compute(z, t)
        self.dz[..., 0] *= 3


PARTS = {
    "a layer": lambda patch: {"layer": Doubled},
    "an optimiser": lambda patch: patch.setitem(OPTIMIZERS, "adam", Clipped),
    "a table": lambda patch: patch.setattr(training, "Table", Brighter),
    "a loss": lambda patch: patch.setattr(Classification, "losses", [Biased]),
    "a network": lambda patch: patch.setattr(training, "MLP", Shifted),
}


@pytest.mark.parametrize("part", PARTS)
def test_what_declares_no_compiled_form_takes_the_plain_way(backend, monkeypatch, part):
    usual = train([student(), Run(1)], backend)
    assert (type(usual.step) is Step) == (backend.step is None)
    options = PARTS[part](monkeypatch) or {}
    plain, other = (train([student(), Run(1)], each, **options) for each in (NUMPY, backend))
    assert type(other.step) is Step
    for replica in range(2):
        tensors = [each.network.tensors(replica) for each in (other, plain, usual)]
        assert_same_tensors(*tensors[:2], 1e-9)
        assert abs(tensors[0]["dense1.W"] - tensors[2]["dense1.W"]).max() > 1e-6
    outputs = [each.outputs(each.test_inputs) for each in (other, plain)]
    np.testing.assert_allclose(*outputs, rtol=1e-7)
    measured = [each.history[-1].test["loss"] for each in (other, plain)]
    np.testing.assert_allclose(*measured, rtol=1e-7)
    alone = other.network.select([1])  # what is timed is this network, too
    x = other.test_inputs
    np.testing.assert_allclose(backend.to_numpy(alone.predict(x))[0], outputs[0][1], rtol=1e-7)


def test_an_operation_of_the_same_name_is_not_taken_for_the_packages_own(backend):
    def dense_forward(xp, h, x, W, b, relu):
        h[...] = 7

    h = backend.xp.zeros((1, 1, 2, 3))
    backend.operation(dense_forward)(h, None, None, None, False)
    assert (backend.to_numpy(h) == 7).all()
