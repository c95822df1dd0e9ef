"""Training: scope, assemble, fit."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

import kseg
from kseg import checkpoints, devices, faults, incremental, storage, workers
from kseg.assembly import Assembly, assemble
from kseg.callbacks import should_stop
from kseg.config import TrainConfig
from kseg.data import damage
from kseg.data.preview import write_preview
from kseg.errors import RunError
from kseg.fitting import Keeping, early_stopping, fit, metrics_of
from kseg.hold import Hold, held
from kseg.models import pretrained
from kseg.plan import Plan, make_plan
from kseg.progress import say
from kseg.replicated import shared_out
from kseg.resuming import Place, Resumer
from kseg.safekeeping import shortage_named
from kseg.stopping import StopRequest


def preview(config: TrainConfig) -> str:
    """Draws augmented training pictures to PREVIEW_DIR/preview.png; returns its path."""
    faults.refuse_unwritable(config.preview_dir)
    plan = make_plan(config)
    path = storage.join(config.preview_dir, "preview.png")
    with plan.shards, damage.named(plan.training):
        write_preview(path, plan.training_data(range(1)), plan.dataset.labels)
    return path


def train(config: TrainConfig) -> dict:
    """Trains as configured, or resumes the run in `config.output_dir` at the newest checkpoint.

    Returns:
        The metric line of the best epoch, as in metrics.jsonl.

    Raises:
        UsageError, RunError: with what is wrong in the flags, the data, the run directory or the loss.
        Interrupted: if SIGTERM or SIGINT ended it where it can be gone on with.
    """
    stop = StopRequest()
    with stop.heeded(), workers.together():
        strategy = devices.strategy(config)  # before anything of TensorFlow's: it may have to find other machines
        with stop.at_once():  # --on_bad_record=skip reads all records
            plan = make_plan(checkpoints.with_samples_of_run(config))
        with plan.shards, shortage_named(config):
            _train(plan, strategy, stop)
    return max(checkpoints.read_metrics(config.output_dir), key=lambda entry: entry["validation:mIOU"])


def _train(plan: Plan, strategy: tf.distribute.Strategy, stop: StopRequest) -> None:
    """What `train` does once the data set is read."""
    config = plan.config
    checkpoints.check_run(config, plan.dataset.labels)
    if checkpoints.is_run(config.output_dir):
        with _held(config) as hold:
            _train_held(plan, strategy, stop, hold)
    else:
        _check_start(config)
        _train_held(plan, strategy, stop, None)


def _train_held(plan: Plan, strategy: tf.distribute.Strategy, stop: StopRequest, hold: Hold | None) -> None:
    """The same, once the run directory is this process's, or (None) there is none yet."""
    config = plan.config
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
        resumer = Resumer(assembly.state, config.output_dir, keep=config.keep_checkpoints)
        stop.obey()
        start = resumer.restore()
        workers.agree("readable checkpoint", start.name)
        done = metrics_of(config.output_dir, start)
        if start == Place():
            _load_start(plan, assembly)
        else:
            say(_resuming(config, start, plan.steps_per_epoch))
    with contextlib.ExitStack() as stack:
        hold = hold or stack.enter_context(_first_hold(config))
        checkpoints.make_run(config, plan.dataset.labels)  # only now: what fails above leaves nothing behind
        if not _finished(config, done):
            stop.obey()
            fit(plan, assembly, validation, Keeping(resumer, hold, stop), start)


def _held(config: TrainConfig) -> contextlib.AbstractContextManager[Hold]:
    """The run directory, for the one process of the training that writes there."""
    return held(config.output_dir) if workers.is_chief() else contextlib.nullcontext(Hold(config.output_dir))


@contextlib.contextmanager
def _first_hold(config: TrainConfig) -> Iterator[Hold]:
    """The run directory, made and held.

    Raises:
        RunError: if another training made it meanwhile.
    """
    if workers.is_chief():
        storage.make_dirs(config.output_dir)
    with _held(config) as hold:
        if workers.is_chief() and checkpoints.is_run(config.output_dir):
            raise RunError(f"{config.output_dir}: another training was begun there meanwhile; start again to resume it")
        yield hold


def _identity(plan: Plan) -> str:
    """What workers that train together must have in common: what they compute, and when they ask each other."""
    config = plan.config
    asked = (config.checkpoint_every_steps, config.on_nan, devices.resolve_precision(config.mixed_precision))
    versions = (kseg.__version__, tf.__version__, keras.__version__)
    splits = [plan.dataset.split(name).shards for name in (config.train_split, config.validation_split)]
    counts = plan.training.examples, plan.validation.examples  # some may be skipped
    return repr((checkpoints.compared(config), asked, versions, splits, counts))


def _progress_of(folder: str) -> str:
    """How far a run is, for workers to compare."""
    return f"{len(checkpoints.read_metrics(folder))} epochs" if checkpoints.is_run(folder) else "none"


def _resuming(config: TrainConfig, start: Place, steps: int) -> str:
    """One line on where a run is gone on with."""
    step = f" and step {start.step} of {steps}" if start.step else ""
    return f"resuming {config.output_dir} after epoch {start.epochs}{step} of {config.epochs}"


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


def _finished(config: TrainConfig, done: list[dict]) -> bool:
    """Whether a resumed run has nothing left to do."""
    if len(done) >= config.epochs:
        say(f"{config.output_dir}: all {config.epochs} epochs are done")
        return True
    rule, mious = early_stopping(config), [entry["validation:mIOU"] for entry in done]
    if rule is not None and done and should_stop(mious, **rule):
        say(f"{config.output_dir}: stopped early after epoch {len(done)}")
        return True
    return False
