"""What is written at the top of an executed notebook: its parameters, and how it ended.

Both are Markdown cells with a tag of their own, so that a second execution replaces
them. What stands in them comes from anywhere and is shown as the text that it is: every
character that HTML, Markdown or mathematics could take for its own is spelled out.
"""

import json

PARAMETERS, BANNER = "lamb-keras-parameters", "lamb-keras-banner"
PLAIN = " .,:;+-=/()%?!'"
NOTE = "What is below is as far as it came, and no result."


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
        >>> print(table({"solver": "<lamb>"}))
        <details open><summary>Parameters</summary>
        <table>
        <tr><th>parameter</th><th>value</th></tr>
        <tr><td>solver</td><td><code>&#34;&#60;lamb&#62;&#34;</code></td></tr>
        </table>
        </details>
    """
    rows = [
        f"<tr><td>{literal(name)}</td><td><code>{literal(_told(value))}</code></td></tr>"
        for name, value in parameters.items()
    ]
    # Without a blank line, which would end the HTML.
    return "\n".join(
        [
            "<details open><summary>Parameters</summary>",
            "<table>",
            "<tr><th>parameter</th><th>value</th></tr>",
            *rows,
            "</table>",
            "</details>",
        ]
    )


def banner(reason):
    """The source of the cell that says of a notebook that it did not finish.

    Example:
        >>> "the kernel was killed by signal 9" in banner("the kernel was killed by "
        ...     "signal 9")
        True
    """
    style = "border: 3px solid #c00; padding: 0.5em 1em"
    return (
        f'<div style="{style}"><strong>This run did not finish:</strong> '
        f"{literal(reason)}. {NOTE}</div>"
    )


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
        import nbformat

        cell = nbformat.from_dict(cell)
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
    put(notebook, BANNER, banner(reason))


def _told(value):
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
