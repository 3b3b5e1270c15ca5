from importlib.util import find_spec

# PyTorch is no dependency; where it is installed, what times it is tested too.
collect_ignore = (
    [] if find_spec("torch") else ["foreach.py", "foreach_test.py", "torch_steps.py"]
)
