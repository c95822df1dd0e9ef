"""What the gradients of a batch go through before the update rule: sum, loss scaling, accumulation, clipping."""

from collections.abc import Callable

import keras
from keras import ops

INITIAL_LOSS_SCALE = 2.0**15
GROWTH_BATCHES = 2000


class _Numbers:
    """The numbers of the update at hand as tensors: one operation each to trace, not one for each variable's use."""

    def __init__(self):
        self._tensors = {}

    def tensor(self, value: float, dtype):
        """The number in `dtype`, []."""
        dtype = keras.backend.standardize_dtype(dtype)
        return self.once((value, dtype), lambda: ops.convert_to_tensor(value, dtype))

    def once(self, key: tuple, make: Callable):
        """What `make` gives where it is first asked for by this key."""
        if key not in self._tensors:
            self._tensors[key] = make()
        return self._tensors[key]

    def forget(self) -> None:
        """Another update, maybe of another graph, makes its own."""
        self._tensors.clear()


class Gradients:
    """Mixin before a Keras optimizer: what the gradients of a batch go through before the rule sees them.

    1. Sum over the replicas. Keras sums last and would clip, and look for infinities in, each replica's own share.
    2. `loss_scaled`: division by the loss scale. A batch with an infinite or NaN gradient is left out: weights, slots
       and `iterations` stay, the scale halves, and an accumulation takes one batch more. Such a batch still counts for
       the schedule (as with PyTorch's GradScaler), so that the rate of a batch is known beforehand. An overflow on the
       way forward is no such thing: it has spoilt batch normalisation's statistics, and the loss shows it.
    3. `gradient_accumulation_steps` (Keras's argument): one update with the mean of so many batches, at the rate of the
       last of them. A rest at the end of the training makes no update.
    4. `global_clipnorm` (Keras's argument): the gradients together, scaled down to this norm.

    After 1. every replica holds the same gradients and updates its own copy of the variables, which therefore must have
    aggregation "none", Keras's default. Keras's way to them, merge_call, is refused by TensorFlow within a cond.

    The rate of every update is multiplied by the variable `rate_factor`, 1 until a training lowers it.

    Keras's LossScaleOptimizer is no part of it: it takes one replica's word for what is finite on all, and its schedule
    stands still while it skips. Keras's `weight_decay` and `use_ema` have no effect.

    Args:
        loss_scaled: for float16: multiply the loss by a scale that doubles every GROWTH_BATCHES batches and halves
            when a gradient overflows (https://arxiv.org/abs/1710.03740, section 3.2).
        **kwargs: of the Keras optimizer.
    """

    def __init__(self, *, loss_scaled: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.loss_scaled = loss_scaled
        self.numbers = _Numbers()  # no dict, which Keras and TensorFlow would keep track of
        self.rate_factor = self.add_variable((), "ones", dtype="float32", name="rate_factor")
        if loss_scaled:
            initial = keras.initializers.Constant(INITIAL_LOSS_SCALE)
            self.loss_scale = self.add_variable((), initial, dtype="float32", name="loss_scale")
            self._unchanged = self.add_variable((), dtype="int", name="batches_since_the_scale_changed")
            self._finite_batches = self.add_variable((), dtype="int", name="finite_batches")

    @property
    def batches_used(self):
        """Batches so far whose gradients were finite (all, if not `loss_scaled`), int64 []."""
        return self._finite_batches if self.loss_scaled else self._iterations

    @property
    def iterations(self):
        """Updates so far, int64 []."""
        steps = self.gradient_accumulation_steps
        return ops.floor_divide(self.batches_used, steps) if steps else self.batches_used

    def scale_loss(self, loss):
        """The loss to differentiate; Keras's train_step asks for it."""
        return loss * self.loss_scale if self.loss_scaled else loss

    def _backend_apply_gradients(self, grads, trainable_variables):
        """Takes the place of Keras's, called in `apply` by each replica with its own gradients."""
        variables = [variable.value for variable in trainable_variables]
        gradients = self._summed(grads, variables)
        if self.loss_scaled:
            self._unscale(gradients, variables)
        else:
            self._accumulate(gradients, variables)

    def _summed(self, gradients, variables):
        """The gradients summed over the replicas; one replica's own are not copied one by one."""
        from kseg import kernels  # here: it needs TensorFlow, without which this module can be imported

        if kernels.replicas() == 1:
            return list(gradients)
        return [summed for summed, _ in self._all_reduce_sum_gradients(zip(gradients, variables, strict=True))]

    def _unscale(self, gradients, variables):
        def use():
            self._accumulate([gradient / self.loss_scale for gradient in gradients], variables)
            self.assign_add(self._finite_batches, 1)
            grow = ops.equal(self._unchanged, GROWTH_BATCHES - 1)
            self.assign(self.loss_scale, ops.where(grow, self.loss_scale * 2, self.loss_scale))
            self.assign(self._unchanged, ops.where(grow, 0, self._unchanged + 1))

        def leave_out():
            self.assign(self.loss_scale, ops.maximum(self.loss_scale / 2, 1.0))
            self.assign(self._unchanged, 0)

        finite = ops.all(ops.stack([ops.all(ops.isfinite(gradient)) for gradient in gradients]))
        ops.cond(finite, use, leave_out)

    def _accumulate(self, gradients, variables):
        steps = self.gradient_accumulation_steps
        if not steps:
            self._update(gradients, variables)
            return
        sums = [self._accumulated_gradients[self._get_variable_index(variable)] for variable in variables]

        def update():
            pairs = zip(sums, gradients, strict=True)
            self._update([(total + gradient) / steps for total, gradient in pairs], variables)
            for total in sums:
                self.assign(total, ops.zeros_like(total))

        def add():
            for total, gradient in zip(sums, gradients, strict=True):
                self.assign_add(total, gradient)

        ops.cond(ops.equal((self.batches_used + 1) % steps, 0), update, add)

    def _update(self, gradients, variables):
        # Of this batch: the schedule's step is the batch number, skipped ones counted.
        rate = self.learning_rate * self.rate_factor
        try:  # no replica's update comes in between: assigning to variables of aggregation "none" waits for no other
            for gradient, variable in zip(self._clip_gradients(gradients), variables, strict=True):
                self.update_step(gradient, variable, rate)
        finally:
            self.numbers.forget()

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"loss_scaled": self.loss_scaled}


def skipped_steps(optimizer: Gradients, batches: int) -> int:
    """How many of the `batches` so far a loss-scaled optimizer left out for an overflowing gradient; 0 for others."""
    return batches - int(ops.convert_to_numpy(optimizer.batches_used)) if optimizer.loss_scaled else 0
