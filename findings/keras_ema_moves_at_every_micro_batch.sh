#!/usr/bin/env bash
# keras 3.15.1 on JAX: with gradient_accumulation_steps, the moving average of the weights
# moves at every micro-batch, not at every update.
#
# Expected: use_ema with ema_momentum m averages over optimizer steps; four micro-batches
# that make one step move the average once.
# What happens: it moves four times, three of them towards weights that have not changed,
# so that the average of the same training depends on how its batch was split.
# Seen: three steps of SGD at rate 1 from 1.0, momentum of the average 0.5: weights -2.0 both
# times; average -1.25 by whole batches, -1.46875 by four micro-batches each.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax "$folder/env/bin/python" - <<'PY'
import keras


def average(micro_batches, steps):
    """The average after so many steps of size 1 that go from 1.0 downwards."""
    weight = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(
        1.0,
        use_ema=True,
        ema_momentum=0.5,
        gradient_accumulation_steps=None if micro_batches == 1 else micro_batches,
    )
    optimizer.build([weight])
    for _ in range(steps * micro_batches):
        optimizer.apply([keras.ops.ones(1)], [weight])
    return float(weight.value[0]), float(optimizer._model_variables_moving_average[0][0])


whole, split = average(1, steps=3), average(4, steps=3)
print("(weight, average): whole batches", whole, "; four micro-batches each", split)
assert whole[0] == split[0] == -2.0
assert abs(whole[1] - split[1]) > 0.1, "the averages agree"
PY
