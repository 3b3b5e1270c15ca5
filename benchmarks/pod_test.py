"""What a pre-training's step is on a pod, told by the compiler alone.

It takes two minutes of a processor, and is left out unless LAMB_KERAS_POD is set.
"""

import json
import os

import pytest

from benchmarks.accelerators_test import run_with_compilers

PROGRAM = """
import json
from benchmarks import accelerators, pod
accelerators.use_no_device()
machine = pod.machines.find("v5e-16")
told = pod.compiled_for(machine, *pod.bert(machine, 1, 16, layers=2))
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.skipif("LAMB_KERAS_POD" not in os.environ, reason="LAMB_KERAS_POD=1 asks")
def test_on_a_pod_the_state_is_split_and_gradients_are_sent_once_a_step():
    told = json.loads(run_with_compilers(PROGRAM))
    assert told["of_memory"] < 0.9 and told["of_part"] <= 1.1
    sent = [(size, loops) for _, size, loops in told["collectives"]]
    # The loop over steps; and not in it those over micro-batches and layers.
    assert {loops for size, loops in sent if size > 1e6} == {1}
