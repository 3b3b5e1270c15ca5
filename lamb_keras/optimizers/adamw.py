"""AdamW with the weight decay of TensorFlow 1 or that of Keras."""

import keras

from lamb_keras.names import WEIGHT_DECAY_FORMS
from lamb_keras.optimizers.arguments import matches, patterns, require_choice


@keras.saving.register_keras_serializable(package="lamb_keras")
class AdamW(keras.optimizers.AdamW):
    """Adam beside a weight decay that is, or is not, multiplied by the learning rate.

    For a variable w with gradient g, taken before the decay, at step t::

        m ← β₁m + (1 - β₁)g        v ← β₂v + (1 - β₂)g²
        u = m √(1 - β₂ᵗ) / (1 - β₁ᵗ) / (√v + ε)
        w ← w - λw - ηu            "per_step"
        w ← w - ηλw - ηu           "times_learning_rate"

    The first is `tf.contrib.opt.AdamWOptimizer` of TensorFlow 1, the second
    `keras.optimizers.AdamW` itself. The paper's Tables 13-25 fit the first: λ = 0.01
    stays at chance at every learning rate, as 0.99⁷⁰³⁸ ≈ 2e-31 says.

    Args:
        learning_rate: η, a float, a `LearningRateSchedule` or a callable.
        weight_decay: λ, a float, without a default, as TensorFlow 1 had none: what is
            mild in one form empties the weights in the other.
        weight_decay_form: "per_step" or "times_learning_rate".
        exclude_from_weight_decay: a list of regular expressions, each searched for in
            `variable.path`; the variables that match are not decayed. Keras's method of
            this name searches `variable.name`, and can be used besides.
        **kwargs: `beta_1`, `beta_2`, `epsilon` and all else that
            `keras.optimizers.AdamW` takes. TensorFlow 1's ε is 1e-8, Keras's 1e-7.

    Raises:
        ValueError: for another `weight_decay_form`, or no list of regular expressions.

    Example:
        >>> w = keras.Variable([1.0, 2.0])
        >>> nothing = [keras.ops.zeros(2)]
        >>> AdamW(learning_rate=0.1, weight_decay=0.5).apply(nothing, [w])
        >>> w.numpy().tolist()
        [0.5, 1.0]
        >>> other = {"weight_decay": 0.5, "weight_decay_form": "times_learning_rate"}
        >>> AdamW(learning_rate=0.5, **other).apply(nothing, [w])
        >>> w.numpy().tolist()
        [0.375, 0.75]

    Reference:
        Loshchilov and Hutter, 2019, Decoupled Weight Decay Regularization,
        https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        learning_rate=0.001,
        *,
        weight_decay,
        weight_decay_form="per_step",
        exclude_from_weight_decay=None,
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        require_choice(weight_decay_form=(weight_decay_form, WEIGHT_DECAY_FORMS))
        self.weight_decay_form = weight_decay_form
        self.excluded = patterns("exclude_from_weight_decay", exclude_from_weight_decay)

    def build(self, variables):
        if not self.built:
            found = matches("exclude_from_weight_decay", self.excluded, variables)
            self._spared = {
                id(v) for v, spared in zip(variables, found, strict=True) if spared
            }
        super().build(variables)

    def _use_weight_decay(self, variable):
        return id(variable) not in self._spared and super()._use_weight_decay(variable)

    def _apply_weight_decay(self, variables):
        if self.weight_decay_form == "times_learning_rate":
            super()._apply_weight_decay(variables)
            return
        for variable in variables:
            if self._use_weight_decay(variable):
                decay = keras.ops.cast(self.weight_decay, variable.dtype)
                self.assign_sub(variable, decay * variable)

    def get_config(self):
        return {
            **super().get_config(),
            "weight_decay_form": self.weight_decay_form,
            "exclude_from_weight_decay": self.excluded,
        }
