import math

import pytest

from lamb_keras.experiments import ParameterError
from lamb_keras.planning import machines

NAMES = [
    f"{family}-{number}"
    for family, about in machines._families().items()
    for number in about["slices"]
]


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_has_the_chips_that_its_name_counts(name):
    found = machines.find(name)
    family, number = name.split("-")
    cores = 1 if family in ("v5e", "v6e", "h100") else 2
    assert found.chips * cores == int(number)
    assert found.chips == math.prod(map(int, found.topology.split("x")))
    assert found.chips % found.hosts == 0 and found.chips / found.hosts <= 8
    assert found.memory * found.devices / found.chips in [
        gib * 2**30 for gib in (16, 32, 80, 95, 192)
    ]


def test_the_issues_slices_are_as_google_tells_them():
    pod = machines.find("v5e-256")
    assert (pod.chips, pod.devices, pod.hosts, pod.topology) == (256, 256, 64, "16x16")
    papers = machines.find("v3-2048")
    assert (papers.chips, papers.devices, papers.hosts) == (1024, 2048, 256)
    assert papers.peak * papers.devices == pytest.approx(126e15, rel=0.002)  # Google's
    assert machines.find("h100-8").hosts == machines.find("v5e-8").hosts == 1


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("v5e-250", "; the nearest is v5e-256"),
        ("v3-9999", "; the nearest is v3-2048"),
        ("v6-256", "; did you mean v6e-256?"),
        ("v5litepod-256", "; did you mean v5e-256?"),
        ("v5e", "; did you mean v5e-256?"),
        ("h100", "; did you mean h100-64?"),
        ("v3:32x32", "; there are: v2-512, v3-2048, v4-4096, v5e-256, v5p-12288"),
        ("", "; there are: v2-512"),
    ],
)
def test_a_slice_that_does_not_exist_is_refused_with_the_nearest(name, cure):
    with pytest.raises(ParameterError) as refused:
        machines.find(name)
    assert str(refused.value).startswith(f"there is no slice {name}{cure}")
