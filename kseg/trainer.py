"""Training: scope, assemble, fit."""

import contextlib
import functools

import keras
import tensorflow as tf

from kseg import checkpoints, devices, incremental, storage, workers
from kseg.assembly import Assembly, assemble
from kseg.averaging import Averaging
from kseg.callbacks import EpochEnd, Progress, StopOnNan, ValidationPictures, should_stop
from kseg.config import TrainConfig
from kseg.data import damage
from kseg.data.preview import write_preview
from kseg.errors import RunError
from kseg.input_wait import InputWait, advice
from kseg.models import pretrained
from kseg.plan import Plan, make_plan
from kseg.progress import say
from kseg.replicated import shared_out
from kseg.step_cache import keep_step


def preview(config: TrainConfig) -> str:
    """Draws augmented training pictures to PREVIEW_DIR/preview.png; returns its path."""
    plan = make_plan(config)
    path = storage.join(config.preview_dir, "preview.png")
    with plan.shards, damage.named(plan.training):
        write_preview(path, plan.training_data(range(1)), plan.dataset.labels)
    return path


def train(config: TrainConfig) -> dict:
    """Trains as configured, or resumes the run in `config.output_dir` at its next epoch.

    Returns:
        The metric line of the best epoch, as in metrics.jsonl.

    Raises:
        UsageError, RunError: with what is wrong in the flags, the data, the run directory or the loss.
    """
    with workers.together():
        strategy = devices.strategy(config)  # before anything of TensorFlow's: it may have to find other machines
        plan = make_plan(checkpoints.with_samples_of_run(config))
        with plan.shards:
            _train(plan, strategy)
    return max(checkpoints.read_metrics(config.output_dir), key=lambda entry: entry["validation:mIOU"])


def _train(plan: Plan, strategy: tf.distribute.Strategy) -> None:
    """What `train` does once the data set is read."""
    config = plan.config
    checkpoints.check_run(config, plan.dataset.labels)
    if not storage.exists(storage.join(config.output_dir, checkpoints.CONFIG)):
        _check_start(config)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    replicas = strategy.num_replicas_in_sync
    if config.mini_batch_size == (1 if config.syncbn else replicas) and config.algorithm in ("psp", "deeplab"):
        say(
            f"warning: batch normalisation over one picture turns the whole-picture mean of {config.algorithm} into a "
            "constant; a larger --mini_batch_size or, on several devices, --syncbn avoids that"
        )
    workers.agree("configuration or data set", _identity(plan))
    workers.agree("run in --output_dir (is it the same folder everywhere?)", _progress_of(config.output_dir))
    validation = shared_out(strategy, plan.validation_data)
    keras.utils.set_random_seed(config.seed)
    precision = devices.resolve_precision(config.mixed_precision)
    shared = f"; {replicas} devices{workers.describe()}" if replicas > 1 else ""
    say(f"{devices.describe()}; {precision}; {plan.steps_per_epoch} steps an epoch{shared}")
    with strategy.scope():
        assembly = assemble(plan, precision, replicas)
        resumer = checkpoints.Resumer(assembly.state, config.output_dir)
        epochs_done = resumer.restore()
        workers.agree("readable checkpoint", f"epoch {epochs_done}")
        done = _metrics_of(config.output_dir, epochs_done)
        if epochs_done:
            say(f"resuming {config.output_dir} after epoch {epochs_done} of {config.epochs}")
        else:
            _load_start(plan, assembly)
    checkpoints.make_run(config, plan.dataset.labels)  # only now: what fails above leaves nothing behind
    if not _finished(config, done):
        _fit(plan, assembly, validation, resumer, done)


def _identity(plan: Plan) -> str:
    """What workers that train together must have in common."""
    splits = [plan.dataset.split(name).shards for name in (plan.config.train_split, plan.config.validation_split)]
    counts = plan.training.examples, plan.validation.examples  # some may be skipped
    return repr((checkpoints.compared(plan.config), splits, counts))


def _progress_of(folder: str) -> str:
    """How far a run is, for workers to compare."""
    there = storage.exists(storage.join(folder, checkpoints.CONFIG))
    return f"{len(checkpoints.read_metrics(folder))} epochs" if there else "none"


def _check_start(config: TrainConfig) -> None:
    """Refuses weights to start from that cannot be had, before seconds of building."""
    if config.init_from is not None:
        incremental.check_run(config)
    elif config.use_pretrained_model:
        pretrained.check_available(config.backbone, config.pretrained_weights)
    elif config.freeze_stages or config.freeze_backbone_bn:
        say("warning: --freeze_stages and --freeze_backbone_bn keep the backbone's random weights as they are")


