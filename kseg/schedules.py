"""The course of the learning rate over the steps of a training."""

import math

import keras
from keras import ops

from kseg.errors import UsageError


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A course of the rate, with a linear warm-up before it.

    Args:
        learning_rate: the full rate, > 0.
        warmup_steps: how many steps the rate takes from 0 at step 0 to the full rate at step warmup_steps - 1, >= 0.
            Equivalent: GluonCV's LRScheduler("linear", base_lr=0, target_lr=learning_rate). (It fails with one step;
            here that step has rate 0.)
    """

    def __init__(self, learning_rate: float, warmup_steps: int = 0):
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """The rate at a 0-based step, float32 []."""
        step = ops.cast(step, "float32")
        rate = self._rate(step)
        if not self.warmup_steps:
            return rate
        rising = self.learning_rate * step / float(max(self.warmup_steps - 1, 1))
        return ops.where(step < float(self.warmup_steps), rising, rate)

    def _rate(self, step):
        """The rate at a step (float32 []) that is not one of the warm-up's."""
        raise NotImplementedError

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"learning_rate": self.learning_rate, "warmup_steps": self.warmup_steps}


class _Falling(_Schedule):
    """A rate that falls from `learning_rate` after the warm-up to 0 at the last step, total_steps - 1, and stays there.

    Args:
        learning_rate: at step warmup_steps.
        total_steps: of the whole training, > warmup_steps. If one step follows the warm-up, it has `learning_rate`.
        warmup_steps: the first steps, in which the rate rises.
    """

    def __init__(self, learning_rate: float, total_steps: int, warmup_steps: int = 0):
        super().__init__(learning_rate, warmup_steps)
        self.total_steps = total_steps

    def _remaining(self, step):
        """The share of the way that is left, float32 [], 1 to 0."""
        last = max(self.total_steps - self.warmup_steps - 1, 1)
        # Subtracted before dividing: 1 - step / last would lose the digits of the last steps' rates in float32.
        return ops.maximum(float(last + self.warmup_steps) - step, 0.0) / float(last)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"total_steps": self.total_steps}


@keras.saving.register_keras_serializable("kseg")
class Poly(_Falling):
    """learning_rate * (1 - step / (total_steps - 1)) ** power, both counted from the end of the warm-up.

    Equivalent: GluonCV's LRScheduler("poly"). Source: DeepLab, https://arxiv.org/abs/1606.00915, section 4.1, which
    found power 0.9.
    """

    def __init__(self, learning_rate: float, total_steps: int, warmup_steps: int = 0, power: float = 0.9):
        super().__init__(learning_rate, total_steps, warmup_steps)
        self.power = power

    def _rate(self, step):
        return self.learning_rate * self._remaining(step) ** self.power

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"power": self.power}


@keras.saving.register_keras_serializable("kseg")
class Cosine(_Falling):
    """learning_rate * (1 + cos(pi * step / (total_steps - 1))) / 2, both counted from the end of the warm-up.

    Equivalent: GluonCV's LRScheduler("cosine"). Source: SGDR, https://arxiv.org/abs/1608.03983, one cycle.
    """

    def _rate(self, step):
        # The same value as sin**2, which keeps its digits near the end where 1 + cos cancels.
        return self.learning_rate * ops.sin(math.pi / 2 * self._remaining(step)) ** 2


@keras.saving.register_keras_serializable("kseg")
class Step(_Schedule):
    """Multiplies the rate by a factor after each of the given epochs.

    Equivalent: GluonCV's LRScheduler("step"). The epochs are those of the whole training, warm-up included, as in its
    segmentation train.py; one that ends within the warm-up takes effect after it.

    Args:
        learning_rate: the full rate.
        steps_per_epoch: batches in an epoch, >= 1.
        step_epochs: epochs, counted from 1, after whose end the rate is multiplied.
        factor: 0 to 1.
        warmup_steps: the first steps, in which the rate rises.
    """

    def __init__(
        self,
        learning_rate: float,
        steps_per_epoch: int,
        step_epochs: tuple[int, ...],
        factor: float = 0.1,
        warmup_steps: int = 0,
    ):
        super().__init__(learning_rate, warmup_steps)
        self.steps_per_epoch = steps_per_epoch
        self.step_epochs = tuple(step_epochs)
        self.factor = factor

    def _rate(self, step):
        rate = ops.convert_to_tensor(self.learning_rate, "float32")
        for count, epoch in enumerate(self.step_epochs, 1):
            reduced = self.learning_rate * self.factor**count
            rate = ops.where(step >= float(epoch * self.steps_per_epoch), reduced, rate)
        return rate

    def get_config(self) -> dict:
        """Constructor arguments."""
        names = ("steps_per_epoch", "step_epochs", "factor")
        return super().get_config() | {name: getattr(self, name) for name in names}


def build_schedule(
    name: str,
    *,
    learning_rate: float,
    epochs: int,
    steps_per_epoch: int,
    step_epochs: tuple[int, ...] = (),
    factor: float = 0.1,
    warmup_epochs: int = 0,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule of --lr_scheduler: a callable from a 0-based batch number to the rate, float32 [].

    Args:
        name: "poly", "cosine" or "step".
        learning_rate: the full rate.
        epochs: of the whole training, warm-up included, >= 1.
        steps_per_epoch: batches in an epoch, >= 1.
        step_epochs: for "step": epochs after which the rate is multiplied.
        factor: for "step": what it is multiplied by.
        warmup_epochs: first epochs, in which the rate rises from 0 to learning_rate, 0 to epochs - 1; "poly" and
            "cosine" then start at learning_rate and run over the remaining epochs.

    Raises:
        UsageError: for an unknown name; lists the known ones.
    """
    total, warmup = epochs * steps_per_epoch, warmup_epochs * steps_per_epoch
    builders = {
        "poly": lambda: Poly(learning_rate, total, warmup),
        "cosine": lambda: Cosine(learning_rate, total, warmup),
        "step": lambda: Step(learning_rate, steps_per_epoch, step_epochs, factor, warmup),
    }
    if name not in builders:
        raise UsageError(f"--lr_scheduler={name}: allowed: {', '.join(builders)}")
    return builders[name]()
