#!/usr/bin/env bash
# nbconvert 7.17.2: HTMLExporter with embed_images closes every inline tag of a Markdown cell
# as soon as it opens.
#
# Expected: a cell with the MathML <math><mi>u</mi></math>, or with H<sub>2</sub>O, comes
# out as it is, whether pictures are embedded or not.
# What happens: with embed_images=True each piece of inline HTML is parsed for pictures on
# its own and written again as a whole document: <sub> becomes <sub></sub>, and what stood
# inside stands behind. Formulas in MathML become a line of letters. Without embed_images
# the cell is left alone.
# Mend: put such HTML into the page afterwards, or into a block of its own.
# Seen: H<sub></sub>2O and <math></math><mi></mi>u, where H<sub>2</sub>O and
# <math><mi>u</mi></math> were written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check nbconvert==7.17.2
"$folder/env/bin/python" - <<'PY'
import nbformat
from nbconvert import HTMLExporter

text = "Water is H<sub>2</sub>O, and <math><mi>u</mi></math> a letter."
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
for embed in (False, True):
    exporter = HTMLExporter(template_name="basic", embed_images=embed)
    html = exporter.from_notebook_node(notebook)[0]
    whole = "H<sub>2</sub>O" in html and "<math><mi>u</mi></math>" in html
    line = next(line for line in html.splitlines() if "Water" in line)
    print(f"embed_images={embed}:", line.strip())
    assert whole is not embed
PY
