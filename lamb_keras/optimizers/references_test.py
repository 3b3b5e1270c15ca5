"""What the paper and other implementations compute, written out in float64 NumPy.

The other tests of this folder compare `Lamb` and `Lars` with these. Each function
takes one tensor through all its gradients; it was written from the formula, and holds
nothing of `lamb.py` or `lars.py`.
"""

import contextlib

import jax
import keras
import numpy as np
import optax
import pytest

# A 4-D kernel of a norm above 10, a matrix, a bias that starts at zero, a 0-d scalar.
SHAPES = {
    "conv/kernel": (2, 2, 3, 2),
    "dense/kernel": (3, 4),
    "dense/bias": (4,),
    "norm/gamma": (),
}
SMALL, NORMAL = 1e-6, 1.0


def problem(steps=50, gradient_scale=NORMAL, seed=0):
    """Weights, and for each step gradients: dicts of float64 arrays by path."""
    rng = np.random.default_rng(seed)
    weights = {path: rng.normal(size=shape) for path, shape in SHAPES.items()}
    weights["conv/kernel"] *= 5
    weights["dense/bias"] *= 0
    gradients = [
        {path: gradient_scale * rng.normal(size=s) for path, s in SHAPES.items()}
        for _ in range(steps)
    ]
    return weights, gradients


def clipped_to_global_norm(gradients, limit):
    """g · limit / max(limit, ‖all g‖), as NVIDIA, timm and the author do."""
    clipped = []
    for step in gradients:
        total = norm(np.concatenate([np.ravel(g) for g in step.values()]))
        scale = limit / max(limit, total)
        clipped.append({path: g * scale for path, g in step.items()})
    return clipped


def follow(reference, weights, gradients, **arguments):
    """The weights after all steps of a reference that takes one tensor at a time."""
    return {
        path: reference(w, [step[path] for step in gradients], **arguments)
        for path, w in weights.items()
    }


def train(optimizer, weights, gradients):
    """The weights after all steps of a Keras optimizer, in the current `floatx`."""
    variables = make_variables(weights)
    for step in gradients:
        optimizer.apply([to_array(step[path]) for path in weights], variables)
    return {v.path: np.asarray(v.value, "float64") for v in variables}


