"""From a plan to a network that is ready to fit."""

import dataclasses

import keras
import tensorflow as tf

from kseg import checkpoints, devices, workers
from kseg.averaging import WeightAverage
from kseg.config import TrainConfig
from kseg.drawing import Drawing
from kseg.losses.build import build_loss
from kseg.metrics import ConfusionMatrix
from kseg.models.segmenter import freeze, is_head
from kseg.models.trainee import Trainee
from kseg.optimizers import build_optimizer, is_norm_or_bias
from kseg.plan import Plan
from kseg.replicated import ReplicatedTrainee
from kseg.resuming import Scores
from kseg.schedules import build_schedule


@dataclasses.dataclass(frozen=True)
class Assembly:
    """What one training consists of.

    Attributes:
        network: the functional network with its auxiliary head; its weights are what is kept.
        model: `network` compiled for fit.
        schedule: the learning rate of a batch by its number, from 0.
        scores: of the training metrics, over all replicas.
        average: the moving average of the network's weights, None without --ema_decay.
    """

    network: keras.Model
    model: Trainee
    schedule: keras.optimizers.schedules.LearningRateSchedule
    scores: Scores
    average: WeightAverage | None

    @property
    def _learning(self) -> list[tf.Variable]:
        """Of the network and the optimizer."""
        return [variable.value for variable in self.network.variables + self.model.optimizer.variables]

    @property
    def state(self) -> list[tf.Variable]:
        """Everything that a resumed training goes on from."""
        return self._learning + (self.average.variables if self.average else [])

    @property
    def step_variables(self) -> list[tf.Variable]:
        """What a training step reads and writes: of the network, the optimizer and the training metrics."""
        return self._learning + self.scores.variables


def assemble(plan: Plan, precision: str, replicas: int) -> Assembly:
    """Builds network, optimizer, loss and metric, with fresh weights; in the scope of the distribution strategy.

    Args:
        plan: of `make_plan`.
        precision: one of `devices.PRECISIONS`.
        replicas: devices that share a batch.
    """
    config = plan.config
    schedule, drawing = _schedule(config, plan.steps_per_epoch), Drawing()
    optimizer = _optimizer(config, schedule, loss_scaled=precision == "float16")
    # On several machines TensorFlow sends the first one's initial values to all: they must be there by then.
    later = None if workers.joined() else drawing.later
    network = checkpoints.build_network(config, config.num_classes, precision, later)
    freeze(network, stages=config.freeze_stages, batch_norm=config.freeze_backbone_bn)
    optimizer.build(network.trainable_variables)
    drawing.finish(network)
    matrix = ConfusionMatrix(config.num_classes, config.absent_class_iou, on_processor=config.deterministic)
    kind = Trainee if replicas == 1 else ReplicatedTrainee
    model = kind(network, aux_loss_weight=config.aux_loss_weight)
    model.compile(
        optimizer=optimizer,
        loss=build_loss(config.loss, class_weights=plan.class_weights, label_smoothing=config.label_smoothing),
        metrics=[matrix],
        jit_compile=devices.resolve_jit(config.jit_compile, replicas),
        auto_scale_loss=False,  # `_optimizer` does it
    )
    average = WeightAverage(network.weights, config.ema_decay) if config.ema_decay else None
    (loss, *_) = model.metrics  # the mean of the losses; compiled metrics are listed only once they were used
    counted = [variable.value for metric in (loss, matrix) for variable in metric.variables]
    return Assembly(network, model, schedule, Scores(counted, tf.distribute.get_strategy()), average)


def _schedule(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    return build_schedule(
        config.lr_scheduler,
        learning_rate=config.learning_rate,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        step_epochs=config.scheduler_epochs,
        factor=config.lr_scheduler_factor,
        warmup_epochs=config.warmup_epochs,
    )


def _optimizer(config: TrainConfig, schedule, loss_scaled: bool) -> keras.optimizers.Optimizer:
    return build_optimizer(
        config.optimizer,
        learning_rate=schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        gamma1=config.gamma1,
        gamma2=config.gamma2,
        head_multiplier=config.head_learning_rate_multiplier,
        is_head=is_head,
        no_decay=is_norm_or_bias if config.no_decay_norm_bias else None,
        clip_norm=config.clip_norm or None,
        accumulation_steps=config.gradient_accumulation_steps,
        loss_scaled=loss_scaled,
    )
