"""An assembled training, run to its end: fit, its callbacks, and what is done when it goes wrong."""

import contextlib
import dataclasses
import functools

import keras
import tensorflow as tf

from kseg import checkpoints, resuming, storage, workers
from kseg.assembly import Assembly
from kseg.averaging import Averaging
from kseg.callbacks import EpochEnd, Progress, ValidationPictures
from kseg.config import TrainConfig
from kseg.config.safety import ROLLBACK
from kseg.data import damage
from kseg.errors import NotFiniteError, RunError
from kseg.evaluator import segment_with_model
from kseg.events import Events
from kseg.hold import Hold
from kseg.input_wait import InputWait, advice
from kseg.plan import Plan
from kseg.progress import say
from kseg.replicated import shared_out
from kseg.resuming import Place, Resumer, Scores
from kseg.safekeeping import Checkpoints, StopOnNan, shortage_named
from kseg.step_cache import keep_step
from kseg.stopping import StopRequest
from kseg.transfer import Mirror

ROLLBACKS = 5  # to 1/32 of the learning rate: what then still fails has another reason
RATES = (
    "lower --learning_rate or --head_learning_rate_multiplier (or, with --mixed_precision=float16, take bfloat16 or "
    "float32)"
)


@dataclasses.dataclass(frozen=True)
class Keeping:
    """What keeps a run, and may end its training.

    Attributes:
        resumer: of the training's state.
        hold: of the run directory.
        stop: whether a signal asked for the end.
    """

    resumer: Resumer
    hold: Hold
    stop: StopRequest


def metrics_of(folder: str, start: Place) -> list[dict]:
    """The metric lines of the epochs that are done where a training stands.

    Raises:
        RunError: if some are missing, or the checkpoints are: a kill leaves one line at most without its checkpoint.
    """
    lines = checkpoints.read_metrics(folder)
    if start == Place() and len(lines) > 1:
        raise RunError(
            f"{storage.join(folder, resuming.FOLDER)}: no checkpoint, but {checkpoints.METRICS} has "
            f"{len(lines)} epochs; put the folder back, or give another --output_dir"
        )
    done = lines[: start.epochs]
    if len(done) < start.epochs:
        raise RunError(
            f"{storage.join(folder, checkpoints.METRICS)}: {len(done)} epochs, but the checkpoint has {start.epochs}; "
            "put the file back, or give another --output_dir"
        )
    return done


def early_stopping(config: TrainConfig) -> dict | None:
    """Keyword arguments of `should_stop`; None without early stopping."""
    if not config.early_stopping:
        return None
    return {
        "min_epochs": config.early_stopping_min_epochs,
        "patience": config.early_stopping_patience,
        "tolerance": config.early_stopping_tolerance,
    }


def _keep_step(plan: Plan, assembly: Assembly) -> None:
    """Takes the graph of the training step that an equal start has kept, or keeps it; on one device only."""
    if assembly.model.distribute_strategy.num_replicas_in_sync == 1:  # outside of the strategy's scope here
        identity = {"config": checkpoints.compared(plan.config), "class_weights": plan.class_weights}
        keep_step(assembly.model, assembly.step_variables, plan.training_specs, identity)


def fit(plan: Plan, assembly: Assembly, validation, keeping: Keeping, start: Place) -> None:
    """Trains from `start` to the end, going back to the newest checkpoint as often as --on_nan allows.

    Args:
        plan, assembly: of the training.
        validation: batches to score after every epoch.
        keeping: of the run.
        start: where the state stands.

    Raises:
        RunError: if a record, the loss, memory or the run directory ends it.
        Interrupted: if a signal does.
    """
    config, rate_factor, resumer = plan.config, assembly.model.optimizer.rate_factor, keeping.resumer
    _keep_step(plan, assembly)
    if config.on_nan == ROLLBACK and start == Place():
        resumer.save(start)
    with damage.named(plan.training, plan.validation), shortage_named(config):
        for rollbacks in range(ROLLBACKS + 1):
            try:
                return _fit_from(start, plan, assembly, validation, keeping)
            except NotFiniteError as error:
                if config.on_nan != ROLLBACK or rollbacks == ROLLBACKS:
                    raise RunError(f"{error}; {_after_nan(resumer, rollbacks)}") from None
                factor = float(rate_factor.numpy()) / 2
                start = resumer.restore()
                workers.agree("checkpoint to go back to", start.name)
                rate_factor.assign(factor)
                say(f"{error}: back to step {start.step} of epoch {start.epochs + 1}, rate times {factor:g}")


def _after_nan(resumer: Resumer, rollbacks: int) -> str:
    """What to do after a NaN, and what there is."""
    if rollbacks:
        return f"so after {rollbacks} rollbacks, each to half the learning rate; {RATES} and give another --output_dir"
    newest = resumer.newest()
    kept = f"the checkpoint {newest.name} is kept" if newest else "nothing was kept"
    return f"{RATES} and give another --output_dir, or give --on_nan=rollback; {kept}"


