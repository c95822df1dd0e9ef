"""Training on several devices, of one machine or of several: what Keras's fit needs changed, and its input."""

from collections.abc import Callable

import keras
import tensorflow as tf

from kseg.data.pipeline import WHOLE, Share
from kseg.data.streaming import as_written
from kseg.models.trainee import Trainee


def shared_out(strategy: tf.distribute.Strategy, make: Callable[[Share], tf.data.Dataset]):
    """The dataset as the devices of the strategy take it, each machine reading its own share; `make` makes one."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return make(WHOLE)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        workers = context.num_input_pipelines
        return make(Share(context.input_pipeline_id, workers, replicas // workers))

    return strategy.distribute_datasets_from_function(of_worker)


class ReplicatedTrainee(Trainee):
    """A Trainee whose steps run on several devices; their logs are those of this machine's devices, averaged.

    Two steps in Keras 3's fit take for granted that all devices are in this process: it averages the first batch over
    them to build the model, and each step's logs over their first dimension, which numbers do not have. What the
    callbacks see of a step is a running score that they show or look for NaN in; the losses in it are those of the
    whole batch (kseg.losses.reduction), so a NaN shows everywhere at once. At an epoch's end Keras reads the metrics'
    own variables, which are summed over all devices of all machines.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Builds model, loss and metrics for pictures of any size, without a batch."""
        if self.built and self._compile_loss.built and self._compile_metrics.built:
            return
        shape = (None, None, None)
        batch = keras.KerasTensor((*shape, 3), "uint8"), keras.KerasTensor(shape, "uint8")
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=batch)

    def make_train_function(self, force=False):
        """Keras's, with local logs."""
        if self.train_function is None or force:
            self.train_function = self._on_devices(self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        """Keras's, with local logs."""
        if self.test_function is None or force:
            self.test_function = self._on_devices(self.test_step)
        return self.test_function

    def _on_devices(self, step: Callable) -> Callable:
        """iterator -> logs of a step on each device's next batch."""
        strategy = self.distribute_strategy

        def run(batch):
            logs = strategy.run(as_written(step), args=(batch,))
            return tf.nest.map_structure(lambda of_devices: _mean(strategy, of_devices), logs)

        on_batch = tf.function(run, autograph=False)
        # In one graph, as pictures of other sizes would be traced anew, by machines at different steps: they would no
        # longer understand each other's sums.
        on_iterator = tf.function(lambda iterator: run(iterator.get_next()), autograph=False)

        def function(iterator):
            distributed = isinstance(iterator, tf.distribute.DistributedIterator)
            return on_iterator(iterator) if distributed else on_batch(next(iterator))

        return function


def _mean(strategy: tf.distribute.Strategy, value) -> tf.Tensor:
    """Over the devices of this machine."""
    return tf.reduce_mean(tf.stack(strategy.experimental_local_results(value)), axis=0)
