import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras.models import resnet50
from lamb_keras.models.layers import BATCH_LAST, CHANNELS_LAST

SMALL = {"width": 4, "blocks": (1, 2), "classes": 10}


def _trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def _count(channels, stem, classes, width, blocks):
    """The parameters by hand."""
    total, before = stem**2 * channels * width + 2 * width, width
    for stage, count in enumerate(blocks):
        inner, outer = width * 2**stage, 4 * width * 2**stage
        for block in range(count):
            total += before * inner + 9 * inner**2 + inner * outer + 4 * inner
            total += 2 * outer
            if block == 0:
                total += before * outer + 2 * outer
            before = outer
    return total + (before + 1) * classes


@pytest.mark.slow
def test_at_the_papers_size_it_is_resnet_50():
    model = resnet50((224, 224, 3), seed=0)
    assert _trainable(model) == 25_557_032 == _count(3, 7, 1000, 64, (3, 4, 6, 3))
    convolutions = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    # Fifty with the last layer; the four shortcuts are not counted.
    assert len(convolutions) == 49 + 4
    # None after a block's last normalization and after a shortcut's.
    relus = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    assert len(relus) == 1 + 3 * 16
    sizes = {
        name: model.get_layer(name).output.shape
        for name in ("stem_relu", "stem_pool", "stage_1_block_3_relu", "batch_first")
    }
    assert sizes == {
        "stem_relu": (64, 112, 112, None),
        "stem_pool": (64, 56, 56, None),
        "stage_1_block_3_relu": (256, 56, 56, None),
        "batch_first": (None, 7, 7, 2048),
    }


@pytest.mark.parametrize(
    ("shape", "last"), [((8, 8, 1), 2), ((32, 32, 3), 8), ((64, 64, 3), 4)]
)
def test_small_images_keep_their_resolution_in_the_stem(shape, last):
    model = resnet50(shape, 10, width=4, blocks=(1, 1, 1), seed=0)
    assert model.get_layer("batch_first").output.shape == (None, last, last, 64)
    stem = 3 if shape[0] < 64 else 7
    assert _trainable(model) == _count(shape[2], stem, 10, 4, (1, 1, 1))
    logits, _ = jax.eval_shape(
        lambda x: model.stateless_call(
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
            x,
            training=True,
        ),
        jax.ShapeDtypeStruct((5, *shape), "float32"),
    )
    assert logits.shape == (5, 10)


def test_a_fresh_block_adds_nothing_to_its_shortcut():
    model = resnet50((8, 8, 1), **SMALL, seed=0)
    zero = {v.path for v in model.weights if "gamma" in v.path and not np.any(v)}
    assert zero == {
        f"{block}_norm_3/gamma"
        for block in ("stage_1_block_1", "stage_2_block_1", "stage_2_block_2")
    }
    before, after = (
        model.get_layer(f"stage_2_block_{block}_relu").output for block in (1, 2)
    )
    x = np.random.default_rng(0).random((3, 8, 8, 1), "float32")
    before, after = jax.jit(keras.Model(model.input, [before, after]))(x)
    np.testing.assert_array_equal(before, after)


def test_both_forms_are_the_same_net():
    x = np.random.default_rng(0).random((6, 8, 8, 1), "float32")
    a, b = (
        resnet50((8, 8, 1), **SMALL, seed=3, form=form)
        for form in (BATCH_LAST, CHANNELS_LAST)
    )
    assert [v.path for v in a.weights] == [v.path for v in b.weights]
    weights = [
        np.ones_like(v) if "gamma" in v.path else np.asarray(v)
        for v in a.trainable_variables
    ]

    def gradients(model):
        others = [v.value for v in model.non_trainable_variables]

        def loss(weights):
            logits, others_after = model.stateless_call(
                weights, others, x, training=True
            )
            return jnp.mean(logits[:, 0] ** 2), (logits, others_after)

        return jax.jit(jax.grad(loss, has_aux=True))(weights)

    for ours, plain in zip(
        jax.tree.leaves(gradients(a)), jax.tree.leaves(gradients(b)), strict=True
    ):
        scale = max(1e-3, np.abs(plain).max())
        np.testing.assert_allclose(ours / scale, plain / scale, atol=2e-3)


def test_convolutions_start_as_he_and_the_last_layer_narrow():
    model = resnet50((8, 8, 1), width=32, blocks=(1,), classes=100, seed=0)
    kernel = np.asarray(model.get_layer("stage_1_block_1_conv_2").kernel)
    assert kernel.std() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.05)
    kernel = np.asarray(model.get_layer("stage_1_block_1_conv_3").kernel)
    assert kernel.std() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert np.std(model.get_layer("logits").kernel) == pytest.approx(0.01, rel=0.05)


def test_mixed_precision_ends_in_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = resnet50((8, 8, 1), **SMALL, seed=0)
    finally:
        keras.config.set_dtype_policy(policy)
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), "float32")
    assert jax.eval_shape(model, images).dtype == "float32"
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (4, 8, 1)}, r"\(4, 8, 1\); expected .* least 8"),
        ({"blocks": ()}, r"blocks is \(\); expected"),
        ({"blocks": (1, 0)}, r"blocks\[1\] is 0; expected a whole number"),
        ({"width": 2.5}, r"width is 2.5; expected a whole number"),
        ({"classes": True}, r"classes is True; expected a whole number"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        resnet50(**{"image_shape": (8, 8, 1), "width": 4, **options})
