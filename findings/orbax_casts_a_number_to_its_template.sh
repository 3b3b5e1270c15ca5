#!/usr/bin/env bash
# orbax-checkpoint 0.12.8: a plain Python number is restored in the type of its template.
#
# Expected: 0.87, saved, is 0.87 when restored; the template says what the tree looks like.
# What happens: restored with the template {"best": 0}, as one writes a fresh state before
# the first evaluation, it is the whole number 0, without a word.
# Mend: write the template's numbers as 0.0, or restore without a template.
# Seen: restored {'best': 0}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    orbax-checkpoint==0.12.8 jax==0.10.2
"$folder/env/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys

import orbax.checkpoint as ocp

path = f"{sys.argv[1]}/state"
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path, {"best": 0.87})
    checkpointer.wait_until_finished()
    plain = checkpointer.restore(path)
    restored = checkpointer.restore(path, {"best": 0})
print("saved 0.87; without a template", plain, "; with {'best': 0}", restored)
assert plain == {"best": 0.87} and restored == {"best": 0}
PY
