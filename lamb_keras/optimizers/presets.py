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
    # pytorch-image-models: what is not decayed is not adapted. It is what
    # `create_optimizer_v2` makes; the class alone excludes nothing, which is
    # exclude_from_weight_decay=[].
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
    # torch_optimizer's, catalyst's and cybertronai's: ‖w‖ counts up to 10.
    "pytorch_lamb": {
        "weight_decay": 0.0,
        "bias_correction": False,
        "phi_bounds": [0.0, 10.0],
    },
    # fastai's: decay outside the ratio, which is at most 10.
    "fastai": {
        "beta_2": 0.99,
        "epsilon": 1e-5,
        "weight_decay": 0.0,
        "weight_decay_mode": "decoupled",
        "trust_ratio_bounds": [0.0, 10.0],
    },
    # paddle.optimizer.Lamb's default, without always_adapt.
    "paddle": {},
    # LAMBC (arXiv 2011.13584): the ratio is at most 1.
    "lambc": {"trust_ratio_bounds": [0.0, 1.0]},
}
# These switch the trust ratio off altogether where there is no weight decay.
_ADAPT_ONLY_WITH_WEIGHT_DECAY = ("author", "timm", "paddle")


def preset_arguments(preset: str, overrides: dict) -> dict:
    """The arguments of a preset, some of them replaced."""
    if preset not in PRESETS:
        raise ValueError(
            f"There is no preset {preset!r}; expected one of {', '.join(PRESETS)}."
        )
    arguments = {**PRESETS[preset], **overrides}
    if preset in _ADAPT_ONLY_WITH_WEIGHT_DECAY:
        if not arguments.get("weight_decay", True):
            arguments.setdefault("exclude_from_layer_adaptation", [".*"])
    return arguments
