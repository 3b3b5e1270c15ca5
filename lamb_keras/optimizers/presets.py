"""What other implementations of LAMB compute, as arguments of `Lamb`."""

from lamb_keras.names import BIAS, NORMALIZATION

_NORMALIZATION = f"layer_norm|batch_norm|LayerNorm|({'|'.join(NORMALIZATION)})$"
_WITH_BIASES = f"{_NORMALIZATION}|{BIAS}"

PRESETS = {
    # Algorithm 2 with bias correction (arXiv versions 1 and 5).
    "paper_v5": {},
    # Algorithm 2 without it (arXiv version 3).
    "paper_v3": {"bias_correction": False},
    # The first author's ResNet-50 code: normalization variables have neither decay nor
    # trust ratio; no variable has a ratio where there is no weight decay at all.
    "author": {
        "bias_correction": False,
        "exclude_from_weight_decay": [_NORMALIZATION],
        "global_clipnorm": 1.0,
    },
    # google-research/albert: biases are excluded too.
    "albert": {
        "bias_correction": False,
        "exclude_from_weight_decay": [_WITH_BIASES],
        "global_clipnorm": 1.0,
    },
    # NVIDIA's: every variable is adapted.
    "nvlamb": {
        "exclude_from_weight_decay": [_WITH_BIASES],
        "exclude_from_layer_adaptation": [],
        "global_clipnorm": 1.0,
    },
    # TensorFlow Addons: no decay unless asked for.
    "tfa": {"weight_decay": 0.0},
    # pytorch-image-models: what is not decayed is not adapted.
    "timm": {
        "exclude_from_weight_decay": [_WITH_BIASES],
        "global_clipnorm": 1.0,
    },
    # `keras.optimizers.Lamb`: decay outside the trust ratio.
    "keras": {
        "weight_decay": None,
        "weight_decay_mode": "decoupled",
        "epsilon": 1e-7,
        "exclude_from_layer_adaptation": [],
    },
}
# These switch the trust ratio off altogether where there is no weight decay.
_ADAPT_ONLY_WITH_WEIGHT_DECAY = ("author", "timm")


def preset_arguments(preset: str, overrides: dict) -> dict:
    """The arguments of a preset, some of them replaced.

    Raises:
        ValueError: for an unknown preset.

    Example:
        >>> preset_arguments("tfa", {"epsilon": 1e-3})
        {'weight_decay': 0.0, 'epsilon': 0.001}
    """
    if preset not in PRESETS:
        raise ValueError(
            f"There is no preset {preset!r}; expected one of {', '.join(PRESETS)}."
        )
    arguments = {**PRESETS[preset], **overrides}
    if preset in _ADAPT_ONLY_WITH_WEIGHT_DECAY:
        if not arguments.get("weight_decay", True):
            arguments.setdefault("exclude_from_layer_adaptation", [".*"])
    return arguments
