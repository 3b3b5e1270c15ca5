"""What is written at the top of an executed notebook: its parameters, and how it ended.

Both are Markdown cells with a tag of their own, so that a second execution replaces
them. What stands in them comes from anywhere and is shown as the text that it is: every
character that HTML, Markdown or mathematics could take for its own is spelled out.
"""

import json

from lamb_keras.store.quick import import_nbformat

PARAMETERS, BANNER = "lamb-keras-parameters", "lamb-keras-banner"
PLAIN = " .,:;+-=/()%?!'"
NOTE = "What is below is as far as it came, and no result."
ROW = "<tr><td>{}</td><td><code>{}</code></td></tr>"
# Without a blank line, which would end the HTML.
TABLE = """\
<details open><summary>Parameters</summary>
<table>
<tr><th>parameter</th><th>value</th></tr>
{}
</table>
</details>"""


def literal(text):
    """`text` as HTML in a Markdown cell, on one line, none of it taken for markup.

    Example:
        >>> literal("<b>$x$")
        '&#60;b&#62;&#36;x&#36;'
    """
    return "".join(map(_character, text))


def table(parameters):
    """The source of the cell that lists parameters.

    Args:
        parameters: name to value, plain JSON's or any other that has a `repr`.

    Example:
        >>> "<td><code>&#34;&#60;lamb&#62;&#34;" in table({"solver": "<lamb>"})
        True
    """
    rows = [
        ROW.format(literal(name), literal(_shown(value)))
        for name, value in parameters.items()
    ]
    return TABLE.format("\n".join(rows))


def put(notebook, tag, source):
    """Puts a Markdown cell at the top of a notebook, in the place of one of its tag.

    Args:
        notebook: of format 4, a dict or a `NotebookNode`.
        tag: `PARAMETERS` or `BANNER`.
        source: the cell's.
    """
    remove(notebook, tag)
    cell = {"cell_type": "markdown", "metadata": {"tags": [tag]}, "source": source}
    if (notebook.get("nbformat", 4), notebook.get("nbformat_minor", 0)) >= (4, 5):
        cell["id"] = tag
    if type(notebook) is not dict:
        cell = import_nbformat().from_dict(cell)
    notebook["cells"].insert(0, cell)


def remove(notebook, *tags):
    """Removes the cells of these tags."""
    notebook["cells"][:] = [
        cell
        for cell in notebook["cells"]
        if not set(tags) & set(cell.get("metadata", {}).get("tags", []))
    ]


def unfinished(notebook, reason):
    """Makes a notebook say of itself that it did not finish, and where it was.

    Papermill leaves "running" for ever what ran when its process was killed, and calls
    completed what it never came to.
    """
    papermill = notebook.setdefault("metadata", {}).setdefault("papermill", {})
    papermill["exception"] = True
    for cell in notebook["cells"]:
        of_cell = cell.get("metadata", {}).get("papermill", {})
        if of_cell.get("status") == "running":
            of_cell |= {"status": "failed", "exception": True}
    style = "border: 3px solid #c00; padding: 0.5em 1em"
    why = f"<strong>This run did not finish:</strong> {literal(reason)}. {NOTE}"
    put(notebook, BANNER, f'<div style="{style}">{why}</div>')


def _shown(value):
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def _character(character):
    if character.isalnum() or character in PLAIN:
        return character
    if character.isprintable():
        return f"&#{ord(character)};"
    # Invisible, or something that is no character at all.
    return f"&#92;u{ord(character):04x}"
