"""Checkpoints: a training as one file, which another process continues to the same bits.

It is a safetensors file. Its tensors are the *state*: parameters, the optimiser's sums and step,
the mean of the weights, and what was measured. One JSON text in its metadata is the *definition*:
sizes, settings, runs, and digests of data and targets, so that nothing else is continued with it.
The SHA-256 of the whole file is in it as well.

What can be made again is not kept: targets and constants follow from problem and runs, and each
random stream from (seed, purpose) and the number of epochs, see `Training.epochs`.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nkd
from nkd import files
from nkd.backend import NUMPY, Backend
from nkd.data import Dataset
from nkd.distillation import Problem, Run
from nkd.errors import UserError
from nkd.machine import products_of
from nkd.training import Epoch, Settings, Training

if TYPE_CHECKING:
    from nkd.work import Pass

FORMAT = "nkd checkpoint 1"
MISFITS = AttributeError, LookupError, TypeError, ValueError, ArithmeticError
"""What is raised where a definition or a state is not what nkd writes."""
NO_DIGEST = "0" * 64
"""What stands in place of the file's digest while that is computed."""

DTYPES = {"float32": np.float32, "float64": np.float64}

GIVEN = "targets", "labelled"
"""The fields of a run that hold arrays; elsewhere their places are taken by names of these."""

State = dict[str, np.ndarray]
Definition = dict[str, Any]


# What is kept.


def state_of(training: Training, networks: bool = True) -> State:
    """What has changed since the training was made; not in copies.

    Args:
        networks: with all that it takes to continue or to use them; without, the measurements.
    """
    state: State = {"seconds": np.array([training.seconds])}
    for epoch in training.history:
        place = f"epoch{epoch.number}"
        state[f"{place}.objective"] = epoch.objective
        for part, measured in (("test", epoch.test), ("train", epoch.train)):
            state |= {f"{place}.{part}.{name}": each for name, each in (measured or {}).items()}
        if epoch.split is not None:
            state[f"{place}.split"] = np.array(epoch.split)
    if networks:
        state["parameters"] = training.backend.to_numpy(training.network.parameters)
    if networks and not training.finished:
        for owner, name, value in parts_of(training):
            state[f"{owner}.{name}"] = np.asarray(training.backend.to_numpy(value))
    return {name: np.ascontiguousarray(values) for name, values in state.items()}


def parts_of(training: Training) -> list[tuple[str, str, Any]]:
    """What changes besides the parameters, as (owner, name, array or number)."""
    optimizer, average = training.optimizer, training.average
    parts = [("optimizer", name, getattr(optimizer, name)) for name in optimizer.state]
    if average is not None:
        parts += [("average", name, getattr(average, name)) for name in ("mean", "count")]
    return parts


def restore(training: Training, state: Mapping[str, np.ndarray]) -> None:
    """Bring a training that is new into a state.

    Raises:
        KeyError, ValueError: the state is that of another one.
    """
    xp, backend = training.backend.xp, training.backend
    training.network.parameters[...] = backend.asarray(state["parameters"])
    training.history = history_of(state)
    training.seconds = float(state["seconds"][0])
    if training.finished:
        return
    for owner, name, value in parts_of(training):
        kept = state[f"{owner}.{name}"]
        if isinstance(value, xp.ndarray):
            value[...] = backend.asarray(kept)  # in place, where compiled code looks for it
        else:
            setattr(getattr(training, owner), name, kept.item())


def history_of(state: Mapping[str, np.ndarray]) -> list[Epoch]:
    """The measurements in a state."""
    found: dict[int, dict[str, Any]] = {}
    for key, values in state.items():
        place, _, name = key.partition(".")
        if place.startswith("epoch"):
            found.setdefault(int(place.removeprefix("epoch")), {})[name] = values
    history = []
    for number in sorted(found):
        of, measured = found[number], {}
        for part in ("test", "train"):
            names = [name for name in of if name.startswith(f"{part}.")]
            measured[part] = {name.removeprefix(f"{part}."): of[name] for name in names}
        split = of.get("split")
        history.append(
            Epoch(
                number,
                of["objective"],
                measured["test"],
                measured["train"] or None,
                None if split is None else (split[0], split[1]),
            )
        )
    return history


