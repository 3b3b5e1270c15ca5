"""The one training loop: steps, micro-batches, evaluations, divergence, checkpoints.

A trial's numbers are inputs of the compiled program, even its batch size: so trials
that differ in numbers alone share it, and several run at once by `vmap`.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.training import compilations
from lamb_keras.training.gradients import mean_gradients, row
from lamb_keras.training.history import History
from lamb_keras.training.preemption import Preempted
from lamb_keras.training.sharding import Sharding, placed
from lamb_keras.training.step import Constants, State, Step

# A mean cross-entropy beyond this has lost its way for good: it is that of a net
# which gives the right class a probability of e to the minus a million.
DIVERGENCE_THRESHOLD = 1e6


class Progress(NamedTuple):
    """A trial between two of its steps."""

    state: State
    diverged_at_step: Any  # the first with a loss beyond the threshold; 0 for none


class PeriodInputs(NamedTuple):
    """What some steps of a trial are given.

    Arrays may be filled up with zeros, so that shorter trials are given as long ones.
    """

    micro: Any  # a row a micro-step: what `Task.batch` makes its batch of
    number: Any  # of each step, from 1
    learning_rate: Any  # a row a step
    weight_decay: Any
    steps: Any  # how many there are


def period_inputs(micro, begin, end, by_step, length=0, micro_length=0):
    """The `PeriodInputs` of the steps after `begin`, filled up to such lengths.

    `by_step` are the rate and the decay of each step of the training. Of length 0
    they stay as long as they are.
    """
    rates, decays = (each[begin:end] for each in by_step)
    steps = len(rates)
    number = np.arange(begin + 1, begin + steps + 1, dtype="int32")
    if micro_length:
        micro = jax.tree.map(lambda rows: padded(rows, micro_length), micro)
    by_step = [padded(each, max(steps, length)) for each in (number, rates, decays)]
    return PeriodInputs(micro, *by_step, np.int32(steps))


class Period(NamedTuple):
    """The steps between two evaluations."""

    program: "Program"
    constants: Constants
    inputs: Iterable[PeriodInputs]  # one for each call of the program
    last_step: int  # after which the evaluation is
    stage: int = 1


def run_steps(progress, inputs, gradients, apply):
    """(`Progress` after these steps, the loss of each: NaN for those not taken).

    A step whose loss is beyond the threshold is the trial's last. `gradients` is a
    function of (state, number of the step, `inputs.micro`) to the loss, the new
    `non_trainable` and the gradients of a step; `apply` is as of a `Step`.
    """
    # A loop around a loop, without branches: the state stays in its place, where a
    # branch that may or may not move the weights has it copied at every micro-step.

    def goes_on(carry):
        step, progress, _ = carry
        return (step < inputs.steps) & (progress.diverged_at_step == 0)

    def take_step(carry):
        step, (state, diverged_at_step), losses = carry
        loss, non_trainable, found = gradients(state, step, inputs.micro)
        of_step = inputs.number, inputs.learning_rate, inputs.weight_decay
        number, *rates = row(of_step, step)
        state = apply(state._replace(non_trainable=non_trainable), found, *rates)
        lost = ~(jnp.abs(loss) <= DIVERGENCE_THRESHOLD) & (diverged_at_step == 0)
        progress = Progress(state, jnp.where(lost, number, diverged_at_step))
        return step + 1, progress, losses.at[step].set(loss)

    losses = jnp.full(inputs.number.shape, jnp.nan, "float32")
    carry = jnp.int32(0), progress, losses
    if len(inputs.number) == 1:  # needs no loop: who calls looks at its loss
        _, progress, losses = take_step(carry)
    else:
        _, progress, losses = jax.lax.while_loop(goes_on, take_step, carry)
    return progress, losses


# XLA's older emitters compile in half the time what runs a laptop's seconds.
_ON_CPU = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 2}


class _Compiled:
    """A function that is compiled once, whichever thread calls it first.

    `compile` takes `jax.ShapeDtypeStruct`s too, of devices that need not be there; what
    came of it is `compiled`.
    """

    def __init__(self, function, sharding: Sharding | None = None, **options):
        platform = sharding.platform if sharding else jax.default_backend()
        if platform == "cpu":
            options["compiler_options"] = _ON_CPU
        self._jitted = jax.jit(function, **options)
        self.compiled, self._lock = None, threading.Lock()

    def compile(self, *arguments) -> float:
        """Compiles for such arguments and returns the seconds that it took."""
        started = time.perf_counter()
        with self._lock, compilations.expected():
            if self.compiled is None:
                self.compiled = self._jitted.lower(*arguments).compile()
        return time.perf_counter() - started

    def __call__(self, *arguments):
        self.compile(*arguments)
        return self.compiled(*arguments)


class Program(_Compiled):
    """The compiled training of a `Step`, of so many trials at once.

    Called with (progress, inputs, constants, data), it returns (progress, losses, trust
    ratios) as `run_steps`. The progress that it is given is gone.
    """

    def __init__(
        self,
        step: Step,
        width: int = 1,
        accumulates: bool = False,
        sharding: Sharding | None = None,
    ):
        self.width, self._sharding = width, sharding
        own = None if step.task.shares_batches else 0
        self._axes = {
            PeriodInputs: PeriodInputs(own, None, 0, 0, None),
            Constants: Constants(own, 0, None),
        }

        gradients = mean_gradients(step, accumulates, sharding)

        def run(progress, inputs, constants, data):
            def apply(*given):
                state = step.apply(*given)
                if sharding:
                    split = sharding.split(state, step.is_packed)
                    state = jax.lax.with_sharding_constraint(state, split)
                return state

            def of_step(*given):
                return gradients(*given, constants, data)

            progress, losses = run_steps(progress, inputs, of_step, apply)
            told = losses, step.trust_ratios(progress.state)
            if sharding:
                told = jax.lax.with_sharding_constraint(told, sharding.whole)
            return progress, *told

        if width > 1:
            run = jax.vmap(run, in_axes=(0, *self._axes.values(), None))
        super().__init__(run, sharding, donate_argnums=0)

    def together(self, each: list):
        """`PeriodInputs` or `Constants` of several trials as the program takes them.

        Devices of its sharding have a part of every micro-batch.
        """
        kind = type(each[0])
        fields = zip(self._axes[kind], zip(*each, strict=True), strict=True)
        joined = kind(
            *(
                values[0] if axis is None else stack_trials(values, self.width)
                for axis, values in fields
            )
        )
        if self._sharding and kind is PeriodInputs:
            micro = self._sharding.share(joined.micro, axis=1)
            return joined._replace(micro=micro)
        return joined


class Evaluator(_Compiled):
    """The compiled evaluation of a net, whatever solver trains it.

    Its `step` may be any solver's, packed if theirs are.
    """

    def __init__(self, step: Step, width: int = 1, sharding: Sharding | None = None):
        self._task, self._width = step.task, width

        def run(weights, non_trainable, batch):
            if sharding:
                weights = jax.lax.with_sharding_constraint(weights, sharding.whole)
            weights = step.task.stack(step.model_weights(weights))
            return step.task.outputs(weights, non_trainable, batch)

        if width > 1:
            run = jax.vmap(run, in_axes=(0, 0, None))
        options = {"out_shardings": sharding.whole} if sharding else {}
        super().__init__(run, sharding, **options)

    def metrics(self, progress: Progress, batches: Iterable) -> list[dict]:
        """The metrics of each trial on these batches, all of one shape."""
        weights, non_trainable, _ = progress.state
        outputs = []
        for batch in batches:
            outputs.append(self(weights, non_trainable, batch))
            # So that no more than two batches of a stream lie on the devices.
            jax.block_until_ready(outputs[-2:-1])
        outputs = jax.tree.map(np.asarray, outputs)
        each = [unstack_trials(batch, self._width) for batch in outputs]
        return [self._task.metrics(list(trial)) for trial in zip(*each, strict=True)]


def start(
    step: Step, initial: list[tuple], width: int = 1, sharding: Sharding | None = None
) -> Progress:
    """Trials before their first step, from the `initial_weights` of each."""
    begun = [Progress(step.start(weights), np.int32(0)) for weights in initial]
    progress = stack_trials(begun, width)
    if sharding is None:
        return progress
    return placed(progress, sharding.split(progress, step.is_packed))


def train(
    progress: Progress,
    histories: list[History],
    periods: Iterable[Period],
    evaluate: Callable,
    *,
    data=(),
    checkpoints=None,
    losses: list = (),
    report: Callable = lambda *_: None,
) -> Progress:
    """The trials after their training; what is measured is added to their histories.

    A trial whose loss is beyond the threshold, or whose evaluation is no number, has
    diverged: nothing more is recorded of it, and when all have, the training ends.

    Args:
        progress: of trials that train at once, from `start`.
        histories: one for each of them.
        periods: those that are left.
        evaluate: a function of progress to the metrics of each trial.
        data: what stays on the device: see `Task.batch`.
        checkpoints: a `Checkpoints`, or None.
        losses: of a period that is continued: (step numbers, losses) of its calls.
        report: called with (histories, steps done, whether evaluated) after each call.

    Raises:
        Preempted: after the process was asked to end, and a checkpoint is saved.
    """
    losses = list(losses)
    for period in periods:
        begun = time.perf_counter()
        for inputs in period.inputs:
            given = progress, inputs, period.constants, data
            begun += period.program.compile(*given)
            progress, found, ratios = period.program(*given)
            losses.append((inputs.number, found))
            done = int(inputs.number.max()) or period.last_step
            ends = done == period.last_step
            due = checkpoints is not None and checkpoints.due(done, ends)
            if ends or due:
                over = bool(np.all(np.asarray(progress.diverged_at_step)))
            else:
                # A loss is read while the device computes the next step.
                over = any(_are_lost(*each) for each in losses[-2:-1])
            pauses = ends or over or due
            if pauses:
                seconds = (time.perf_counter() - begun) / len(histories)
                for history in histories:
                    if history.outcome == "finished":
                        history.training_seconds += seconds
            if ends or over:
                metrics = evaluate(progress)
                _record(histories, period, progress, losses, ratios, metrics)
                losses = []
                over = all(history.outcome == "diverged" for history in histories)
            report(histories, done, ends or over)
            if over:
                return progress
            if due:
                checkpoints.save(done, progress, histories, losses)
                if checkpoints.asked_to_end:
                    raise Preempted(
                        f"{histories[0].trial} was asked to end and has saved its step "
                        f"{done:,}: start it again to go on from there."
                    )
            if pauses:
                begun = time.perf_counter()
    return progress


def _are_lost(numbers, losses):
    """Whether each trial was lost at one of these steps, of which 0 is none."""
    found = np.abs(np.asarray(losses)[..., numbers > 0])
    return np.all(np.any(~(found <= DIVERGENCE_THRESHOLD), axis=-1))


def _record(histories, period, progress, losses, ratios, metrics):
    numbers = np.concatenate([numbers for numbers, _ in losses])
    losses = np.concatenate([np.asarray(each) for _, each in losses], axis=-1)
    found = jax.tree.map(np.asarray, (losses, progress.diverged_at_step, ratios))
    each = unstack_trials(found, period.program.width)
    # A last group may be short: what else its program returns are copies.
    for history, found, of_it in zip(histories, each, metrics, strict=False):
        if history.outcome == "finished":
            its_losses, diverged, its_ratios = found
            taken = (numbers > 0) & ((numbers <= diverged) | (diverged == 0))
            its_losses = its_losses[taken]
            last, stage = period.last_step, period.stage
            history.record(stage, last, its_losses, diverged, of_it, its_ratios)


def stack_trials(each, width: int):
    """The trials' arrays along a new axis, which the last one's fill up to the width.

    Of width 1 they are those of the only trial.

    Example:
        >>> stack_trials([np.array([1, 2]), np.array([3, 4])], 3).tolist()
        [[1, 2], [3, 4], [3, 4]]
    """
    if width == 1:
        return each[0]
    each = [*each] + [each[-1]] * (width - len(each))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def unstack_trials(trees, width: int) -> list:
    """Each trial's part, as NumPy arrays; of width 1 it is returned as it is."""
    if width == 1:
        return [trees]
    # On the device each slice would be a program of its own.
    host = jax.tree.map(np.asarray, trees)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(width)]


def padded(rows: np.ndarray, length: int) -> np.ndarray:
    """The rows with rows of zeros after them."""
    longer = np.zeros((length, *rows.shape[1:]), rows.dtype)
    longer[: len(rows)] = rows
    return longer


def order(seed: int, images: int, count: int) -> np.ndarray:
    """The first `count` places of a stream of shuffled epochs, int32.

    Every epoch shows every image once, in an order of its own. The same seed gives the
    same stream, on every machine and NumPy, and a longer one begins like a shorter one.

    Example:
        >>> stream = order(seed=0, images=5, count=12)
        >>> sorted(stream[:5].tolist()), len(stream)
        ([0, 1, 2, 3, 4], 12)
    """
    # RandomState's stream is frozen; default_rng's may change with NumPy's version.
    random = np.random.RandomState(seed)
    epochs = -(-count // images)
    return np.concatenate(
        [random.permutation(images).astype("int32") for _ in range(epochs)]
    )[:count]
