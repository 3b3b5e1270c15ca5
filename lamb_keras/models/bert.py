"""BERT: KerasHub's encoder with the heads for pre-training and for answering."""

import math
import warnings

import jax
import jax.numpy as jnp
import keras
import numpy as np
from tqdm import TqdmWarning

from lamb_keras.models.shapes import require_whole
from lamb_keras.names import BIAS

# Devlin et al.'s 1024 wide net starts from a deviation of 0.02.
_DEVIATION, _OF_WIDTH = 0.02, 1024


def bert(
    vocab_size,
    *,
    layers=24,
    width=1024,
    heads=16,
    sequence_length=512,
    dropout=0.1,
    seed=None,
):
    """The encoder of BERT: at its defaults and BERT's vocabulary, BERT-Large.

    KerasHub's `BertBackbone`, from tokens to a vector for each and one for all. Its
    matrices start normal, cut off at two deviations, of deviation 0.02 · √(1024 /
    width): narrow nets start with the outputs that a wide one has.

    Args:
        vocab_size: tokens there are.
        layers: of self-attention and feed-forward.
        width: of a token's vector; the feed-forward layers are four times as wide.
        heads: of an attention, which divide the width.
        sequence_length: the longest that it can be given.
        dropout: of what attentions and layers give, while training.
        seed: of the initial weights.

    Returns:
        A `keras_hub.models.BertBackbone`, a `keras.Model` from a dict of token_ids,
        segment_ids and padding_mask, each (n, length), to a dict of sequence_output
        (n, length, width) and pooled_output (n, width).

    Raises:
        ValueError: for a size that is not a whole number, or heads that do not divide
            the width.

    Example:
        >>> bert(30, layers=1, width=8, heads=2, sequence_length=16).count_params()
        1344
    """
    require_whole(vocab_size=vocab_size, layers=layers, width=width, heads=heads)
    if width % heads:
        raise ValueError(
            f"width is {width} and heads {heads}; expected a width that is a multiple "
            "of the heads."
        )
    backbone = _keras_hub().models.BertBackbone(
        vocabulary_size=vocab_size,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=4 * width,
        dropout=dropout,
        max_sequence_length=sequence_length,
    )
    _start(backbone, seed)
    return backbone


def preset(name):
    """A published encoder with its weights, from KerasHub or its cache.

    Args:
        name: such as "bert_large_en_uncased", or a folder that holds one.

    Raises:
        ValueError: for one that there isn't, or that cannot be had.
    """
    BertBackbone = _keras_hub().models.BertBackbone
    try:
        return BertBackbone.from_preset(name)
    except Exception as error:  # of KerasHub, of Kaggle's client, of the network
        raise ValueError(
            f"the preset {name!r} could not be loaded ({error}); expected one of "
            f"{', '.join(sorted(BertBackbone.presets))}, or the folder of one."
        ) from error


def pretraining(backbone, seed=None):
    """The encoder with the heads that are pre-trained.

    Args:
        backbone: from `bert`, whose weights are this model's.
        seed: of the heads' initial weights.

    Returns:
        A `keras.Model` from a dict of the encoder's inputs and mask_positions
        (n, predictions) to a dict of tokens (n, predictions, vocab_size) and
        is_next (n, 2), both logits.

    Example:
        >>> model = pretraining(bert(30, layers=1, width=8, heads=2))
        >>> {name: logits.shape for name, logits in model.output.items()}
        {'tokens': (None, None, 30), 'is_next': (None, 2)}
    """
    positions = keras.Input((None,), dtype="int32", name="mask_positions")
    encoded = backbone.output
    head = _keras_hub().layers.MaskedLMHead(
        token_embedding=backbone.token_embedding,
        intermediate_activation=lambda x: keras.activations.gelu(x, approximate=True),
        layer_norm_epsilon=1e-12,
        name="masked_lm",
    )
    is_next = keras.layers.Dense(2, dtype="float32", name="next_sentence")
    model = keras.Model(
        {**backbone.input, "mask_positions": positions},
        {
            "tokens": head(encoded["sequence_output"], mask_positions=positions),
            "is_next": is_next(encoded["pooled_output"]),
        },
    )
    # The head's embedding is the encoder's, which has started.
    _start(model, seed, but=backbone)
    return model


def answering(backbone, seed=None):
    """The encoder with a head that points at where an answer starts and ends.

    Args:
        backbone: from `bert`, whose weights are this model's.
        seed: of the head's initial weights.

    Returns:
        A `keras.Model` from a dict of the encoder's inputs to logits (n, length, 2).

    Example:
        >>> answering(bert(30, layers=1, width=8, heads=2)).output_shape
        (None, None, 2)
    """
    head = keras.layers.Dense(2, dtype="float32", name="answer_span")
    model = keras.Model(backbone.input, head(backbone.output["sequence_output"]))
    _start(model, seed, but=backbone)
    return model