def epochs_of(state: Mapping[str, np.ndarray]) -> int:
    """How many epochs it was trained for."""
    return len({name.partition(".")[0] for name in state if name.startswith("epoch")})


def joined(states: Sequence[State]) -> State:
    """The state of runs that were trained in parts, in their order."""
    whole: State = {}
    for name in dict.fromkeys(name for state in states for name in state):
        parts = [
            # Where no run has a teacher, a part has no split: see `Training.gradient_split`.
            state.get(name, np.full((2, len(state["epoch1.objective"])), np.nan))
            for state in states
        ]
        whole[name] = np.concatenate(parts, axis=0 if name == "parameters" else -1)
    whole["seconds"] = whole["seconds"].sum(keepdims=True)
    return whole


# What it belongs to.


def digest_of(*parts: Any) -> str:
    """The SHA-256 of arrays, with their types and shapes, of bytes, and of texts."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data.cast("B"))
        else:
            digest.update(part if isinstance(part, bytes) else str(part).encode())
    return digest.hexdigest()


def digest_of_data(data: Dataset) -> str:
    """The digest of all in a data set that numbers depend on; not of its title."""
    names = [field.name for field in dataclasses.fields(data)]
    for unimportant in ("title", "notice", "stand_in", "noise_floor"):
        names.remove(unimportant)
    return digest_of(*(part for name in names for part in (name, getattr(data, name))))


def footing_of(backend: Backend) -> dict[str, Any]:
    """What computes: where it is the same, equal trainings give equal bits."""
    products, of_numpy = backend.products(), products_of("numpy")
    return {
        "nkd": nkd.__version__,
        "numpy": np.__version__,
        "backend": str(backend.name),
        "computing": backend.computing(),
        "products": products and dataclasses.asdict(products),
        "numpy threads": of_numpy and of_numpy.threads,
    }


def said_in(runs: Sequence[Run], answered: Mapping[Any, np.ndarray]) -> dict[str, np.ndarray]:
    """All that the runs' teachers say, and which labels they know, by the digests.

    Args:
        answered: what those teachers said that are functions.
    """
    found: dict[int, np.ndarray] = {}
    for run in runs:
        for given in (run.targets, run.labelled):
            said = answered.get(given) if callable(given) else given
            if said is not None:
                found[id(said)] = said
    return {digest_of(said): said for said in found.values()}


def definition_of(
    work: "Training | Pass",
    backend: Backend,
    said: Mapping[str, np.ndarray] | None = None,
    answered: Mapping[Any, np.ndarray] | None = None,
) -> Definition:
    """What a training is, or a pass, as it reads back from JSON.

    Args:
        said: see `said_in`.
        answered: likewise.
    """
    answered = answered or {}
    said = said_in(work.runs, answered) if said is None else said
    named = {id(each): digest for digest, each in said.items()}
    runs = []
    for run in work.runs:
        values = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
        for name in GIVEN:
            given = answered.get(values[name]) if callable(values[name]) else values[name]
            if given is not None:  # of equal arrays, only one is in `said`
                given = named.get(id(given)) or digest_of(given)
            values[name] = given
        runs.append({**values, "seed": int(run.seed), "parameters": dict(run.parameters)})
    definition = {
        "task": work.problem.task,
        "data": digest_of_data(work.problem.data),
        "sizes": [int(size) for size in work.sizes],
        "settings": dataclasses.asdict(work.settings),
        "runs": runs,
        "dtype": np.dtype(work.dtype).name,
        "footing": footing_of(backend),
    }
    return json.loads(json.dumps(definition))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In what two definitions, or footings, differ, for people; "" if they do not."""
    texts = []
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name), other.get(name)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            texts.append(differences(a, b))
        elif (
            isinstance(a, str | int | float) and isinstance(b, str | int | float) and name != "data"
        ):
            texts.append(f"{name} {a}, not {b}")
        else:
            texts.append(f"other {name}")
    return "; ".join(texts)


