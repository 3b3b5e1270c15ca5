"""A data set is had by its name, and a wrong name is answered with the right one."""

import pytest

from lamb_keras import data


def test_every_name_leads_to_images_of_that_name():
    assert set(data.DATASETS) == {"digits", "mnist"}
    assert data.load("digits").name == "digits"


def test_check_says_nothing_where_all_is_well():
    assert data.check("digits") is None


@pytest.mark.parametrize("ask", [data.load, data.check, data.fingerprint])
def test_a_misspelt_name_is_answered_with_the_nearest(ask):
    with pytest.raises(data.DataError) as caught:
        ask("minst")
    assert str(caught.value) == (
        "there is no data set 'minst'; did you mean 'mnist'? (there are: digits, mnist)"
    )


@pytest.mark.parametrize("name", ["imagenet-1k", 7, None, [8]])
def test_a_name_like_none_is_answered_with_the_list(name):
    with pytest.raises(data.DataError, match=r"\(there are: digits, mnist\)") as caught:
        data.load(name)
    assert "did you mean" not in str(caught.value)
