"""The state of a training, kept at any step and gone on from.

checkpoints/epoch-00003-step-0000120/    after 3 epochs and 120 steps of the fourth
    state.index  state.data-00000-of-00001    weights, optimizer, moving average (TensorFlow's format)
    place.json                                where that is, and the scores of the epoch so far; written last
"""

import contextlib
import dataclasses
import json
import re

import numpy as np
import tensorflow as tf

from kseg import faults, storage, transfer, workers
from kseg.errors import NotFiniteError, RunError, UnreachableError
from kseg.progress import say

FOLDER = "checkpoints"
STATE, PLACE = "state", "place.json"
# Reasons for which a checkpoint cannot be read that say nothing of it: no rights, no room, nobody who answers.
HINDRANCES = (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError, tf.errors.ResourceExhaustedError)
HINDRANCES += (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)
NAME = re.compile(r"epoch-(\d{5,})-step-(\d{7,})")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a training stands.

    Attributes:
        epochs: done, with their validation and metric lines.
        step: steps done of the epoch after these, 0 to all of them (then its validation is still to come).
        scores: what the training metrics had counted in these steps, () if step is 0.
    """

    epochs: int = 0
    step: int = 0
    scores: tuple[np.ndarray, ...] = ()

    @property
    def name(self) -> str:
        """Of the checkpoint's folder."""
        return f"epoch-{self.epochs:05d}-step-{self.step:07d}"

    @property
    def order(self) -> tuple[int, int]:
        """Greater for a later place."""
        return self.epochs, self.step

    def offset(self, epoch: int) -> int:
        """Steps that a training which begins here leaves out of `epoch`, counted from 0."""
        return self.step if epoch == self.epochs else 0


class Scores:
    """The state of the metrics of an epoch's training steps, over all replicas.

    Args:
        variables: tf.Variable of the metrics, which every replica adds its own share to; also an attribute.
        strategy: that they were made in.
    """

    def __init__(self, variables: list[tf.Variable], strategy: tf.distribute.Strategy):
        self.variables, self._strategy = variables, strategy

    def read(self) -> tuple[np.ndarray, ...]:
        """Sums over the replicas."""
        return tuple(variable.numpy() for variable in self.variables)

    def write(self, values: tuple[np.ndarray, ...]) -> None:
        """Makes `read` give `values`: on the first replica, 0 on the others, as a sum cannot be shared out exactly."""

        @tf.function(autograph=False)
        def each() -> None:
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group == 0
            for variable, value in zip(self.variables, values, strict=True):
                variable.assign(tf.where(first, value, tf.zeros_like(value)))

        self._strategy.run(each)