def _fit_from(start: Place, plan: Plan, assembly: Assembly, validation, keeping: Keeping) -> None:
    """Trains from `start` to the end: first the rest of an epoch that was begun, then whole ones."""
    config, model, steps = plan.config, assembly.model, plan.steps_per_epoch
    with Mirror(storage.join(config.output_dir, checkpoints.TENSORBOARD)) as logs, contextlib.ExitStack() as stack:
        callbacks = _callbacks(plan, assembly, keeping, start, logs)
        for callback in callbacks[:2]:
            stack.enter_context(contextlib.closing(callback))
        epoch = start.epochs
        if start.step == steps:
            _validate(plan, model, validation, callbacks, assembly.scores, start)
            epoch += 1
        elif start.step:
            _fit_epochs(plan, model, validation, callbacks, range(epoch, epoch + 1), start.step)
            epoch += 1
        if epoch < config.epochs and not model.stop_training:
            _fit_epochs(plan, model, validation, callbacks, range(epoch, config.epochs), 0)


def _fit_epochs(plan: Plan, model: keras.Model, validation, callbacks: list, epochs: range, first_step: int) -> None:
    """Trains `epochs`, counted from 0, but for the first steps of the first."""
    make = functools.partial(plan.training_data, epochs, first_step)
    model.fit(
        shared_out(model.distribute_strategy, make),
        steps_per_epoch=plan.steps_per_epoch - first_step,
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        validation_data=validation,
        validation_steps=_validation_steps(plan, model),
        callbacks=callbacks,
        shuffle=False,  # the pipeline does it
        verbose=0,
    )


def _validation_steps(plan: Plan, model: keras.Model) -> int | None:
    """Batches of a validation, where its dataset does not say: what several devices take is endless."""
    return plan.validation_steps if model.distribute_strategy.num_replicas_in_sync > 1 else None


def _validate(plan: Plan, model: keras.Model, validation, callbacks: list, scores: Scores, start: Place) -> None:
    """The end of an epoch whose steps are all done, as `fit` does it."""
    steps = _validation_steps(plan, model)
    model.stop_training = False
    called = keras.callbacks.CallbackList(callbacks, model=model, epochs=start.epochs + 1, steps=0)
    called.on_epoch_begin(start.epochs)
    found = model.evaluate(validation, steps=steps, callbacks=called, return_dict=True, verbose=0)
    model.reset_metrics()
    scores.write(start.scores)
    logs = model.get_metrics_result() | {f"val_{name}": value for name, value in found.items()}
    called.on_epoch_end(start.epochs, logs)


def _callbacks(
    plan: Plan, assembly: Assembly, keeping: Keeping, start: Place, logs: Mirror
) -> list[keras.callbacks.Callback]:
    """The two that the caller closes first; then what ends a training before anything is kept."""
    config, steps = plan.config, plan.steps_per_epoch
    input_wait = InputWait()
    progress = Progress(
        config.mini_batch_size,
        start=start,
        steps_per_epoch=steps,
        epochs=config.epochs,
        validation_images=plan.validation.examples,
        validation_batch_size=config.validation_mini_batch_size,
    )
    last = Checkpoints(
        start,
        steps,
        config.epochs,
        every_steps=config.checkpoint_every_steps,
        resumer=keeping.resumer,
        scores=assembly.scores,
        stop=keeping.stop,
        hold=keeping.hold,
    )
    guard = StopOnNan(start, steps, input_wait)
    return [progress, input_wait, guard, *_reports(plan, assembly, keeping, start, input_wait, logs), last]


def _reports(
    plan: Plan, assembly: Assembly, keeping: Keeping, start: Place, input_wait, logs: Mirror
) -> list[keras.callbacks.Callback]:
    """What is kept and shown at the end of an epoch; EpochEnd last, as it declares the epoch done."""
    config, average, reports = plan.config, assembly.average, []
    writer = tf.summary.create_noop_writer()
    if workers.is_chief():
        writer = Events(logs.folder)
    if average is not None:
        reports.append(Averaging(average))
    if config.validation_pictures and workers.is_chief():
        shown = plan.validation_data(), plan.dataset.labels, config.validation_pictures
        reports.append(ValidationPictures(writer, *shown, segment_with_model(assembly.model), average))
    split = plan.dataset.split(config.train_split)
    end = EpochEnd(
        config.output_dir,
        keeping.resumer,
        keeping.hold,
        writer,
        done=metrics_of(config.output_dir, start),
        batch_size=config.mini_batch_size,
        steps_per_epoch=plan.steps_per_epoch,
        early_stopping=early_stopping(config),
        input_wait=input_wait,
        advise=functools.partial(advice, config, (split.height_range[1], split.width_range[1])),
        schedule=assembly.schedule,
        publish=logs.upload,
        average=average,
    )
    return [*reports, end]
