"""Update rules with the reference's weight decay and a rate of its own for the head."""

import math
from collections.abc import Callable

import keras
from keras import ops

from kseg.errors import UsageError
from kseg.optimizers.gradients import Gradients


class _ReferenceRules(Gradients):
    """Mixin before a Keras optimizer: per-variable rates, and weight decay inside the update of each variable.

    Keras has no learning-rate multiplier per variable, and its own `weight_decay` is decoupled for every optimizer.
    Here the multiplied thing is the rate, not the gradient: for adam, rmsprop and adagrad a multiplied gradient would
    cancel out.

    Args:
        is_head: whether a `keras.Variable` belongs to the head; asked once, when the optimizer is built.
        head_multiplier: rate of the head's variables / rate of the others.
        rate_multipliers: instead of these two, a multiplier for each trainable variable in order (from a saved config).
        no_decay: whether a `keras.Variable` is left out of the decay; asked once. None = all decay, biases and batch
            normalisation included, as in GluonCV's train.py without --no-wd.
        decays: instead of it, whether each trainable variable decays, in order (from a saved config).
        coupled_decay: wd in gradient + wd * variable, before momentum, after clipping (L2; MXNet's `wd`).
        decoupled_decay: wd in variable -= rate * wd * variable (AdamW, https://arxiv.org/abs/1711.05101).
        **kwargs: of `Gradients` and the Keras optimizer.
    """

    def __init__(
        self,
        *,
        is_head: Callable[[keras.Variable], bool] | None = None,
        head_multiplier: float = 1.0,
        rate_multipliers: list[float] | None = None,
        no_decay: Callable[[keras.Variable], bool] | None = None,
        decays: list[bool] | None = None,
        coupled_decay: float = 0.0,
        decoupled_decay: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.is_head = is_head
        self.head_multiplier = head_multiplier
        self.rate_multipliers = rate_multipliers
        self.no_decay = no_decay
        self.decays = decays
        self.coupled_decay = coupled_decay
        self.decoupled_decay = decoupled_decay

    def build(self, variables):
        """Makes the slots for `variables` (keras.Variable) and looks up each one's rate and decay."""
        if self.built:
            return
        super().build(variables)
        if self.rate_multipliers is None:
            self.rate_multipliers = [
                self.head_multiplier if self.is_head is not None and self.is_head(variable) else 1.0
                for variable in variables
            ]
        if self.decays is None:
            self.decays = [self.no_decay is None or not self.no_decay(variable) for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        index = self._get_variable_index(variable)
        gradient = ops.cast(gradient, variable.dtype)
        rate, multiplier = ops.cast(learning_rate, variable.dtype), self.rate_multipliers[index]
        if multiplier != 1:  # most have 1, and each operation left out is a millisecond less to trace
            rate = rate * multiplier
        if self.coupled_decay and self.decays[index]:
            gradient = self._decayed(gradient, variable, rate)
        if self.decoupled_decay and self.decays[index]:
            self.assign_sub(variable, rate * self.decoupled_decay * variable)
        super().update_step(gradient, variable, rate)

    def _decayed(self, gradient, variable, rate):
        """Sees to the coupled decay of an update at this rate; returns the gradient to make it with."""
        return gradient + self.numbers.tensor(self.coupled_decay, variable.dtype) * variable

    def get_config(self) -> dict:
        """Constructor arguments; `is_head` and `no_decay` are in it as what they answered."""
        return super().get_config() | {
            "rate_multipliers": self.rate_multipliers and [float(rate) for rate in self.rate_multipliers],
            "decays": self.decays and [bool(decays) for decays in self.decays],
            "coupled_decay": self.coupled_decay,
            "decoupled_decay": self.decoupled_decay,
        }


class _InPlaceSGD(keras.optimizers.SGD):
    """Keras's SGD by one operation that needs no memory of its own; gradient and rate come in the variable's dtype.

    Keras's four operations hold twice a kernel's size: 75 MB for fcn's head, whose turn comes while all activations are
    still kept. To be mixed with `Gradients`, for its `numbers`.
    """

    @property
    def in_place(self) -> bool:
        """Whether it is that operation; without a momentum, and on Keras's other backends, it is Keras's own."""
        return self.momentum > 0 and keras.backend.backend() == "tensorflow"

    def update_step(self, gradient, variable, learning_rate):
        if not self.in_place:
            super().update_step(gradient, variable, learning_rate)
            return
        from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

        slot = self.momentums[self._get_variable_index(variable)]
        momentum = self.numbers.tensor(self.momentum, variable.dtype)
        kernels.apply_momentum(variable, slot.value, gradient, learning_rate, momentum, nesterov=self.nesterov)


@keras.saving.register_keras_serializable("kseg")
class SGD(_ReferenceRules, _InPlaceSGD):
    """Keras's SGD (momentum holds the rate, as MXNet's sgd and nag) with the reference's decay and head rate."""

    def _decayed(self, gradient, variable, rate):
        """Subtracts the decay from the slot, where the update takes it from: momentum x (slot - pull x variable).

        pull = rate x decay / momentum. decay x variable, for the gradient, would be there for all variables from a
        step's beginning, since it waits for nothing, to its end: 0.15 of 2.33 GB of a training of fcn on resnet-50.
        """
        if not self.in_place or self.nesterov:  # nesterov steps by rate x gradient, too: the decay must be in it
            return super()._decayed(gradient, variable, rate)
        from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

        index = self._get_variable_index(variable)
        share = self.coupled_decay / self.momentum
        pull = self.numbers.once(("pull", self.rate_multipliers[index], variable.dtype), lambda: rate * share)
        kernels.subtract(self.momentums[index].value, pull, variable)
        return gradient


class _CenteredRMSprop(keras.optimizers.RMSprop):
    """RMSprop, centered and with momentum. Equivalent: MXNet's rmspropalex_update; Graves,
    https://arxiv.org/abs/1308.0850, equations 38 to 45.

    Keras's formula but for the clip at 0: under a constant gradient the variance `velocity - average ** 2` rounds to as
    low as -8e-6 (float32, gradient 9, rho 0.9), whose root is NaN.
    """

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        velocity, average, rho = self._velocities[index], self._average_gradients[index], self.rho
        self.assign(velocity, rho * velocity + (1 - rho) * ops.square(gradient))
        self.assign(average, rho * average + (1 - rho) * gradient)
        variance = ops.maximum(velocity - ops.square(average), 0.0)
        step = learning_rate * gradient / ops.sqrt(variance + self.epsilon)
        if self.momentum > 0:
            momentum = self._momentums[index]
            self.assign(momentum, self.momentum * momentum + step)
            step = momentum
        self.assign_sub(variable, step)


class _ExactAdam(keras.optimizers.Adam):
    """Adam. Equivalent: MXNet's Adam; Kingma and Ba, https://arxiv.org/abs/1412.6980.

    Keras's formula but for the bias correction: its `1 - beta_2 ** step` in float32 is off by 6e-5 at the first step,
    which moves a weight by 1.6e-6 of itself within the reference's six steps; expm1 keeps the digits.
    """

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        mean, square = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, variable.dtype)
        correction = ops.sqrt(-ops.expm1(step * math.log(self.beta_2))) / -ops.expm1(step * math.log(self.beta_1))
        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient))
        self.assign_sub(variable, learning_rate * correction * mean / (ops.sqrt(square) + self.epsilon))


