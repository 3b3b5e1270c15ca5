"""Former names of functions of `lamb_keras.schedules`."""

from lamb_keras.schedules import pretraining_steps, stage_batches, stage_steps

__all__ = ["batches", "pretraining_steps", "stage_steps"]
batches = stage_batches
