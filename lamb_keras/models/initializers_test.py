import jax
import keras
import numpy as np
import pytest

from lamb_keras.models import davidnet, lenet, resnet50
from lamb_keras.models.initializers import Drawn, Filled
from lamb_keras.training.compilations import counts

SHAPE = (3, 5, 32, 64)
FANS = {None: 1, "fan_in": 15 * 32, "fan_out": 15 * 64, "fan_avg": 15 * 48}


@pytest.mark.parametrize("per", FANS)
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_the_variance_is_as_told(distribution, per):
    drawn = np.asarray(Drawn(distribution, 2.0, per, seed=1)(SHAPE))
    assert drawn.shape == SHAPE and drawn.dtype == "float32"
    deviation = (2.0 / FANS[per]) ** 0.5
    assert drawn.std() == pytest.approx(deviation, rel=0.02)
    assert abs(drawn.mean()) < 0.02 * deviation
    largest = np.abs(drawn).max() / deviation
    assert largest > 4 if distribution == "normal" else 1.7 < largest < 3**0.5


def test_the_numbers_are_numpys_promised_ones():
    drawn = Drawn("uniform", 1.0, seed=(7, 0))((3,))
    expected = np.random.RandomState(np.random.MT19937((7, 0))).random_sample(3)
    np.testing.assert_allclose(drawn, 3**0.5 * (2 * expected - 1), rtol=1e-6)


@pytest.mark.parametrize("make", [Filled, lambda value: Drawn("normal", value)])
def test_the_type_is_the_one_asked_for(make):
    assert make(1.0)((2, 2), "bfloat16").dtype == "bfloat16"
    assert make(1.0)((2, 2)).dtype == "float32"


NETS = {
    "lenet": lambda seed: lenet((8, 8, 1), seed=seed),
    "davidnet": lambda seed: davidnet((8, 8, 1), width=2, seed=seed),
    "resnet50": lambda seed: resnet50((8, 8, 1), 10, width=4, blocks=(1, 1), seed=seed),
}


@pytest.mark.parametrize("name", NETS)
class TestEveryNet:
    def test_is_built_without_compiling(self, name):
        before = counts()[0]
        NETS[name](seed=0)
        assert counts()[0] == before

    def test_starts_as_its_seed_alone_says(self, name):
        a, b, c = (NETS[name](seed).get_weights() for seed in (1, 1, 2))
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
        kernels = [i for i, x in enumerate(a) if x.ndim > 1]
        assert all(np.any(a[i] != c[i]) for i in kernels)

    def test_without_a_seed_starts_anew_every_time(self, name):
        a, b = (NETS[name](None).get_weights()[0] for _ in range(2))
        assert np.any(a != b)

    def test_without_a_seed_starts_as_the_global_one_says(self, name):
        weights = []
        for _ in range(2):
            keras.utils.set_random_seed(5)
            weights.append(NETS[name](None).get_weights()[0])
        np.testing.assert_array_equal(*weights)

    def test_starts_every_layer_differently(self, name):
        model = NETS[name](seed=0)
        kernels = [v for v in model.trainable_variables if v.name == "kernel"]
        starts = [tuple(np.sign(np.ravel(kernel)[:40])) for kernel in kernels]
        # Smallest kernels have 4 numbers, and signs of so few may agree by chance.
        starts = [start for start in starts if len(start) == 40]
        assert len(starts) > 4 and len(set(starts)) == len(starts)

    def test_survives_saving(self, name, tmp_path):
        model = NETS[name](seed=0)
        model.save(tmp_path / "net.keras")
        copy = keras.models.load_model(tmp_path / "net.keras")
        for x, y in zip(model.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_array_equal(x, y)
        x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
        np.testing.assert_array_equal(jax.jit(copy)(x), jax.jit(model)(x))