def _load_start(plan: Plan, assembly: Assembly) -> None:
    """The weights that a new run starts from, if not random ones."""
    config = plan.config
    if config.init_from is not None:
        say(incremental.load_run(assembly.network, plan.dataset.labels, config))
    elif config.use_pretrained_model:
        say(pretrained.load_pretrained(assembly.network, config.backbone, config.pretrained_weights))
    if assembly.average is not None:
        assembly.average.reset()


def _metrics_of(folder: str, epochs_done: int) -> list[dict]:
    """The metric lines of the epochs that the checkpoint knows.

    Raises:
        RunError: if some are missing, or the checkpoints are: a kill leaves one line at most without its checkpoint.
    """
    lines = checkpoints.read_metrics(folder)
    if not epochs_done and len(lines) > 1:
        raise RunError(
            f"{storage.join(folder, checkpoints.CHECKPOINTS)}: no checkpoint, but {checkpoints.METRICS} has "
            f"{len(lines)} epochs; put the folder back, or give another --output_dir"
        )
    done = lines[:epochs_done]
    if len(done) < epochs_done:
        raise RunError(
            f"{storage.join(folder, checkpoints.METRICS)}: {len(done)} epochs, but the checkpoint has {epochs_done}; "
            "put the file back, or give another --output_dir"
        )
    return done


def _early_stopping(config: TrainConfig) -> dict | None:
    if not config.early_stopping:
        return None
    return {
        "min_epochs": config.early_stopping_min_epochs,
        "patience": config.early_stopping_patience,
        "tolerance": config.early_stopping_tolerance,
    }


def _finished(config: TrainConfig, done: list[dict]) -> bool:
    """Whether a resumed run has nothing left to do."""
    if len(done) >= config.epochs:
        say(f"{config.output_dir}: all {config.epochs} epochs are done")
        return True
    rule, mious = _early_stopping(config), [entry["validation:mIOU"] for entry in done]
    if rule is not None and done and should_stop(mious, **rule):
        say(f"{config.output_dir}: stopped early after epoch {len(done)}")
        return True
    return False


def _fit(plan: Plan, assembly: Assembly, validation, resumer, done: list[dict]) -> None:
    config = plan.config
    progress = Progress(
        config.mini_batch_size,
        validation_images=plan.validation.examples,
        validation_batch_size=config.validation_mini_batch_size,
    )
    input_wait = InputWait()
    with damage.named(plan.training, plan.validation), contextlib.closing(progress):
        strategy = assembly.model.distribute_strategy
        batches = shared_out(strategy, functools.partial(plan.training_data, range(len(done), config.epochs)))
        several = strategy.num_replicas_in_sync > 1
        if not several:  # outside of the strategy's scope here
            identity = {"config": checkpoints.compared(config), "class_weights": plan.class_weights}
            keep_step(assembly.model, assembly.variables, batches.element_spec, identity)
        assembly.model.fit(
            batches,
            steps_per_epoch=plan.steps_per_epoch,
            initial_epoch=len(done),
            epochs=config.epochs,
            validation_data=validation,
            validation_steps=plan.validation_steps if several else None,  # else known
            callbacks=[StopOnNan(), progress, input_wait, *_reports(plan, assembly, resumer, done, input_wait)],
            shuffle=False,  # the pipeline does it
            verbose=0,
        )


def _reports(plan: Plan, assembly: Assembly, resumer, done: list[dict], input_wait) -> list[keras.callbacks.Callback]:
    """What is kept and shown at the end of an epoch; EpochEnd last, as it declares the epoch done."""
    config, average, reports = plan.config, assembly.average, []
    writer = tf.summary.create_noop_writer()
    if workers.is_chief():
        writer = tf.summary.create_file_writer(storage.join(config.output_dir, checkpoints.TENSORBOARD))
    if average is not None:
        reports.append(Averaging(average))
    if config.validation_pictures and workers.is_chief():
        pictures, labels = plan.validation_data(), plan.dataset.labels
        reports.append(ValidationPictures(writer, pictures, labels, config.validation_pictures, average))
    split = plan.dataset.split(config.train_split)
    end = EpochEnd(
        config.output_dir,
        resumer,
        writer,
        done=done,
        images_per_epoch=plan.steps_per_epoch * config.mini_batch_size,
        early_stopping=_early_stopping(config),
        input_wait=input_wait,
        advise=functools.partial(advice, config, (split.height_range[1], split.width_range[1])),
        schedule=assembly.schedule,
        average=average,
    )
    return [*reports, end]