def train_optax(transformation, weights, gradients):
    """The weights after all steps of an optax transformation."""
    parameters = {path: to_array(w) for path, w in weights.items()}
    state = transformation.init(parameters)
    for step in gradients:
        step = {path: to_array(g) for path, g in step.items()}
        updates, state = transformation.update(step, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    return {path: np.asarray(w, "float64") for path, w in parameters.items()}


def make_variables(weights, dtype=None):
    variables = []
    for path, w in weights.items():
        *scopes, name = path.split("/")
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            dtype = dtype or keras.config.floatx()
            variables.append(keras.Variable(to_array(w, dtype), dtype=dtype, name=name))
    return variables


def to_array(x, dtype=None):
    return jax.numpy.asarray(x, dtype or keras.config.floatx())


@contextlib.contextmanager
def precision(dtype):
    """Keras and JAX in float64 inside the block, and as before after it."""
    before = keras.config.floatx()
    with jax.enable_x64(dtype == "float64"):
        keras.config.set_floatx(dtype)
        try:
            yield
        finally:
            keras.config.set_floatx(before)


def distance(ours, reference):
    """The largest difference, tensor by tensor relative to the largest weight."""
    assert ours.keys() == reference.keys()
    distances = []
    for path, expected in reference.items():
        assert ours[path].shape == expected.shape
        difference = np.max(np.abs(ours[path] - expected))
        distances.append(difference / np.max(np.abs(expected)))
    return float(np.max(distances))  # NaN if any is NaN


def norm(x):
    return np.sqrt(np.sum(np.square(x)))


def guarded(numerator, denominator):
    """The convention of nearly all: a ratio of 1 where either norm is zero."""
    if numerator > 0 and denominator > 0:
        return numerator / denominator
    return 1.0


# LAMB


def algorithm_2(
    w,
    gradients,
    lr,
    wd=0.01,
    b1=0.9,
    b2=0.999,
    eps=1e-6,
    bias_correction=True,
    phi=lambda z: z,
    adapted=True,
):
    """Algorithm 2 of the paper: version 5, or 3 without bias correction."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat, v_hat = m, v
        if bias_correction:
            m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        u = m_hat / (np.sqrt(v_hat) + eps) + wd * w
        w = w - lr * (guarded(phi(norm(w)), norm(u)) if adapted else 1.0) * u
    return w


def keras_lamb(w, gradients, lr, wd=0.0, b1=0.9, b2=0.999, eps=1e-7, most=np.inf):
    """`keras.optimizers.Lamb`: the weights decay first, and outside the ratio.

    fastai's Lamb is that with other numbers, and a bound on the ratio.
    """
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        w = w * (1 - lr * wd)
        m = m + (g - m) * (1 - b1)
        v = v + (g**2 - v) * (1 - b2)
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        w = w - lr * min(guarded(norm(w), norm(u)), most) * u
    return w


def timm_lamb(
    w,
    gradients,
    lr,
    wd=0.01,
    b1=0.9,
    b2=0.999,
    eps=1e-6,
    trust_clip=False,
    always_adapt=False,
):
    """timm's Lamb, after its clip of the gradients to a global norm of 1."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = (m / (1 - b1**t)) / (np.sqrt(v) / np.sqrt(1 - b2**t) + eps)
        u = u + wd * w
        ratio = guarded(norm(w), norm(u)) if wd or always_adapt else 1.0
        w = w - lr * (min(ratio, 1.0) if trust_clip else ratio) * u
    return w


def deepspeed_lamb(
    w, gradients, lr, wd=0.01, b1=0.9, b2=0.999, eps=1e-8, bounds=(0.01, 10.0)
):
    """DeepSpeed's: the ratio of biased moments, the bias corrected on the step size."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (np.sqrt(v) + eps) + wd * w
        ratio = 1.0
        if norm(w) > 0 and norm(u) > 0:
            ratio = np.clip(norm(w) / norm(u), *bounds)
        w = w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * ratio * u
    return w


def cybertronai_lamb(w, gradients, lr, wd=0.01, b1=0.9, b2=0.999, eps=1e-6):
    """cybertronai/pytorch-lamb: no bias correction, ‖w‖ counted up to 10."""
    m = v = np.zeros_like(w)
    for g in gradients:
        m = m * b1 + g * (1 - b1)
        v = v * b2 + g * g * (1 - b2)
        u = m / (np.sqrt(v) + eps) + wd * w
        w = w - lr * guarded(min(norm(w), 10.0), norm(u)) * u
    return w


def nnabla_lamb(
    w, gradients, lr, gamma_l, gamma_u, wd=0.01, b1=0.9, b2=0.999, eps=1e-6
):
    """nnabla's: both bounds on ‖w‖, and no exception for weights that are zero."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * w
        bounded = max(gamma_l, min(gamma_u, norm(w)))
        w = w - lr * (bounded / norm(u) if norm(u) > eps else 1.0) * u
    return w


def author_lamb(
    w, gradients, lr, wd=0.01, b1=0.9, b2=0.999, eps=1e-6, excluded=False, albert=False
):
    """The first author's ResNet-50 code and ALBERT's, after a clip to 1.

    An excluded tensor has neither decay nor ratio. Without any decay the author's has
    no ratio at all; ALBERT's keeps it.
    """
    m = v = np.zeros_like(w)
    for g in gradients:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (np.sqrt(v) + eps)
        ratio = 1.0
        if not excluded:
            u = u + wd * w
            if wd or albert:
                ratio = guarded(norm(w), norm(u))
        w = w - lr * ratio * u
    return w


# LARS. The learning rate may be a list, one for each step, where its place matters.


def torch_lars(
    w,
    gradients,
    lr,
    wd=1e-4,
    momentum=0.9,
    kappa=0.001,
    eps=0.0,
    nesterov=False,
    always_adapt=True,
):
    """timm's and lightly's: the learning rate is applied to the momentum.

    By default theirs has no ratio without weight decay: `always_adapt=False`.
    """
    m = np.zeros_like(w)
    rates = np.broadcast_to(lr, len(gradients))
    for eta, g in zip(rates, gradients, strict=True):
        ratio = 1.0
        if norm(w) > 0 and norm(g) > 0 and (wd or always_adapt):
            ratio = kappa * norm(w) / (norm(g) + wd * norm(w) + eps)
        d = ratio * (g + wd * w)
        m = momentum * m + d
        w = w - eta * (d + momentum * m if nesterov else m)
    return w


def mlperf_lars(
    w, gradients, lr, wd=1e-4, momentum=0.9, kappa=0.001, eps=0.0, nesterov=False
):
    """MLPerf's ResNet-50: the learning rate inside the momentum."""
    m = np.zeros_like(w)
    rates = np.broadcast_to(lr, len(gradients))
    for eta, g in zip(rates, gradients, strict=True):
        ratio = 1.0
        if norm(w) > 0 and norm(g) > 0:
            ratio = kappa * norm(w) / (norm(g) + wd * norm(w) + eps)
        scaled = eta * ratio * (g + wd * w)
        m = momentum * m + scaled
        w = w - (momentum * m + scaled if nesterov else m)
    return w


def norm_of_sum_lars(w, gradients, lr, wd=1e-4, momentum=0.9, kappa=0.001, eps=0.0):
    """optax's and TensorFlow's models': one norm of the gradient with its decay."""
    m = np.zeros_like(w)
    rates = np.broadcast_to(lr, len(gradients))
    for eta, g in zip(rates, gradients, strict=True):
        d = g + wd * w
        ratio = 1.0
        if norm(w) > 0 and norm(d) > 0:
            ratio = kappa * norm(w) / (norm(d) + eps)
        m = momentum * m + eta * ratio * d
        w = w - m
    return w


def algorithm_1(w, gradients, lr, wd=0.01, momentum=0.9, kappa=1.0, eps=0.0):
    """Algorithm 1 of the LAMB paper, with LARS's coefficient and ε."""
    m = np.zeros_like(w)
    rates = np.broadcast_to(lr, len(gradients))
    for eta, g in zip(rates, gradients, strict=True):
        m = momentum * m + (1 - momentum) * (g + wd * w)
        ratio = 1.0
        if norm(w) > 0 and norm(m) > 0:
            ratio = kappa * norm(w) / (norm(m) + eps)
        w = w - eta * ratio * m
    return w


# The references stand in agreement with optax and, where they should be, each other.


@pytest.mark.parametrize("scale", [NORMAL, SMALL])
def test_algorithm_2_is_optax_lamb(scale):
    weights, gradients = problem(gradient_scale=scale)
    with precision("float64"):
        optaxs = train_optax(optax.lamb(0.01, weight_decay=0.1), weights, gradients)
    reference = follow(algorithm_2, weights, gradients, lr=0.01, wd=0.1)
    assert distance(optaxs, reference) < 1e-12


def test_norm_of_sum_lars_is_optax_lars():
    weights, gradients = problem()
    with precision("float64"):
        optaxs = train_optax(
            optax.lars(0.5, weight_decay=0.1, momentum=0.9), weights, gradients
        )
    reference = follow(norm_of_sum_lars, weights, gradients, lr=0.5, wd=0.1)
    assert distance(optaxs, reference) < 1e-12


def test_the_neighbors_meet_where_they_compute_the_same():
    weights, gradients = problem(steps=20)
    of = {"weights": weights, "gradients": gradients, "lr": 0.01, "wd": 0.1}
    v5 = follow(algorithm_2, **of)
    v3 = follow(algorithm_2, bias_correction=False, **of)
    decay_first = follow(keras_lamb, eps=1e-6, **of)
    assert distance(follow(timm_lamb, **of), v5) < 1e-12
    assert distance(follow(author_lamb, **of), v3) < 1e-12
    assert min(distance(decay_first, v5), distance(v3, v5)) > 1e-3
    for nesterov in (False, True):
        torchs = follow(torch_lars, nesterov=nesterov, **of)
        assert distance(torchs, follow(mlperf_lars, nesterov=nesterov, **of)) < 1e-12


def test_float64_does_not_leak_out_of_its_block():
    with precision("float64"):
        assert to_array(1.0).dtype == "float64"
    assert to_array(1.0).dtype == "float32"
    assert keras.config.floatx() == "float32"
