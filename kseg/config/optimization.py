"""Flags of kseg-train: loss, update rule, learning rate, stopping."""

import dataclasses
import math
import re

from kseg.config.values import ABOVE_0, BELOW_1, NOT_NEGATIVE, POSITIVE, UNIT_INTERVAL
from kseg.errors import UsageError
from kseg.knobs import OneOf, Range, knob
from kseg.registry import LOSSES, OPTIMIZERS, PIXEL_LOSSES, SCHEDULES, loss_parts

DECAYING = ("sgd", "adamw")
NO_WEIGHTS, BALANCED = "none", "balanced"
WEIGHTS_ALLOWED = f"{NO_WEIGHTS}, {BALANCED}, or a number >= 0 for each class, comma-separated, not all 0"


@dataclasses.dataclass(frozen=True)
class OptimizationFlags:
    """Loss, update rule, learning rate, stopping."""

    epochs: int = knob(30, "Passes over the training split.", allowed=POSITIVE, unit="epochs")
    loss: str = knob(
        "cross_entropy",
        "What training minimises over the labelled pixels of the whole batch; a sum with +, as in cross_entropy+dice. "
        "cross_entropy and focal are means over the pixels, ohem over the hard ones, dice and lovasz over classes.",
        allowed=f"one or more of {', '.join(LOSSES)}, joined by +",
    )
    class_weights: str = knob(
        NO_WEIGHTS,
        f"Weights of the classes' pixels in {', '.join(PIXEL_LOSSES)}; balanced = the labelled pixels of the training "
        "split / (classes that occur x pixels of the class). The divisor of the mean stays the number of pixels.",
        allowed=WEIGHTS_ALLOWED,
    )
    label_smoothing: float = knob(
        0.0,
        f"Share of the label's probability that is spread over all classes, in {', '.join(PIXEL_LOSSES)}.",
        allowed=BELOW_1,
    )

    optimizer: str = knob("sgd", "The update rule.", allowed=OneOf(OPTIMIZERS))
    learning_rate: float = knob(0.001, "Initial learning rate of the backbone.", allowed=Range(0, 1, low_open=True))
    head_learning_rate_multiplier: float = knob(10.0, "The heads learn at this multiple of the rate.", allowed=ABOVE_0)
    momentum: float = knob(0.9, "Momentum of sgd and nag.", allowed=Range(0, 1, low_open=True))
    weight_decay: float = knob(0.0001, "Weight decay of sgd and adamw; 0 = none.", allowed=BELOW_1)
    no_decay_norm_bias: bool = knob(False, "Leave batch normalisation and biases out of the weight decay.")
    gamma1: float = knob(0.9, "Decay of rmsprop's averages of the gradient and its square.", allowed=UNIT_INTERVAL)
    gamma2: float = knob(0.9, "Momentum of rmsprop.", allowed=UNIT_INTERVAL)
    clip_norm: float = knob(
        0.0, "Scale the gradient of all weights together down to this norm; 0 = never.", allowed=Range(low=0)
    )
    gradient_accumulation_steps: int = knob(
        1, "Batches whose mean gradient makes one update.", allowed=POSITIVE, unit="batches"
    )
    ema_decay: float = knob(
        0.0,
        "Evaluate, keep and export a moving average of the weights, of which an update keeps this share; 0 = none.",
        allowed=BELOW_1,
    )

    lr_scheduler: str = knob("poly", "Course of the learning rate.", allowed=OneOf(SCHEDULES))
    lr_scheduler_factor: float = knob(0.1, "What lr_scheduler=step multiplies the rate by.", allowed=UNIT_INTERVAL)
    lr_scheduler_step: str = knob(
        None,
        'Epochs after which lr_scheduler=step multiplies the rate, as in "10, 20"; required for it.',
        allowed="comma-separated rising integers >= 1",
        unit="epochs",
    )
    warmup_epochs: int = knob(
        0,
        "Epochs, not all, over which the rate first rises from 0 in equal steps.",
        allowed=NOT_NEGATIVE,
        unit="epochs",
    )

    early_stopping: bool = knob(False, "Stop when the validation mIOU no longer improves.")
    early_stopping_min_epochs: int = knob(5, "Never stop before this many.", allowed=NOT_NEGATIVE, unit="epochs")
    early_stopping_patience: int = knob(
        4, "Epochs within the tolerance before the stop; 0 is taken as 1.", allowed=NOT_NEGATIVE, unit="epochs"
    )
    early_stopping_tolerance: float = knob(
        0.0, "A relative improvement of mIOU not above this counts as none.", allowed=UNIT_INTERVAL
    )

    def _check_loss(self):
        """Refuses unknown losses, wrong weights, and options that no part of the loss has a use for."""
        parts = loss_parts(self.loss)
        options = {"class_weights": self.class_weights != NO_WEIGHTS, "label_smoothing": self.label_smoothing > 0}
        for name in (name for name, used in options.items() if used):
            if not set(parts) & set(PIXEL_LOSSES):
                raise UsageError(
                    f"--{name}={getattr(self, name)}: without effect on --loss={self.loss}; "
                    f"allowed: with {', '.join(PIXEL_LOSSES)}"
                )
        weights = self.listed_class_weights
        if weights is not None and not (weights and max(weights) > 0):
            raise UsageError(f"--class_weights={self.class_weights}: allowed: {WEIGHTS_ALLOWED}")

    @property
    def listed_class_weights(self) -> tuple[float, ...] | None:
        """class_weights as numbers, () where they are none; None for the named kinds."""
        if self.class_weights in (NO_WEIGHTS, BALANCED):
            return None
        try:
            weights = tuple(float(part) for part in self.class_weights.split(","))
        except ValueError:
            return ()
        return weights if all(math.isfinite(weight) and weight >= 0 for weight in weights) else ()

    def _check_decay(self):
        """Refuses to spare weights from a decay that there is not."""
        if self.no_decay_norm_bias and (self.optimizer not in DECAYING or not self.weight_decay):
            raise UsageError(
                f"--no_decay_norm_bias=True: --optimizer={self.optimizer} --weight_decay={self.weight_decay} decays no "
                f"weight; allowed: with {', '.join(DECAYING)} and a weight decay above 0"
            )

    def _check_schedule(self):
        """Refuses steps that do not rise, steps without their schedule, and a warm-up without end."""
        if self.warmup_epochs >= self.epochs:
            raise UsageError(
                f"--warmup_epochs={self.warmup_epochs}: allowed: integer, 0 <= x < {self.epochs}, the --epochs"
            )
        if self.lr_scheduler == "step" and not self.lr_scheduler_step:
            raise UsageError(
                "--lr_scheduler_step is required with --lr_scheduler=step; "
                'allowed: comma-separated rising integers >= 1, epochs, as in "10, 20"'
            )
        if self.lr_scheduler != "step" and self.lr_scheduler_step:
            raise UsageError(
                f"--lr_scheduler_step={self.lr_scheduler_step}: contradicts --lr_scheduler={self.lr_scheduler}; "
                "allowed: only with --lr_scheduler=step"
            )
        steps = self.scheduler_epochs
        if self.lr_scheduler_step and (not steps or steps[0] < 1 or list(steps) != sorted(set(steps))):
            raise UsageError(
                f"--lr_scheduler_step={self.lr_scheduler_step}: allowed: comma-separated rising integers >= 1, epochs"
            )

    @property
    def scheduler_epochs(self) -> tuple[int, ...]:
        """lr_scheduler_step as integers, () where it is not set."""
        text = self.lr_scheduler_step or ""
        if not re.fullmatch(r"\s*\d{1,9}\s*(,\s*\d{1,9}\s*)*", text):
            return ()  # not set, or refused by _check_schedule
        return tuple(int(part) for part in text.split(","))
