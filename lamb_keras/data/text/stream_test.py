"""The stream has every row once an epoch, and goes on where it was stopped."""

import itertools

import numpy as np
import pytest

from lamb_keras.data.text import stream


def rows(count, **settings):
    """The numbers of the rows in each batch."""
    settings = {"batch_size": 4, "seed": 0} | settings
    batches = itertools.islice(stream.batches(10, **settings), count)
    return [batch.tolist() for batch in batches]


def test_every_epoch_has_every_row_once_in_an_order_of_its_own():
    order = np.reshape(sum(rows(10), []), (4, 10))
    assert (np.sort(order) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in order}) == 4


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


@pytest.mark.parametrize("share", [{}, {"process_index": 1, "process_count": 2}])
def test_a_batch_or_a_share_of_it_may_be_one_row(share):
    size = share.get("process_count", 1)
    found = rows(20, batch_size=size, **share)
    assert [len(batch) for batch in found] == [1] * 20
    assert sum(found, []) == sum(rows(20, batch_size=4 * size, **share)[:5], [])
    assert rows(3, batch_size=size, start_step=7, **share) == found[7:10]


def test_it_may_begin_at_any_step():
    assert rows(4, start_step=3) == rows(7)[3:]
