"""From what --loss and --class_weights say to the loss that training minimises."""

from collections.abc import Sequence

import keras

from kseg.errors import UsageError
from kseg.registry import LOSSES, PIXEL_LOSSES, find, loss_parts


@keras.saving.register_keras_serializable("kseg")
class SumOfLosses(keras.losses.Loss):
    """The sum of losses, each of labels [N, H, W] and logits [N, H, W, C] with a float32 [] of its own.

    Args:
        parts: the losses, of this package: what they return is not scaled by Keras either.
    """

    def __init__(self, parts: Sequence[keras.losses.Loss], name: str | None = None):
        # A name is a scope of the graph, in which TensorFlow allows no "+".
        super().__init__(name=name or "_".join(part.name for part in parts), reduction=None)
        self.parts = tuple(parts)

    def call(self, y_true, y_pred):
        """Labels [N, H, W], logits [N, H, W, C] -> the sum of the parts' values, float32 []."""
        return sum(part.call(y_true, y_pred) for part in self.parts)

    def get_config(self) -> dict:
        """Constructor arguments, the parts with theirs."""
        return {"parts": [keras.losses.serialize(part) for part in self.parts], "name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> "SumOfLosses":
        """The loss whose `get_config` gave `config`."""
        return cls(**config | {"parts": [keras.losses.deserialize(part) for part in config["parts"]]})


def build_loss(
    spec: str, *, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
) -> keras.losses.Loss:
    """The loss that --loss names: one of kseg.registry.LOSSES, or the sum of several as in "cross_entropy+dice".

    Args:
        spec: names joined by "+", each once; the parts count the same.
        class_weights: one factor >= 0 a class, for the parts in `PIXEL_LOSSES`; the others have no use for it.
        label_smoothing: 0 <= x < 1, likewise.

    Returns:
        A loss of labels [N, H, W], 255 = ignored, and logits [N, H, W, C].

    Raises:
        UsageError: for an unknown or a repeated name, or an option out of its range.
    """
    parts = loss_parts(spec)
    options = {"class_weights": class_weights, "label_smoothing": label_smoothing}
    losses = [find("loss", LOSSES, part)(**(options if part in PIXEL_LOSSES else {})) for part in parts]
    return losses[0] if len(losses) == 1 else SumOfLosses(losses)


def balanced_weights(pixels_per_class: Sequence[int]) -> tuple[float, ...]:
    """One weight a class, inverse to its pixels: all pixels / (classes that have some * pixels of the class).

    The mean weight over the labelled pixels is 1, so the loss stays on its scale. A class without pixels gets 0.
    Equivalent: scikit-learn's compute_class_weight("balanced").

    Raises:
        UsageError: if no class has a pixel.
    """
    total, present = sum(pixels_per_class), sum(pixels > 0 for pixels in pixels_per_class)
    if not total:
        raise UsageError(
            "--class_weights=balanced: the training split has no labelled pixel; allowed: none, or w0,w1,…"
        )
    return tuple(total / (present * pixels) if pixels else 0.0 for pixels in pixels_per_class)
