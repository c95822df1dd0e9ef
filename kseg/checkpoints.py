"""The run directory: what stands where, what makes two runs the same, models kept and training resumed.

config.json  config.flags  labels.json  metrics.jsonl  timing.jsonl  tensorboard/
best/model.keras  last/model.keras        models (float32 weights, the whole network, auxiliary head included)
checkpoints/                              of the training's state, for resuming (kseg.resuming)
"""

import dataclasses
import json
import zipfile

import keras
import tensorflow as tf

from kseg import devices, faults, hold, knobs, storage, transfer, workers
from kseg.config import TrainConfig
from kseg.config.values import SKIP
from kseg.errors import RunError, UsageError
from kseg.labels import LabelMap
from kseg.models.blocks import StandIn
from kseg.models.segmenter import build_segmenter, without_aux

CONFIG, FLAGS, LABELS, METRICS = "config.json", "config.flags", "labels.json", "metrics.jsonl"
TIMING, TENSORBOARD, MODEL = "timing.jsonl", "tensorboard", "model.keras"
# Where data and run are kept and what is drawn of them changes nothing about what is computed; and a run that a bad
# record ended may go on without it.
NOT_COMPARED = (
    *("data", "output_dir", "preview_dir", "validation_pictures", "on_bad_record"),
    *("checkpoint_every_steps", "keep_checkpoints", "on_nan"),
    *("distribution", "logical_devices", "worker_timeout"),
)


def check_run(config: TrainConfig, labels: LabelMap) -> None:
    """Checks that the run directory is new, empty, or holds a run of the same configuration; changes nothing.

    Args:
        config: with num_classes and num_training_samples settled.
        labels: the data set's.

    Raises:
        RunError: naming each difference, if it holds a run of another configuration or other files; if it cannot be
            written.
    """
    folder = config.output_dir
    if workers.is_chief():
        faults.refuse_unwritable(folder)  # now, not after a minute of building
    if is_run(folder):
        _refuse_difference(folder, read_config(folder), config)
        there = read_labels(folder)
        if there.names != labels.names:
            raise RunError(
                f"{folder}: holds a run of other classes ({', '.join(there.names)}; {config.data} has "
                f"{', '.join(labels.names)}); give another --output_dir"
            )
    elif storage.exists(folder) and not (storage.is_dir(folder) and _only_begun(folder)):
        raise RunError(f"{folder}: not empty and not a run directory; name an empty or a new --output_dir")


def is_run(folder: str) -> bool:
    """Whether a run directory is there."""
    return storage.exists(storage.join(folder, CONFIG))


def with_samples_of_run(config: TrainConfig) -> TrainConfig:
    """With --on_bad_record=skip, and no --num_training_samples, that of the run in `config.output_dir` if there is one.

    So a run can go on when pictures are lost: its epochs, and with them its learning-rate schedule, keep their length.
    """
    folder = config.output_dir
    if config.on_bad_record != SKIP or config.num_training_samples is not None:
        return config
    if not storage.exists(storage.join(folder, CONFIG)):
        return config
    return dataclasses.replace(config, num_training_samples=read_config(folder).num_training_samples)


def _only_begun(folder: str) -> bool:
    """Whether a folder is empty but for what a `make_run` that was killed leaves."""
    return all(name in (LABELS, FLAGS, hold.NAME) or storage.is_unfinished(name) for name in storage.list_dir(folder))


def make_run(config: TrainConfig, labels: LabelMap) -> None:
    """Makes the run directory and writes the configuration, or clears what a killed training left unfinished there."""
    if not workers.is_chief():
        return
    folder = config.output_dir
    for place in (folder, storage.join(folder, "best"), storage.join(folder, "last")):
        storage.remove_unfinished(place)
    if is_run(folder):
        return
    storage.write_text(storage.join(folder, LABELS), labels.to_json())
    storage.write_text(storage.join(folder, FLAGS), knobs.to_flagfile(config))
    storage.write_text(storage.join(folder, CONFIG), config.to_json())  # last: it marks the directory as a run


