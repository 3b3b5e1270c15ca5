"""What released LAMBs and LARSs compute, kept as arrays for the tests to compare with.

    python3 findings/implementations.py [NAME ...]

Each package is installed, pinned, into an environment of its own in a temporary folder
(1 to 2 GB each, PyTorch's and TensorFlow's), takes 20 steps in each of six situations,
and leaves its weights in findings/implementations/NAME.npz. The tests of
lamb_keras/optimizers/implementations_test.py compare presets with these.

Seen: docs/implementations.md.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).with_suffix("")
PROBLEM = FOLDER / "problem.npz"
SHAPES = {
    "small/kernel": (8, 16),
    "big/kernel": (16, 4),
    "big/bias": (16,),
    "rms_normalization/scale": (16,),
    "dead/kernel": (4, 4),
}
EXCLUDED = ("big/bias", "rms_normalization/scale")
STEPS, RATE = 20, 0.01
# By name: weight decay, and what all gradients are multiplied by.
SITUATIONS = {
    f"wd {wd:g}, gradients x {scale:g}": (wd, scale)
    for wd in (0.0, 0.1)
    for scale in (1.0, 1e-6, 1e4)
}
# For each step of LARS; cut, so that it shows whether past gradients have the old rate.
LARS_RATES = [1.0] * 10 + [0.1] * 10


def make_problem():
    """Weights, one norm of 0.23, one of 38, zeros and ones; gradients, one all zero."""
    import numpy as np

    rng = np.random.default_rng(0)
    weights = {path: rng.normal(size=shape) for path, shape in SHAPES.items()}
    weights["small/kernel"] *= 0.02
    weights["big/kernel"] *= 5
    weights["big/bias"] *= 0
    weights["rms_normalization/scale"] = np.ones(16)
    gradients = {p: 0.013 * rng.normal(size=(STEPS, *s)) for p, s in SHAPES.items()}
    gradients["dead/kernel"] *= 0
    np.savez_compressed(
        PROBLEM,
        **{f"weights {path}": w.astype("float32") for path, w in weights.items()},
        **{f"gradients {path}": g.astype("float32") for path, g in gradients.items()},
    )


def problem(scale):
    """The weights, and the gradients of each step: dicts of float32 arrays by path."""
    import numpy as np

    with np.load(PROBLEM) as kept:
        weights = {path: kept[f"weights {path}"] for path in SHAPES}
        gradients = {p: np.float32(scale) * kept[f"gradients {p}"] for p in SHAPES}
    return weights, [{p: g[t] for p, g in gradients.items()} for t in range(STEPS)]


# How each library takes its steps; `make` makes the optimizer of parameters by path.


def by_torch(make, scale, rates):
    import torch

    weights, gradients = problem(scale)
    module = torch.nn.Module()
    for path, w in weights.items():
        module.register_parameter(path, torch.nn.Parameter(torch.tensor(w)))
    optimizer = make(module)
    for step, rate in zip(gradients, rates, strict=True):
        for path, parameter in module.named_parameters():
            parameter.grad = torch.tensor(step[path])
        if len(set(rates)) > 1:
            for group in optimizer.param_groups:
                group["lr"] = rate
        optimizer.step()
    return {path: p.detach().numpy() for path, p in module.named_parameters()}


def by_paddle(make, scale, rates):
    import paddle

    weights, gradients = problem(scale)
    parameters = {
        path: paddle.create_parameter(
            w.shape, "float32", attr=paddle.nn.initializer.Assign(w)
        )
        for path, w in weights.items()
    }
    optimizer = make(list(parameters.values()))
    for step in gradients:
        terms = [
            (p * paddle.to_tensor(step[path])).sum() for path, p in parameters.items()
        ]
        paddle.add_n(terms).backward()
        optimizer.step()
        optimizer.clear_grad()
    return {path: p.numpy() for path, p in parameters.items()}


def by_tensorflow(make, scale, rates):
    import tensorflow as tf

    weights, gradients = problem(scale)
    variables = {path: tf.Variable(w) for path, w in weights.items()}
    optimizer = make()
    for step in gradients:
        optimizer.apply_gradients(
            (tf.constant(step[p]), v) for p, v in variables.items()
        )
    return {path: v.numpy() for path, v in variables.items()}


def by_keras(make, scale, rates):
    import keras
    import numpy as np

    weights, gradients = problem(scale)
    variables = {path: keras.Variable(w) for path, w in weights.items()}
    optimizer = make()
    for step in gradients:
        optimizer.apply([*step.values()], [*variables.values()])
    return {path: np.asarray(v.value) for path, v in variables.items()}


def by_optax(make, scale, rates):
    import jax.numpy as jnp
    import optax

    weights, gradients = problem(scale)
    parameters = {path: jnp.asarray(w) for path, w in weights.items()}
    optimizer = make(lambda count: jnp.asarray(rates)[count])
    state = optimizer.init(parameters)
    for step in gradients:
        updates, state = optimizer.update(step, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    return parameters


# The implementations: of each its library, and the optimizer by weight decay.


def timm_optim():
    # The package itself asks for torchvision, its optimizers don't.
    for name in ("timm", "timm.models"):
        if name not in sys.modules:
            spec = importlib.util.find_spec(name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.modules["timm.models"].group_parameters = None
    return importlib.import_module("timm.optim")


def one_file(package, path):
    """A module of a package, loaded alone: the rest asks for a GPU or torchvision."""
    [folder] = importlib.util.find_spec(package).submodule_search_locations
    spec = importlib.util.spec_from_file_location("alone", Path(folder) / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timm_factory(wd):
    optim = timm_optim()
    return lambda module: optim.create_optimizer_v2(
        module, "lamb", lr=RATE, weight_decay=wd
    )


def timm_lamb(wd, **options):
    optim = timm_optim()
    return lambda module: optim.Lamb(
        module.parameters(), lr=RATE, weight_decay=wd, **options
    )


def timm_as_nvlamb(wd):
    optim = timm_optim()

    def make(module):
        groups = [[], []]
        for path, parameter in module.named_parameters():
            groups[path in EXCLUDED].append(parameter)
        return optim.Lamb(
            [
                {"params": group, "weight_decay": decay}
                for group, decay in zip(groups, (wd, 0.0), strict=True)
            ],
            lr=RATE,
            always_adapt=True,
        )

    return make


def timm_lars(wd):
    optim = timm_optim()
    return lambda module: optim.Lars(
        module.parameters(), lr=LARS_RATES[0], momentum=0.9, weight_decay=wd
    )


def lightly_lars(wd):
    from lightly.utils.lars import LARS

    return lambda module: LARS(
        module.parameters(), lr=LARS_RATES[0], momentum=0.9, weight_decay=wd
    )


def torch_optimizer_lamb(wd, **options):
    import torch_optimizer

    return lambda module: torch_optimizer.Lamb(
        module.parameters(), lr=RATE, weight_decay=wd, **options
    )


def catalyst_lamb(wd):
    from catalyst.contrib.optimizers.lamb import Lamb

    return lambda module: Lamb(module.parameters(), lr=RATE, weight_decay=wd)


def colossalai_lamb(wd, **options):
    alone = one_file("colossalai", "nn/optimizer/lamb.py")
    return lambda module: alone.Lamb(
        module.parameters(), lr=RATE, weight_decay=wd, **options
    )


def holocron_lamb(wd):
    alone = one_file("holocron", "optim/lamb.py")
    return lambda module: alone.LAMB(module.parameters(), lr=RATE, weight_decay=wd)


def fastai_lamb(wd):
    from fastai.optimizer import Lamb

    return lambda module: Lamb(list(module.parameters()), lr=RATE, wd=wd)


def paddle_lamb(wd, **options):
    import paddle

    return lambda parameters: paddle.optimizer.Lamb(
        RATE, lamb_weight_decay=wd, parameters=parameters, **options
    )


def tfa_lamb(wd):
    import tensorflow_addons as tfa

    return lambda: tfa.optimizers.LAMB(RATE, weight_decay_rate=wd)


def keras_lamb(wd):
    import keras

    return lambda: keras.optimizers.Lamb(RATE, weight_decay=wd)


def optax_lamb(wd):
    import optax

    return lambda rate: optax.lamb(rate, weight_decay=wd)


def optax_lars(wd):
    import optax

    return lambda rate: optax.lars(rate, weight_decay=wd, momentum=0.9)


TORCH, PADDLE, TENSORFLOW, JAX = "torch", "paddle", "tensorflow", "jax"
LARS = ("timm_lars", "lightly_lars", "optax_lars")
IMPLEMENTATIONS = {
    "timm": (TORCH, by_torch, timm_factory),
    "timm_always_adapt": (
        TORCH,
        by_torch,
        lambda wd: timm_lamb(wd, always_adapt=True, max_grad_norm=None),
    ),
    "timm_as_nvlamb": (TORCH, by_torch, timm_as_nvlamb),
    "timm_trust_clip": (
        TORCH,
        by_torch,
        lambda wd: timm_lamb(
            wd, always_adapt=True, max_grad_norm=None, trust_clip=True
        ),
    ),
    "timm_lars": (TORCH, by_torch, timm_lars),
    "lightly_lars": (TORCH, by_torch, lightly_lars),
    "torch_optimizer": (TORCH, by_torch, torch_optimizer_lamb),
    "torch_optimizer_debias": (
        TORCH,
        by_torch,
        lambda wd: torch_optimizer_lamb(wd, debias=True),
    ),
    "catalyst": (TORCH, by_torch, catalyst_lamb),
    "colossalai": (TORCH, by_torch, colossalai_lamb),
    "colossalai_bias_correction": (
        TORCH,
        by_torch,
        lambda wd: colossalai_lamb(wd, bias_correction=True),
    ),
    "holocron": (TORCH, by_torch, holocron_lamb),
    "fastai": (TORCH, by_torch, fastai_lamb),
    "paddle": (PADDLE, by_paddle, paddle_lamb),
    "paddle_always_adapt": (
        PADDLE,
        by_paddle,
        lambda wd: paddle_lamb(wd, always_adapt=True),
    ),
    "tfa": (TENSORFLOW, by_tensorflow, tfa_lamb),
    "keras": (JAX, by_keras, keras_lamb),
    "optax": (JAX, by_optax, optax_lamb),
    "optax_lars": (JAX, by_optax, optax_lars),
}
# What pip installs for each library, and what without its own list.
PACKAGES = {
    TORCH: (
        "torch==2.13.0 numpy fastcore fasttransform fastprogress pandas scipy "
        "matplotlib requests pyyaml pillow plum-dispatch packaging",
        "timm==1.0.31 torch_optimizer==0.3.0 pytorch_ranger catalyst==22.4 "
        "colossalai==0.5.0 pylocron==0.3.0 fastai==2.8.12 lightly==1.6.0",
    ),
    PADDLE: ("paddlepaddle==3.3.1", ""),
    TENSORFLOW: ("tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0", ""),
    JAX: ("keras==3.15.1 jax==0.10.2 optax==0.2.8", ""),
}


def keep(name):
    """Writes what an implementation computes, in this environment."""
    import numpy as np

    _, steps, of_decay = IMPLEMENTATIONS[name]
    rates = LARS_RATES if name in LARS else [RATE] * STEPS
    kept = {}
    for situation, (wd, scale) in SITUATIONS.items():
        for path, w in steps(of_decay(wd), scale, rates).items():
            kept[f"{situation} {path}"] = np.asarray(w)
    np.savez_compressed(FOLDER / f"{name}.npz", **kept)
    print(name)


def main(names):
    unknown = {*names} - {*IMPLEMENTATIONS}
    if unknown:
        sys.exit(
            f"unknown: {', '.join(unknown)}; there are {', '.join(IMPLEMENTATIONS)}"
        )
    names = names or [*IMPLEMENTATIONS]
    for library, (packages, alone) in PACKAGES.items():
        chosen = [name for name in names if IMPLEMENTATIONS[name][0] == library]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = f"{folder}/bin/python"
            pip = [python, "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *packages.split()], check=True)
            if alone:
                subprocess.run([*pip, "--no-deps", *alone.split()], check=True)
            here = [python, __file__, "--here", *chosen]
            environment = {**os.environ, "KERAS_BACKEND": "jax"}
            subprocess.run(here, check=True, env=environment)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        if not PROBLEM.exists():
            make_problem()
        for each in sys.argv[2:]:
            keep(each)
    else:
        main(sys.argv[1:])
