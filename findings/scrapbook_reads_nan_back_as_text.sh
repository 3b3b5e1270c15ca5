#!/usr/bin/env bash
# scrapbook 0.5.0, papermill 2.7.0, nbclient 0.11.0: a NaN that is glued comes back as text.
#
# Expected: glue("loss", float("nan")) is read back as a float, like any other number.
# What happens: NaN and the infinities are written as the words that JSON has not, and
# come back as the strings 'nan' and 'inf', also inside lists; a diverged training's loss
# breaks the arithmetic of whoever reads it, or compares as text. Tuples, None and NumPy's
# scalars are refused.
# Mend: spell such values in plain JSON before gluing them.
# Seen: {'loss': 'nan', 'losses': [1.0, 'inf']}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    scrapbook==0.5.0 papermill==2.7.0 nbclient==0.11.0 six==1.17.0 ipykernel==7.4.0
"$folder/env/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys

import nbformat.v4 as v4
import nbformat
import papermill
import scrapbook

source, target = f"{sys.argv[1]}/in.ipynb", f"{sys.argv[1]}/out.ipynb"
code = """import scrapbook
scrapbook.glue("loss", float("nan"))
scrapbook.glue("losses", [1.0, float("inf")])"""
notebook = v4.new_notebook(cells=[v4.new_code_cell(code)])
notebook.metadata.kernelspec = {"name": "python3", "display_name": "p", "language": "python"}
nbformat.write(notebook, source)
papermill.execute_notebook(source, target, progress_bar=False)
scraps = scrapbook.read_notebook(target).scraps
seen = {name: scrap.data for name, scrap in scraps.items()}
print(seen)
assert seen == {"loss": "nan", "losses": [1.0, "inf"]}
PY
