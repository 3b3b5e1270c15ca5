#!/usr/bin/env bash
# orbax-checkpoint 0.12.8: with best_fn, one NaN metric deletes the best step.
#
# Expected: of the steps with accuracies 0.9, NaN and 0.1, a manager that keeps the best one
# keeps 0.9; a diverged evaluation is at worst ignored.
# What happens: steps are sorted by their metric, and NaN compares with nothing: which step
# counts as the best depends on the order they came in, and the true best is deleted.
# Mend: give a diverged step the worst finite metric.
# Seen: kept, below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    orbax-checkpoint==0.12.8 jax==0.10.2
"$folder/env/bin/python" - "$folder" <<'PY' 2>/dev/null
import itertools
import sys

import orbax.checkpoint as ocp


def kept(name, accuracies):
    """The accuracy of the best step and those still there, after saving in order."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=1, best_fn=lambda metrics: metrics["accuracy"], best_mode="max"
    )
    with ocp.CheckpointManager(f"{sys.argv[1]}/{name}", options=options) as manager:
        for step, accuracy in enumerate(accuracies):
            manager.save(
                step,
                args=ocp.args.StandardSave({"weights": accuracy}),
                metrics={"accuracy": accuracy},
            )
            manager.wait_until_finished()
        return [accuracies[step] for step in manager.all_steps()]


finite = [kept(f"f{n}", a) for n, a in enumerate(itertools.permutations([0.9, 0.5, 0.1]))]
nan = float("nan")
orders = list(itertools.permutations([0.9, nan, 0.1]))
lost = [a for n, a in enumerate(orders) if 0.9 not in kept(f"n{n}", a)]
print("finite: kept", finite)
print("0.9 deleted in", len(lost), "of", len(orders), "orders:", lost)
assert all(each == [0.9] for each in finite)
assert lost
PY
