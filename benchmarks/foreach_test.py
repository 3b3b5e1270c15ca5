import json

import numpy as np

from benchmarks import foreach, update
from lamb_keras.optimizers import lamb_update


def test_the_lamb_of_pytorch_is_ours():
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s).astype("float32") for s in ((8, 4), (4,))]
    weights.append(np.zeros(3, "float32"))
    gradients = [rng.standard_normal(w.shape).astype("float32") for w in weights]
    theirs = foreach.Lamb(weights, gradients, "cpu")
    m = v = [np.zeros_like(w) for w in weights]
    for step in (1, 2, 3):
        theirs.step()
        weights, m, v, *_ = lamb_update(
            weights, gradients, m, v, step, learning_rate=1e-3
        )
    for ours, other in zip(weights, theirs.weights, strict=True):
        np.testing.assert_allclose(ours, other.numpy(), rtol=1e-5, atol=1e-7)


def test_the_bench_times_pytorch_too_if_asked(monkeypatch, capsys):
    monkeypatch.setattr(update, "model_shapes", lambda model: [(8, 4), (4,)])
    assert update.main(["--rounds", "1", "--torch", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["torch, LAMB of foreach"]["to_keras_lamb"] > 0
    assert results["torch.optim.AdamW, fused"]["to_keras_lamb"] > 0
