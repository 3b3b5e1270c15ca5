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
    net = torch.nn.Module()
    for path, w in weights.items():
        net.register_parameter(path, torch.nn.Parameter(torch.tensor(w)))
    optimizer = make(net)
    for step, rate in zip(gradients, rates, strict=True):
        for path, parameter in net.named_parameters():
            parameter.grad = torch.tensor(step[path])
        if len(set(rates)) > 1:
            for group in optimizer.param_groups:
                group["lr"] = rate
        optimizer.step()
    return {path: p.detach().numpy() for path, p in net.named_parameters()}


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


def by_tensorflow_1(optimizer, scale, rates):
    import tensorflow.compat.v1 as tf

    weights, gradients = problem(scale)
    names = {"rms_normalization/scale": "LayerNorm/gamma"}  # which it had not then
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.Variable(w, name=names.get(p, p)) for p, w in weights.items()]
        fed = [tf.placeholder(tf.float32, w.shape) for w in weights.values()]
        clipped, _ = tf.clip_by_global_norm(fed, clip_norm=1.0)  # as both files do
        step = optimizer.apply_gradients(list(zip(clipped, variables, strict=True)))
        session.run(tf.global_variables_initializer())
        for each in gradients:
            session.run(step, dict(zip(fed, each.values(), strict=True)))
        return dict(zip(weights, session.run(variables), strict=True))


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


# Where the optimizers are; each is imported in its own environment alone.


