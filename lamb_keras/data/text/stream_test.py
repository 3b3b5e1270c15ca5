"""The stream has every row once an epoch, and goes on where it was stopped."""

import itertools

import numpy as np
import pytest

from lamb_keras.data import DataError
from lamb_keras.data.text import stream

ROWS = {"row": np.arange(10), "square": np.arange(10)[:, None] ** 2}


def rows(count=None, **settings):
    """The numbers of the rows in each batch."""
    settings = {"batch_size": 4, "seed": 0} | settings
    batches = itertools.islice(stream.batches(ROWS, **settings), count)
    return [batch["row"].tolist() for batch in batches]


def test_batches_are_dicts_of_the_same_rows():
    for batch in stream.batches(ROWS, batch_size=4, seed=0, epochs=1):
        assert batch.keys() == ROWS.keys() and batch["square"].shape == (4, 1)
        np.testing.assert_array_equal(batch["square"][:, 0], batch["row"] ** 2)


def test_every_epoch_has_every_row_once_in_an_order_of_its_own():
    order = np.reshape(sum(rows(10), []), (4, 10))
    assert (np.sort(order) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in order}) == 4


def test_the_last_batch_of_the_epochs_is_filled_up():
    assert [len(batch) for batch in rows(epochs=1)] == [4, 4, 4]
    assert len(rows(epochs=2)) == 5


def test_the_seed_decides_the_order():
    assert rows(9) == rows(9)
    epochs = [np.reshape(sum(rows(10, seed=seed), []), (4, 10)) for seed in range(3)]
    assert len({tuple(epoch) for each in epochs for epoch in each}) == 12


def test_processes_together_have_the_rows_of_one():
    alone = rows(9)
    shares = [rows(9, process_index=i, process_count=2) for i in range(2)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert [len(part) for part in parts] == [2, 2]
        assert sorted(sum(parts, [])) == sorted(whole)


def test_a_restored_stream_goes_on_as_the_other_would_have():
    first = stream.batches(ROWS, batch_size=4, seed=0)
    for _ in range(3):
        next(first)
    state = first.get_state()
    expected = [next(first)["row"].tolist() for _ in range(5)]
    second = stream.batches(ROWS, batch_size=4, seed=0)
    next(second)
    second.set_state(state)
    assert [next(second)["row"].tolist() for _ in range(5)] == expected


def test_it_may_begin_at_any_step():
    assert rows(4, start_step=3) == rows(7)[3:]
    assert rows(start_step=2, epochs=1) == rows(epochs=1)[2:]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"batch_size": 3, "process_count": 2}, "3 sequences cannot be shared by 2"),
        ({"batch_size": 0}, "0 sequences cannot be shared"),
        ({"process_index": 1}, "process_index is 1; expected 0 to 0"),
    ],
)
def test_what_cannot_be_shared_is_told(settings, message):
    with pytest.raises(DataError, match=message):
        rows(1, **settings)


@pytest.mark.parametrize("bad", [{"a": []}, {"a": [1], "b": [1, 2]}, {}])
def test_arrays_that_do_not_match_are_told(bad):
    arrays = {name: np.array(values) for name, values in bad.items()}
    with pytest.raises(DataError, match="expected the same number in all"):
        stream.batches(arrays, batch_size=1, seed=0)