@keras.saving.register_keras_serializable("kseg")
class RMSprop(_ReferenceRules, _CenteredRMSprop):
    """Centered RMSprop with the head's rate."""


@keras.saving.register_keras_serializable("kseg")
class Adam(_ReferenceRules, _ExactAdam):
    """Adam with the head's rate; with `decoupled_decay` it is AdamW."""


@keras.saving.register_keras_serializable("kseg")
class Adagrad(_ReferenceRules, keras.optimizers.Adagrad):
    """Keras's Adagrad with the head's rate."""


@keras.saving.register_keras_serializable("kseg")
class Adadelta(_ReferenceRules, keras.optimizers.Adadelta):
    """Keras's Adadelta with the head's rate."""


def build_optimizer(
    name: str,
    *,
    learning_rate: keras.optimizers.schedules.LearningRateSchedule | float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    gamma1: float = 0.9,
    gamma2: float = 0.9,
    head_multiplier: float = 1.0,
    is_head: Callable[[keras.Variable], bool] | None = None,
    no_decay: Callable[[keras.Variable], bool] | None = None,
    clip_norm: float | None = None,
    accumulation_steps: int = 1,
    loss_scaled: bool = False,
) -> Gradients:
    """The update rule of --optimizer, with MXNet's constants; make it in the scope of the distribution strategy.

    Args:
        name: "adadelta", "adagrad", "adam", "adamw", "nag", "rmsprop" or "sgd".
        learning_rate: of the variables that are not the head's; a schedule is asked with the 0-based batch number.
        momentum: of sgd and nag.
        weight_decay: of sgd (coupled) and adamw (decoupled); the others have none.
        gamma1: rmsprop's decay of the averages of the gradient and its square.
        gamma2: rmsprop's momentum.
        head_multiplier: the head's rate is this times learning_rate.
        is_head: whether a trainable `keras.Variable` belongs to the head; None = none does.
        no_decay: whether a trainable `keras.Variable` is left out of the decay; None = none is.
        clip_norm: largest norm of all gradients together, > 0; greater ones are scaled down to it. None = any.
        accumulation_steps: batches whose mean gradient makes one update, >= 1.
        loss_scaled: whether the loss is scaled against underflow, for float16.

    Raises:
        UsageError: for an unknown name; lists the known ones.
    """
    rule, constants = _rule(name, momentum, weight_decay, gamma1, gamma2)
    rates = {"learning_rate": learning_rate, "head_multiplier": head_multiplier}
    asked = {"is_head": is_head, "no_decay": no_decay, "loss_scaled": loss_scaled}
    steps = accumulation_steps if accumulation_steps > 1 else None
    return rule(**constants, **rates, **asked, global_clipnorm=clip_norm, gradient_accumulation_steps=steps)


def _rule(name: str, momentum: float, weight_decay: float, gamma1: float, gamma2: float) -> tuple[type, dict]:
    """The class of a rule and its constants; the arguments are `build_optimizer`'s."""
    rules = {
        "adadelta": (Adadelta, {}),
        "adagrad": (Adagrad, {"initial_accumulator_value": 0.0, "epsilon": 1e-7}),
        "adam": (Adam, {"epsilon": 1e-8}),
        "adamw": (Adam, {"epsilon": 1e-8, "decoupled_decay": weight_decay, "name": "adamw"}),
        "nag": (SGD, {"momentum": momentum, "nesterov": True, "name": "nag"}),
        "rmsprop": (RMSprop, {"rho": gamma1, "momentum": gamma2, "epsilon": 1e-8, "centered": True}),
        "sgd": (SGD, {"momentum": momentum, "coupled_decay": weight_decay}),
    }
    if name not in rules:
        raise UsageError(f"--optimizer={name}: allowed: {', '.join(rules)}")
    return rules[name]


def is_norm_or_bias(variable: keras.Variable) -> bool:
    """Whether a variable is a batch normalisation's gamma or beta, or a bias: what GluonCV's --no-wd does not decay."""
    return variable.path.rpartition("/")[2] in ("gamma", "beta", "bias")
