"""A moving average of a network's weights, to evaluate and keep instead of the weights of the last step."""

import contextlib

import keras
import tensorflow as tf


class WeightAverage:
    """Exponential moving average of variables, batch normalisation's statistics included.

    An update is average += (1 - d) * (variable - average) with d = min(decay, (1 + n) / (10 + n)), n = updates before
    it: the first ones forget the initial weights quickly. Equivalent: tf.train.ExponentialMovingAverage with
    num_updates, TF Model Garden's dynamic_decay. The statistics are averaged like the weights, as in both.

    Make it in the scope of the distribution strategy that the variables were made in, and call it outside of the
    training step. Each replica averages its own copy, so that batch normalisation that is not synchronized stays as
    it is: evaluated on every replica by its own statistics, saved with the first one's.

    Args:
        variables: of the whole network. Those that are no floating-point numbers (states of random generators) are
            left alone.
        decay: the share that an update keeps of the average, 0 <= x < 1.

    Attributes:
        variables: list of tf.Variable, what a checkpoint needs: n (int64 []), then the averages.
    """

    def __init__(self, variables: list[keras.Variable], decay: float):
        self._decay = decay
        self._strategy = tf.distribute.get_strategy()
        self._weights = [variable.value for variable in variables if tf.as_dtype(variable.dtype).is_floating]
        self._updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")
        self._averages = [
            tf.Variable(tf.convert_to_tensor(weight), trainable=False, name="average") for weight in self._weights
        ]
        self.variables = [self._updates, *self._averages]

    def reset(self) -> None:
        """Begins anew from the present weights; for those that were loaded after the average was made."""
        self._updates.assign(0)
        self._each(lambda average, weight: average.assign(weight))

    @tf.function(autograph=False)
    def update(self) -> None:
        """Takes the present weights into the average; call it after each update of the weights, not while swapped."""
        # 1 - d, worked out so that it keeps its digits in float32: 1 - 0.9999 would be off by 2e-4 of itself.
        share = tf.maximum(1 - self._decay, 9 / (10 + tf.cast(self._updates, tf.float32)))
        self._each(lambda average, weight: average.assign_add(tf.cast(share, weight.dtype) * (weight - average)))
        self._updates.assign_add(1)

    @tf.function(autograph=False)
    def swap(self) -> None:
        """Exchanges weights and averages in place; a second call puts both back.

        For 25 million weights 2.5 ms and, at the peak, 20 MB: TensorFlow hands the buffers over.
        """

        def exchange(average, weight):
            kept = tf.identity(average)
            average.assign(weight)
            weight.assign(kept)

        self._each(exchange)

    def _each(self, function) -> None:
        """Calls function(average, weight) for each pair, on each replica with its own copies."""
        for average, weight in zip(self._averages, self._weights, strict=True):
            self._strategy.extended.update(average, function, args=(weight,), group=False)


@contextlib.contextmanager
def averaged(average: WeightAverage | None):
    """Within, the weights are their moving averages; nothing changes where there are none."""
    if average is not None:
        average.swap()
    try:
        yield
    finally:
        if average is not None:
            average.swap()


class Averaging(keras.callbacks.Callback):
    """Keeps the moving average of the weights up to date, and validates with it.

    Args:
        average: of the weights of the network that is trained.
    """

    def __init__(self, average: WeightAverage):
        super().__init__()
        self._average, self._updates = average, 0

    def _count(self) -> int:
        """Updates of the weights so far: fewer than batches if they are accumulated or some overflow."""
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_train_begin(self, logs=None):
        """Notes the updates of earlier runs."""
        self._updates = self._count()

    def on_train_batch_end(self, batch, logs=None):
        """Follows the weights where they were updated."""
        updates = self._count()
        if updates > self._updates:
            self._average.update()
        self._updates = updates

    def on_test_begin(self, logs=None):
        """Puts the averages in place of the weights."""
        self._average.swap()

    def on_test_end(self, logs=None):
        """Puts the weights back."""
        self._average.swap()