class Scanned:
    """A model whose encoder's equal layers are one, in a loop over their weights.

    It computes what the model does, and is compiled as fast as one of a single layer.

    Args:
        model: from `pretraining` or `answering`.

    Attributes:
        stacked: for each array that `stack` gives, whether its slices are of layers.

    Example:
        >>> model = pretraining(bert(30, layers=3, width=8, heads=2))
        >>> scanned = Scanned(model)
        >>> weights = scanned.stack([v.value for v in model.trainable_variables])
        >>> len(model.trainable_variables), len(weights), weights[-1].shape
        (62, 30, (3, 8))
    """

    def __init__(self, model):
        encoder = _keras_hub().layers.TransformerEncoder
        layers = [layer for layer in model.layers if isinstance(layer, encoder)]
        start, end = layers[0].input[0], layers[-1].output
        self._before = keras.Model(model.input, start)
        self._after = keras.Model([end, *model.input.values()], model.output)
        self._names = list(model.input)
        self._layer, self._variables = layers[0], model.trainable_variables
        self._generators = model.non_trainable_variables
        # Of each variable of a layer those of all layers.
        self._equal = list(zip(*(x.trainable_variables for x in layers), strict=True))
        of_layers = (x.non_trainable_variables for x in layers)
        self._equal_generators = list(zip(*of_layers, strict=True))
        known = {id(variable) for each in self._equal for variable in each}
        self._others = [v for v in self._variables if id(v) not in known]
        self.stacked = [False] * len(self._others) + [True] * len(self._equal)

    def stack(self, weights: list) -> list:
        """The weights of the model's variables; at last, those of layers as stacks."""
        held = _by_id(self._variables, weights)
        return _of(self._others, held) + _stacks(self._equal, held)

    def unstack(self, weights: list) -> list:
        """The inverse of `stack`."""
        others, stacks = self._parts(weights)
        held = _by_id(self._others, others) | _slices(self._equal, stacks)
        return _of(self._variables, held)

    def stateless_call(self, weights, non_trainable, inputs, training=False):
        """As of a `keras.Model`, with weights from `stack`."""
        others, stacks = self._parts(weights)
        held = _by_id(self._others, others) | _by_id(self._generators, non_trainable)

        def call(part, inputs):
            variables, generators = (
                part.trainable_variables,
                part.non_trainable_variables,
            )
            values = _of(variables, held), _of(generators, held)
            outputs, states = part.stateless_call(*values, inputs, training=training)
            held.update(_by_id(generators, states))
            return outputs

        def layer(x, of_layer):
            mask = inputs["padding_mask"]
            return self._layer.stateless_call(
                *of_layer, x, padding_mask=mask, training=training
            )

        x = call(self._before, inputs)
        of_layers = stacks, _stacks(self._equal_generators, held)
        x, states = jax.lax.scan(layer, x, of_layers)
        held.update(_slices(self._equal_generators, states))
        outputs = call(self._after, [x, *(inputs[name] for name in self._names)])
        return outputs, _of(self._generators, held)

    def _parts(self, weights):
        return weights[: len(self._others)], weights[len(self._others) :]


def _by_id(variables, values):
    return {id(v): value for v, value in zip(variables, values, strict=True)}


def _of(variables, held):
    return [held[id(variable)] for variable in variables]


def _stacks(equal, held):
    return [jnp.stack(_of(variables, held)) for variables in equal]


def _slices(equal, stacks):
    slices = [jnp.unstack(stack) for stack in stacks]
    return _by_id(sum(equal, ()), sum(slices, ()))


def _keras_hub():
    """KerasHub, which takes seconds to import and asks for widgets in a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)
        import keras_hub
    return keras_hub


def _start(model, seed, but=None):
    """Draw the matrices of a fresh model, except those of a part that has started."""
    random = np.random.RandomState(seed)
    started = {id(v) for v in but.trainable_variables} if but else set()
    deviation = _DEVIATION * math.sqrt(_OF_WIDTH / (but or model).hidden_dim)
    for variable in model.trainable_variables:
        matrix = len(variable.shape) > 1 and variable.name != BIAS
        if matrix and id(variable) not in started:
            drawn = random.standard_normal(variable.shape)
            while (beyond := np.abs(drawn) > 2).any():
                drawn[beyond] = random.standard_normal(int(beyond.sum()))
            variable.assign((deviation * drawn).astype("float32"))
    for variable in model.non_trainable_variables if but is None else ():
        # The state of a dropout's generator, which Keras starts from a global one.
        variable.assign(random.randint(0, 2**31, variable.shape).astype("uint32"))