class Resumer:
    """Keeps checkpoints of a training, and restores the newest whole one.

    On several devices statistics of batch normalisation that are not synchronised are those of the first: a resumed run
    goes on with them on all.

    Args:
        variables: tf.Variables of the network, of the built optimizer and of whatever else training goes on from, in
            the same order every time.
        folder: run directory.
        keep: how many of the newest are kept, >= 1.
    """

    def __init__(self, variables: list[tf.Variable], folder: str, keep: int = 2):
        # By variable, not by object: Keras' SeedGenerators, and with them the dropout masks to come, are no trackable
        # objects and would be left out. By place, not by path: a second optimizer in a process is called sgd_1.
        self._checkpoint = tf.train.Checkpoint(variables=variables)
        self._floats = [variable for variable in variables if variable.dtype.is_floating]
        self._folder, self._keep = storage.join(folder, FOLDER), keep
        self._at = ""  # name of the place that was restored or kept last

    def newest(self) -> Place | None:
        """Of the whole checkpoints, without its scores."""
        return max(self._places(), key=lambda place: place.order, default=None)

    def restore(self) -> Place:
        """Restores the newest checkpoint that is whole; returns where it stands, Place() without a checkpoint.

        Raises:
            RunError: if there are checkpoints and none can be restored, or the storage cannot be reached.
        """
        places = self._places()
        for place in reversed(places):
            path = storage.join(self._folder, place.name)
            try:
                found, self._at = self._restored(path, place), place.name
                return found
            except UnreachableError:
                raise
            except HINDRANCES as error:
                raise RunError(f"{path}: cannot be read: {faults.why(path, error)}") from None
            except (AssertionError, LookupError, ValueError, TypeError, RunError, tf.errors.OpError) as error:
                say(f"warning: {path}: damaged or of another network: {str(error).partition(chr(10))[0]}")
        if not places and self._has_earlier():
            raise RunError(
                f"{self._folder}: holds checkpoints of an earlier version of kseg (ckpt-…), from which this one cannot "
                "go on; give another --output_dir (--init_from takes the weights)"
            )
        if places:
            raise RunError(f"{self._folder}: no checkpoint there can be restored; give another --output_dir")
        return Place()

    def _has_earlier(self) -> bool:
        names = storage.list_dir(self._folder) if storage.exists(self._folder) else []
        return any(name.startswith("ckpt-") for name in names)

    def _restored(self, path: str, place: Place) -> Place:
        with transfer.brought_here(path) as here:
            about = json.loads(storage.read_text(storage.join(here, PLACE)))
            scores = tuple(np.asarray(each["value"], each["dtype"]) for each in about["scores"])
            if about["name"] != place.name:
                raise ValueError(f"{PLACE} is of {about['name']}")
            # Nothing may be left as it is: what is new has no value in there, and what is there and gone was needed.
            status = self._checkpoint.read(storage.join(here, STATE))
            status.assert_existing_objects_matched()
        return dataclasses.replace(place, scores=scores)

    def save(self, place: Place) -> None:
        """Writes a checkpoint of the present state, then deletes those that are not to be kept.

        Of several workers the first does; every one must call this.

        What is not whole, since a process was killed meanwhile, has no place.json and counts for nothing.

        Raises:
            NotFiniteError: if a weight, or whatever else of the state, is NaN or infinite; nothing is written.
            RunError: naming the folder, if it cannot be written.
        """
        self.check_finite(place.step)
        if not workers.is_chief() or place.name == self._at:  # a validation that was given up twice
            return
        path = storage.join(self._folder, place.name)
        scores = [{"dtype": str(value.dtype), "value": value.tolist()} for value in place.scores]
        about = {"name": place.name, "epochs": place.epochs, "step": place.step, "scores": scores}
        try:
            storage.remove(path)  # what a kill left, or one that could not be restored
            with transfer.folder_made_locally(path) as here:
                self._checkpoint.write(storage.join(here, STATE))
            storage.write_text(storage.join(path, PLACE), json.dumps(about) + "\n")
        except (OSError, RunError, tf.errors.OpError) as error:
            with contextlib.suppress(RunError):  # of a storage that cannot be reached: the first error says so
                storage.remove(path)
            raise RunError(
                f"{path}: cannot be written: {faults.why(path, error)}; what earlier checkpoints hold is kept, and the "
                "same command goes on from it"
            ) from None
        self._at = place.name
        try:
            self._tidy(place)
        except RunError as error:  # the next one tries again
            say(f"warning: an old checkpoint is left: {error}")

    def check_finite(self, step: int) -> None:
        """Raises NotFiniteError if some of the state is NaN or infinite after a step; every worker must call it."""
        bad = next((each.name for each in self._floats if not np.isfinite(each.numpy()).all()), None)
        if workers.any_worker(bad is not None):  # statistics that are not synchronised differ
            raise NotFiniteError(f"a weight ({bad or 'of another worker'}) is NaN or infinite after step {step}")

    def _tidy(self, newest: Place) -> None:
        """Deletes all but the newest to keep: older ones, what is not whole, and later ones, which were damaged."""
        places = [place for place in self._places() if place.order <= newest.order]
        kept = {place.name for place in places[-self._keep :]}
        for name in storage.list_dir(self._folder):
            if name not in kept:
                storage.remove(storage.join(self._folder, name))

    def _places(self) -> list[Place]:
        """Of the whole checkpoints, the oldest first."""
        if not storage.exists(self._folder):
            return []
        found = []
        for name in storage.list_dir(self._folder):
            match = NAME.fullmatch(name)
            if match and storage.exists(storage.join(self._folder, name, PLACE)):
                found.append(Place(int(match[1]), int(match[2])))
        return sorted(found, key=lambda place: place.order)
