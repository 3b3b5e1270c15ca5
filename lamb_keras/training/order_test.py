import numpy as np

from lamb_keras.training.order import order


def test_every_epoch_shows_every_image_once_in_an_order_of_its_own():
    stream = order(seed=0, images=7, count=21).reshape(3, 7)
    assert all(sorted(epoch) == list(range(7)) for epoch in stream.tolist())
    assert len({tuple(epoch) for epoch in stream.tolist()}) == 3


def test_a_longer_stream_begins_like_a_shorter_one():
    assert order(3, 10, 14).tolist() == order(3, 10, 40)[:14].tolist()


def test_seeds_differ():
    assert not np.array_equal(order(0, 50, 50), order(1, 50, 50))


def test_the_stream_is_the_same_on_every_machine():
    assert order(0, 6, 8).tolist() == [5, 2, 1, 3, 0, 4, 1, 3]