def compared(config: TrainConfig) -> dict:
    """The part of a configuration that says what is computed."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in NOT_COMPARED}


def _refuse_difference(folder: str, there: TrainConfig, now: TrainConfig) -> None:
    old, new = compared(there), compared(now)
    differences = [f"{name}={old[name]} there, {new[name]} now" for name in old if old[name] != new[name]]
    if differences:
        raise RunError(
            f"{folder}: holds a run of another configuration ({'; '.join(differences)}); "
            "give the same flags to resume it, or another --output_dir"
        )


def read_config(folder: str) -> TrainConfig:
    """The configuration of a run.

    Raises:
        RunError: if `folder` is no run directory or its config.json is damaged.
    """
    path = storage.join(folder, CONFIG)
    if not storage.exists(path):
        raise RunError(f"{folder}: not a run directory of kseg-train ({CONFIG} is missing)")
    try:
        values = json.loads(storage.read_text(path))
        # Runs from before the auxiliary head have none, whatever the flag's default is now.
        return TrainConfig(**{"aux_loss_weight": 0.0} | values)
    except (ValueError, TypeError, UsageError) as error:
        raise RunError(f"{path}: not a configuration of this kseg: {error}") from None


def read_labels(folder: str) -> LabelMap:
    """The classes of a run; raises RunError if its labels.json is missing or damaged."""
    path = storage.join(folder, LABELS)
    try:
        return LabelMap.from_dict(json.loads(storage.read_text(path)))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not a list of classes: {error!r}") from None


def read_metrics(folder: str) -> list[dict]:
    """The lines of metrics.jsonl, one an epoch, [] where there are none yet. A torn last line is left out."""
    return _read_lines(storage.join(folder, METRICS))


def _read_lines(path: str) -> list[dict]:
    lines = storage.read_text(path).splitlines() if storage.exists(path) else []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def write_metrics(folder: str, entries: list[dict]) -> None:
    """Writes metrics.jsonl whole: a few hundred bytes an epoch, so that no reader ever sees half a line."""
    if not workers.is_chief():
        return
    text = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in entries)
    storage.write_text(storage.join(folder, METRICS), text)


def read_timing(folder: str) -> list[dict]:
    """The lines of timing.jsonl, one an epoch: epoch, images_per_second, input_wait. See `read_metrics`."""
    return _read_lines(storage.join(folder, TIMING))


def write_timing(folder: str, entry: dict) -> None:
    """Puts the line of an epoch at the end of timing.jsonl, in the place of those of the same and later epochs."""
    if not workers.is_chief():
        return
    before = [line for line in read_timing(folder) if line["epoch"] < entry["epoch"]]
    text = "".join(json.dumps(line) + "\n" for line in [*before, entry])
    storage.write_text(storage.join(folder, TIMING), text)


def save_model(model: keras.Model, folder: str, which: str) -> None:
    """Keeps `model` as FOLDER/best/model.keras or FOLDER/last/model.keras, whole or not at all.

    Raises:
        RunError: naming the file, if it cannot be written.
    """
    if not workers.is_chief():
        return
    path = storage.join(folder, which, MODEL)
    storage.make_dirs(storage.join(folder, which))
    try:
        # A file of s3:// appears whole by itself, and what is moved there is read and written once more.
        with (transfer.made_locally if "://" in path else storage.written_aside)(path) as place:
            model.save(place)
    except (OSError, tf.errors.OpError) as error:
        raise RunError(
            f"{path}: cannot be written: {faults.why(path, error)}; what earlier epochs left is kept, and the same "
            "command goes on from it"
        ) from None


def load_segmenter(folder: str, which: str = "best") -> tuple[keras.Model, LabelMap, TrainConfig]:
    """The trained network of a run without its auxiliary head, in float32 whatever precision it was trained in.

    Args:
        folder: run directory.
        which: "best" or "last".

    Returns:
        A model uint8 [N, H, W, 3] -> logits float32 [N, H, W, C], its classes, and the run's configuration.

    Raises:
        RunError: if the run or that model is not there.
    """
    config, labels = read_config(folder), read_labels(folder)
    other = "last" if which == "best" else "best"
    advice = f"try --model={other}, or train again"
    network = load_network(folder, which, config, labels.num_classes, advice=advice)
    return without_aux(network), labels, config


def load_network(folder: str, which: str, config: TrainConfig, num_classes: int, *, advice: str) -> keras.Model:
    """The whole network of a run, in float32; like `load_segmenter`, with what to do if it is damaged as `advice`."""
    path = storage.join(folder, which, MODEL)
    if not storage.exists(path):
        raise RunError(f"{path}: not there; the run has not finished an epoch yet, or it was removed")
    # Built anew and filled, not loaded: the file records the training precision, and serving wants float32.
    network = build_network(config, num_classes, precision="float32")
    try:
        with transfer.file_brought_here(path) as here:
            network.load_weights(here)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]  # the other lines of Keras's list layers and print arrays
        raise RunError(f"{path}: damaged or of another network: {reason}; {advice}") from None
    return network


def build_network(config: TrainConfig, num_classes: int, precision: str, later: StandIn | None = None) -> keras.Model:
    """The network that a configuration describes, with fresh weights; `later` is `kseg.models.blocks.Style`'s."""
    return build_segmenter(
        algorithm=config.algorithm,
        backbone=config.backbone,
        num_classes=num_classes,
        output_stride=config.output_stride,
        aux=config.aux_loss_weight > 0,
        synchronized=config.syncbn,
        precision=precision,
        seed=config.seed,
        on_processor=devices.on_processor(precision),
        later=later,
    )
