"""What a step of LeNet at the paper's batch costs, against plain Keras.

    python -m benchmarks.lenet_step [--rounds 5] [--json]

The peer is the same net of `keras.layers.Conv2D` and `keras.layers.MaxPooling2D` under
`model.fit`; between the two stand the net's forms one by one, in the compiled epoch of
this project. All take turns in one process on the same random images, so that a
drifting machine slows all of them alike.
"""

import functools

import keras

from benchmarks import training_step
from lamb_keras import models
from lamb_keras.models.layers import BandedConv2D, BlockMaxPooling2D

BATCH, STEPS = 1024, 4
SHAPE = (28, 28, 1)


def forms() -> dict:
    """Name to a function that runs some steps."""
    images = training_step.random_images(SHAPE[:2], BATCH * STEPS)
    experiment = training_step.adam_experiment(
        notebook="lenet_mnist", table=7, dataset="mnist", batch_size=BATCH
    )

    def net(convolution=keras.layers.Conv2D, pooling=keras.layers.MaxPooling2D):
        return models.lenet(SHAPE, seed=0, convolution=convolution, pooling=pooling)

    epoch = functools.partial(training_step.epoch, experiment, images)
    return {
        "model.fit, Keras's layers": training_step.fit(images, BATCH, net()),
        "our epoch, Keras's layers": epoch(net()),
        "our epoch, banded convolution": epoch(net(convolution=BandedConv2D)),
        "our epoch, block pooling": epoch(net(pooling=BlockMaxPooling2D)),
        "our epoch, both (what is run)": epoch(net(BandedConv2D, BlockMaxPooling2D)),
    }


main = functools.partial(
    training_step.main, f"LeNet at batch {BATCH}", forms, __doc__.splitlines()[0]
)

if __name__ == "__main__":
    main()
