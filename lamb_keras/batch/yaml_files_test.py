import math

import pytest
import yaml

from lamb_keras.batch import BatchError
from lamb_keras.batch.yaml_files import read_file, read_setting


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "table07.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_file(path, "params/tables/table07.yaml")

    return read


def test_a_file_is_read_as_plain_papermill_reads_it(read):
    text = "a: 1e-3\nb: 0.001\nc: [1, x]\nd: 1.0e-3\ne: yes\nf: .nan\n"
    ours, plain = read(text), yaml.safe_load(text)
    assert math.isnan(ours.pop("f")) and math.isnan(plain.pop("f"))
    assert ours == plain
    assert ours["a"] == "1e-3"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("epochs: 1\nbatch_size: [1,\n", "line 3: not valid YAML: "),
        ("epochs: 1\n  table: 2\n", "line 2: not valid YAML: mapping values"),
        ("epochs: 1\nepochs: 2\n", "line 2: not valid YAML: 'epochs' is there twice"),
        ("epochs: !!python/object:os.system x", "line 1: not valid YAML: could not"),
        ("epochs: 2024-13-45", "not valid YAML: month must be in 1..12"),
        ("epochs: \x00", "not valid YAML: "),
        (b"epochs: 1\n# caf\xe9", "line 2: the text is not UTF-8"),
        ("", "holds no parameters"),
        ("- epochs", "holds no parameters"),
    ],
)
def test_a_malformed_file_is_one_sentence_that_names_it(read, content, sentence):
    with pytest.raises(BatchError) as caught:
        read(content)
    assert str(caught.value).startswith("params/tables/table07.yaml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BatchError, match="^table07.yaml is missing$"):
        read_file(tmp_path / "table07.yaml", "table07.yaml")


def test_a_folder_in_a_files_place_is_named(tmp_path):
    with pytest.raises(BatchError, match="^table07.yaml cannot be read: Is a dir"):
        read_file(tmp_path, "table07.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2", -2),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("-.inf", -math.inf),
        ("[1e-3, 0.1]", [0.001, 0.1]),
        ("[]", []),
        ("true", True),
        ("null", None),
        ("", None),
        # YAML 1.1 reads these as false, ninety and 2024-11-23.
        ("no", "no"),
        ("1:30", "1:30"),
        ("2024-11-23", "2024-11-23"),
        ("'1e-3'", "1e-3"),
        ("a=b", "a=b"),
    ],
)
def test_a_setting_means_what_it_looks_like(text, value):
    name, read = read_setting(f"name={text}")
    assert (name, read, type(read)) == ("name", value, type(value))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs", "--set 'epochs' is not of the form name=value"),
        ("=3", "--set '=3' is not of the form name=value"),
        ("epochs=[1", "--set epochs: not valid YAML: "),
        ("a='\n'x", "--set a: not valid YAML: "),
        ("a=\udc80", "is not UTF-8"),
    ],
)
def test_a_setting_that_cannot_be_read_is_one_sentence(text, sentence):
    with pytest.raises(BatchError) as caught:
        read_setting(text)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