def timm():
    # The package itself asks for torchvision, its optimizers don't.
    for name in ("timm", "timm.models"):
        if name not in sys.modules:
            spec = importlib.util.find_spec(name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.modules["timm.models"].group_parameters = None
    return module("timm.optim")


def module(name):
    return importlib.import_module(name)


def one_file(package, path):
    """A module of a package, loaded alone: the rest asks for a GPU or torchvision."""
    [folder] = importlib.util.find_spec(package).submodule_search_locations
    spec = importlib.util.spec_from_file_location("alone", Path(folder) / path)
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    return alone


def tensorflow_1(repository, commit, path):
    """The class `LAMBOptimizer` of a file on GitHub, of TensorFlow 1."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"https://github.com/{repository}"
        subprocess.run(["git", "clone", "--quiet", address, folder], check=True)
        git = ["git", "-C", folder, "show", f"{commit}:{path}"]
        source = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    found = {}
    exec(source.replace("tensorflow as tf", "tensorflow.compat.v1 as tf"), found)
    return found["LAMBOptimizer"]


# What makes an optimizer: of weight decay, then of the parameters or the rate.


def torchs(find, decay="weight_decay", **options):
    options = {"lr": RATE, **options}
    return lambda wd: (
        lambda net: find()(list(net.parameters()), **{decay: wd}, **options)
    )


def timms_factory(wd):
    return lambda net: timm().create_optimizer_v2(net, "lamb", RATE, wd)


def timm_as_nvlamb(wd):
    def make(net):
        groups = [[], []]
        for path, parameter in net.named_parameters():
            groups[path in EXCLUDED].append(parameter)
        decays = zip(groups, (wd, 0.0), strict=True)
        groups = [{"params": group, "weight_decay": decay} for group, decay in decays]
        return timm().Lamb(groups, lr=RATE, always_adapt=True)

    return make


def paddles(**options):
    return lambda wd: (
        lambda parameters: module("paddle").optimizer.Lamb(
            RATE, lamb_weight_decay=wd, parameters=parameters, **options
        )
    )


def tfas(wd):
    addons = module("tensorflow_addons")
    return lambda: addons.optimizers.LAMB(RATE, weight_decay_rate=wd)


def githubs(repository, commit, path, excluded):
    return lambda wd: tensorflow_1(repository, commit, path)(
        RATE, weight_decay_rate=wd, exclude_from_weight_decay=excluded
    )


def keras_lamb(wd):
    return lambda: module("keras").optimizers.Lamb(RATE, weight_decay=wd)


def optaxs(name, **options):
    return lambda wd: (
        lambda rate: getattr(module("optax"), name)(rate, weight_decay=wd, **options)
    )


def torch_optimizer():
    return module("torch_optimizer").Lamb


def colossalai():
    return one_file("colossalai", "nn/optimizer/lamb.py").Lamb


ALWAYS = {"always_adapt": True, "max_grad_norm": None}
OF_LARS = {"lr": LARS_RATES[0], "momentum": 0.9}
ALBERT = ("google-research/albert", "b772393d3dae115b493258ce8e37c17b2cc62100")
AUTHOR = (
    "fastalgo/imagenet_resnet50_lamb",
    "b778c4c55d00d694ca8e1f87e6e8ccc5980544f3",
)
LARS = ("timm_lars", "lightly_lars", "optax_lars")
IMPLEMENTATIONS = {
    "timm": (by_torch, timms_factory),
    "timm_always_adapt": (by_torch, torchs(lambda: timm().Lamb, **ALWAYS)),
    "timm_as_nvlamb": (by_torch, timm_as_nvlamb),
    "timm_trust_clip": (
        by_torch,
        torchs(lambda: timm().Lamb, **ALWAYS, trust_clip=True),
    ),
    "timm_lars": (by_torch, torchs(lambda: timm().Lars, **OF_LARS)),
    "lightly_lars": (
        by_torch,
        torchs(lambda: module("lightly.utils.lars").LARS, **OF_LARS),
    ),
    "torch_optimizer": (by_torch, torchs(torch_optimizer)),
    "torch_optimizer_debias": (by_torch, torchs(torch_optimizer, debias=True)),
    "catalyst": (
        by_torch,
        torchs(lambda: module("catalyst.contrib.optimizers.lamb").Lamb),
    ),
    "colossalai": (by_torch, torchs(colossalai)),
    "colossalai_bias_correction": (
        by_torch,
        torchs(colossalai, bias_correction=True),
    ),
    "holocron": (by_torch, torchs(lambda: one_file("holocron", "optim/lamb.py").LAMB)),
    "fastai": (by_torch, torchs(lambda: module("fastai.optimizer").Lamb, decay="wd")),
    "pytorch_optimizer": (
        by_torch,
        torchs(lambda: module("pytorch_optimizer").Lamb),
    ),
    "paddle": (by_paddle, paddles()),
    "paddle_always_adapt": (by_paddle, paddles(always_adapt=True)),
    "tfa": (by_tensorflow, tfas),
    "albert": (
        by_tensorflow_1,
        githubs(*ALBERT, "lamb_optimizer.py", ["LayerNorm", "layer_norm", "bias"]),
    ),
    "author": (
        by_tensorflow_1,
        githubs(*AUTHOR, "optimization.py", ["LayerNorm", "layer_norm"]),
    ),
    "keras": (by_keras, keras_lamb),
    "optax": (by_optax, optaxs("lamb")),
    "optax_lars": (by_optax, optaxs("lars", momentum=0.9)),
}
# What pip installs into one environment, and what without its own list.
PACKAGES = {
    (by_torch,): (
        "torch==2.13.0 numpy fastcore fasttransform fastprogress pandas scipy "
        "matplotlib requests pyyaml pillow plum-dispatch packaging",
        "timm==1.0.31 torch_optimizer==0.3.0 pytorch_ranger catalyst==22.4 "
        "colossalai==0.5.0 pylocron==0.3.0 fastai==2.8.12 lightly==1.6.0 "
        "pytorch_optimizer==4.1.0",
    ),
    (by_paddle,): ("paddlepaddle==3.3.1", ""),
    (by_tensorflow, by_tensorflow_1): (
        "tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0",
        "",
    ),
    (by_keras, by_optax): ("keras==3.15.1 jax==0.10.2 optax==0.2.8", ""),
}


def keep(name):
    """Writes what an implementation computes, in this environment."""
    import numpy as np

    steps, of_decay = IMPLEMENTATIONS[name]
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
    for libraries, (packages, alone) in PACKAGES.items():
        chosen = [name for name in names if IMPLEMENTATIONS[name][0] in libraries]
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
