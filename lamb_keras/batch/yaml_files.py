"""Parameter values as people write them: in a YAML file, or after `--set`.

Files are read as plain Papermill reads them (YAML 1.1, where `1e-3` is text, for
`lamb_keras.experiments` to refuse): a file that works here works there. On the command
line a number is whatever YAML 1.2 and everybody else call one.
"""

import re

import yaml

from lamb_keras.batch import BatchError


class _FileLoader(yaml.SafeLoader):
    """PyYAML's own, except that a name that is there twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = []
        for name, _ in node.value:
            if name.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{name.value!r} is there twice",
                    problem_mark=name.start_mark,
                )
            seen.append(name.value)
        return super().construct_mapping(node, deep)


class _LineLoader(yaml.SafeLoader):
    """YAML 1.2's core schema: `1e-3` is a number, `no` and `1:30` are text."""

    yaml_implicit_resolvers = {}


for _tag, _pattern in {
    "null": r"|~|null|Null|NULL",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}.items():
    _LineLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), None
    )
# YAML 1.2's whole numbers; 1.1's constructor would read 010 as eight and refuse 0o10.
_LineLoader.add_constructor(
    "tag:yaml.org,2002:int",
    lambda loader, node: int(node.value, 0 if node.value[1:2] in "ox" else 10),
)


def read_file(path, name):
    """The parameters in a YAML file, or a `BatchError` that calls it by this name."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise BatchError(f"{name} is missing") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BatchError(f"{name}, line {line}: the text is not UTF-8") from None
    except OSError as error:
        raise BatchError(f"{name} cannot be read: {error.strerror}") from None
    values = _load(text, _FileLoader, name)
    if not isinstance(values, dict):
        raise BatchError(f"{name} holds no parameters; expected lines like epochs: 30")
    return values


def read_setting(text):
    """The name and the value in `name=value`.

    Example:
        >>> read_setting("learning_rates=[1e-3]")
        ('learning_rates', [0.001])
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise BatchError(f"--set {text!r} is not of the form name=value")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BatchError(f"--set {text!r} is not UTF-8") from None
    return name, _load(value, _LineLoader, f"--set {name}")


def write(value):
    """A value on one line, as a file may have it.

    Example:
        >>> write({"lamb": [0.001, None]})
        '{lamb: [0.001, null]}'
    """
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _load(text, loader, name):
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError) as error:
        problem, place = error, name
        # PyYAML constructs 2024-13-45 as a date and lets Python's error through.
        if isinstance(error, yaml.MarkedYAMLError):
            problem = error.problem or error.context
            mark = error.problem_mark or error.context_mark
            place = f"{name}, line {mark.line + 1}" if loader is _FileLoader else name
        problem = " ".join(str(problem).split())
        raise BatchError(f"{place}: not valid YAML: {problem}") from None