# The file.


def to_parts(state: State, definition: Definition) -> list[bytes | memoryview]:
    """The file's bytes."""
    names = list(state)  # their order is that of the columns in tables; the file has another
    described = json.dumps({"definition": definition, "tensors": names}, ensure_ascii=False)
    metadata = {"format": FORMAT, "sha256": NO_DIGEST, "description": described}
    header, data = files.to_safetensors(state, metadata)
    digest = hashlib.sha256(header)
    digest.update(data)
    return [header.replace(NO_DIGEST.encode(), digest.hexdigest().encode(), 1), data]


def read(path: Path | str) -> tuple[State, Definition]:
    """The state and the definition in a file.

    Raises:
        UserError: it cannot be read, is damaged, or of another version.
    """
    try:
        content = Path(path).read_bytes()
        tensors, metadata = files.from_safetensors(content)
        if metadata.get("format") != FORMAT:
            found = metadata.get("format", "something else")
            raise UserError(f"holds {found:.40}, not {FORMAT}")
        end = len(content) - sum(values.nbytes for values in tensors.values())
        header = content[:end].replace(metadata["sha256"].encode(), NO_DIGEST.encode(), 1)
        digest = hashlib.sha256(header)
        digest.update(memoryview(content)[end:])
        if digest.hexdigest() != metadata["sha256"]:
            raise UserError("is damaged: its digest is another")
        described = files.from_json(metadata["description"])
        definition = described["definition"]
        if not isinstance(definition, dict):
            raise TypeError("a definition that is none")
        return {name: tensors[name] for name in described["tensors"]}, definition
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except UserError as error:
        reason = str(error)
    except (KeyError, TypeError, ValueError):
        reason = "is damaged"
    raise UserError(f"checkpoint {path}: {reason}")


def save(training: Training, path: Path | str) -> None:
    """See `Training.save`."""
    if training.started and not training.history:
        raise UserError(f"{path}: save a training before its first epoch, or after one")
    said = said_in(training.runs, training.answered)
    taught = {f"said.{digest}": np.ascontiguousarray(each) for digest, each in said.items()}
    definition = definition_of(training, training.backend, said, training.answered)
    definition["own orders"] = training.orders is not None
    files.write(path, *to_parts({**state_of(training), **taught}, definition))


def load(
    path: Path | str, problem: Problem, *, backend: Backend = NUMPY, **options: Any
) -> Training:
    """See `Training.load`."""
    state, defined = read(path)
    here = {
        "task": problem.task,
        "data": digest_of_data(problem.data),
        "own orders": options.get("orders") is not None,
        "footing": footing_of(backend),
    }
    other = differences({name: defined.get(name) for name in here}, here)
    if other:
        raise UserError(f"checkpoint {path}: is of {other}")
    said = {
        name.removeprefix("said."): values
        for name, values in state.items()
        if name.startswith("said.")
    }
    try:
        runs = [run_of(values, said) for values in defined["runs"]]
        settings = Settings(
            **{**defined["settings"], "dropout": tuple(defined["settings"]["dropout"])}
        )
        options |= {"dtype": DTYPES[defined["dtype"]], "backend": backend}
        sizes, kept = defined["sizes"], state["parameters"]
        if len(runs) * sum((i + 1) * o for i, o in itertools.pairwise(sizes)) > kept.size:
            raise ValueError(f"{kept.size:,} parameters for {len(runs)} networks of sizes {sizes}")
        training = Training(problem, sizes, runs, settings, **options)
        restore(training, state)
    except MISFITS as error:
        raise UserError(f"checkpoint {path}: does not fit together ({error})") from None
    return training


def run_of(values: Mapping[str, Any], said: Any) -> Run:
    """A run, from its fields with names in place of arrays.

    Args:
        said: the arrays by these names, or in a list by their numbers.

    Raises:
        KeyError: it is not in the file, as in those that a run keeps for `--resume`.
    """
    named = {name: values[name] for name in GIVEN}
    arrays = {field: None if name is None else said[name] for field, name in named.items()}
    return Run(**{**values, **arrays})
