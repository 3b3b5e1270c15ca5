import os
import subprocess
import sys

import pytest

SAID = "built a grammar"


@pytest.mark.parametrize(
    "code",
    [
        "from lamb_keras.store.quick import import_nbformat; import_nbformat()",
        "from lamb_keras.store import scraps; scraps.glue('loss', 0.5)",
        "from lamb_keras.store import banner\n"
        "class Node(dict): pass\n"
        "banner.put(Node(cells=[]), banner.BANNER, 'why')",
    ],
)
def test_no_grammar_for_addresses_is_built_and_others_may_have_it(tmp_path, code):
    (tmp_path / "rfc3987_syntax.py").write_text(
        f"print({SAID!r})\nis_valid_syntax = None"
    )
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", f"{code}\nprint('-')\nimport rfc3987_syntax"]
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, check=True
    )
    before, after = done.stdout.split("-")
    assert SAID not in before and SAID in after
