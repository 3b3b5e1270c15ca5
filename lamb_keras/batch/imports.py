"""Which files of the package a notebook's code reaches, and a hash of each.

Imports are read, never executed, so that to plan a batch costs no import of Keras.
A guess errs on the side of too much: where an import can't be followed, the whole
package counts as reached. A run too many costs minutes, one too few its truth.
"""

import ast
import functools
import hashlib
from modulefinder import ModuleFinder
from pathlib import Path

TESTS = ("_test.py", "conftest.py")


class Package:
    """The files of a Python package, as they are at this moment.

    The name of its folder is the package's.
    """

    def __init__(self, folder):
        self.folder, self.name = folder, folder.name
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self._modules = [
            path
            for path in files
            if path.suffix == ".py" and not path.name.endswith(TESTS)
        ]
        self._data = [path for path in files if path.suffix not in (".py", ".pyc")]
        self._read = functools.cache(self._read)
        self.reached = functools.cache(self.reached)

    def reached(self, code):
        """The files that `code` reaches: path from the package's parent to a hash.

        The hash of a module is that of what it does: comments, formatting and
        docstrings are left out, unless the module itself reads its `__doc__`. A file
        of another kind counts if a reached module names it in a string, or names a
        folder beside itself that the file is in. Where `code` is no Python, as with a
        line of IPython's magic, everything is reached.
        """
        found = {}
        for path in self._imported(code):
            found[path], data, _ = self._read(path)
            found |= {file: _hash(file.read_bytes()) for file in data}
        parent = self.folder.parent
        return {path.relative_to(parent).as_posix(): found[path] for path in found}

    def _read(self, path):
        """A module's hash, its data files, and whether it hides what it imports."""
        source = path.read_bytes()
        tree = _parse(source)
        if tree is None:
            return _hash(source), [], True
        dynamic = self._is_dynamic(tree)
        texts = {node.value for node in ast.walk(tree) if _is_text(node)}
        data = [file for file in self._data if _names(texts, path.parent, file)]
        return _hash(_essence(tree)), data, dynamic

    def _imported(self, code):
        """The modules that are imported, anywhere in the code or in one another."""
        finder = _Finder(self.folder)
        try:
            compiled = compile(code, "notebook", "exec")
            finder.scan_code(compiled, finder.add_module("__main__"))
        except (SyntaxError, ValueError):
            return self._modules
        inside = f"{self.name}."
        below = {
            Path(module.__file__)
            for name, module in finder.modules.items()
            if name.startswith(inside)
        }
        # The package itself finds some of its names only when they are used.
        missing, _ = finder.any_missing_maybe()
        if (
            any(name.startswith(inside) for name in missing)
            or self._is_dynamic(_parse(code))
            or any(self._read(path)[-1] for path in below)
        ):
            return self._modules
        root = [self.folder / "__init__.py"] if self.name in finder.modules else []
        return [*root, *sorted(below)]

    def _is_dynamic(self, tree):
        """Whether code may import what its import statements do not say."""
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    for each in names:
                        root, *below = each.name.split(".")
                        # By the package itself any of its names may be used.
                        if root == self.name and not (below and each.asname):
                            return True
                case ast.Call(func=ast.Name(id="exec" | "eval")):
                    return True
                case ast.Call(
                    func=ast.Name(id="import_module" | "__import__")
                    | ast.Attribute(attr="import_module"),
                    args=args,
                ):
                    known = args and _is_text(args[0]) and args[0].value.split(".")[0]
                    if not known or known == self.name:
                        return True
        return any(getattr(node, "name", None) == "__getattr__" for node in tree.body)


class _Finder(ModuleFinder):
    """Follows imports within one package, whatever is installed beside it."""

    def __init__(self, folder):
        super().__init__([str(folder.parent)])
        self._package = folder.name

    def find_module(self, name, path, parent=None):
        if path is None and name != self._package:
            raise ImportError(name)
        return super().find_module(name, path, parent)


def _parse(source):
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _names(texts, folder, file):
    """Whether a text names the file, or a folder in `folder` that it is in."""
    if file.name in texts or not file.is_relative_to(folder):
        return file.name in texts
    relative = file.relative_to(folder)
    return any(
        path.as_posix() in texts
        for path in (relative, *relative.parents)
        # A word that happens to be the name of a package means no files of it.
        if path.name and not (folder / path / "__init__.py").exists()
    )


def _essence(tree):
    """What a module does, as text: without comments, formatting and docstrings."""
    documented = any(
        "__doc__" in (getattr(node, field, None) for field in ("id", "attr", "value"))
        for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and not documented:
            node.body = [each for each in body if not _is_docstring(each)]
    return ast.dump(tree).encode()


def _is_docstring(statement):
    return isinstance(statement, ast.Expr) and _is_text(statement.value)


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _hash(content):
    return hashlib.sha256(content).hexdigest()
