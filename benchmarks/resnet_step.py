"""What a step of the laptop's ResNet costs, against plain Keras.

    python -m benchmarks.resnet_step [--rounds 5] [--json]

The peer is the same net of Keras's own convolution, pooling and normalization under
`model.fit`; between the two stands that net in the compiled epoch of this project. All
take turns in one process on the same random images, so that a drifting machine slows
all of them alike.
"""

import functools

import keras

from benchmarks import training_step
from lamb_keras import models
from lamb_keras.models.layers import CHANNELS_LAST, Form, fastest_form

BATCH, STEPS = 128, 10
SHAPE, WIDTH, BLOCKS = (8, 8, 1), 4, [1, 1, 1, 1]


class _Keras(Form):
    """Keras's own layers, its normalization too."""

    def normalization(self, name, gamma=1.0):
        ours = super().normalization(name, gamma)
        return keras.layers.BatchNormalization.from_config(ours.get_config())


def forms() -> dict:
    """Name to a function that runs some steps."""
    images = training_step.random_images(SHAPE[:2], BATCH * STEPS)
    experiment = training_step.adam_experiment(
        notebook="resnet50_imagenet",
        table=9,
        dataset="digits",
        batch_size=BATCH,
        width=WIDTH,
        blocks=BLOCKS,
    )

    def net(form):
        return models.resnet50(SHAPE, 10, WIDTH, BLOCKS, seed=0, form=form)

    epoch = functools.partial(training_step.epoch, experiment, images)
    plain = _Keras(*CHANNELS_LAST)
    return {
        "model.fit, Keras's layers": training_step.fit(images, BATCH, net(plain)),
        "our epoch, Keras's layers": epoch(net(plain)),
        "our epoch, ours (what is run)": epoch(net(fastest_form())),
    }


main = functools.partial(
    training_step.main, f"ResNet at batch {BATCH}", forms, __doc__.splitlines()[0]
)

if __name__ == "__main__":
    main()
