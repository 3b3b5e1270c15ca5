"""Which files of the package a notebook's code reaches, and a hash of each.

Imports are read, never executed, so that to plan a batch costs no import of Keras.
A guess errs on the side of too much: where an import can't be followed, the whole
package counts as reached. A run too many costs minutes, one too few its truth.
"""

import ast
import functools
import hashlib

# Where a package says which module each of its lazy names is found in.
HOMES = "_HOMES"
TESTS = ("_test.py", "conftest.py")


class Package:
    """The files of a Python package, as they are at this moment.

    The name of its folder is the package's.
    """

    def __init__(self, folder):
        self.folder, self.name = folder, folder.name
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self._modules = {
            self._dotted(path): path
            for path in sorted(folder.rglob("*.py"))
            if not path.name.endswith(TESTS)
        }
        self._data = [path for path in files if path.suffix not in (".py", ".pyc")]
        self._read = functools.cache(self._read)

    def reached(self, code):
        """The files that `code` reaches: path from the package's parent to a hash.

        The hash of a module is that of what it does: comments, formatting and
        docstrings are left out, unless the module itself reads its `__doc__`. A file
        of another kind counts if a reached module names it in a string, or names a
        folder beside itself that the file is in. Where `code` is no Python, as with a
        line of IPython's magic, everything is reached.
        """
        waiting, found, files = self._imported(_parse(code), self.name), set(), {}
        while waiting:
            name = waiting.pop()
            found.add(name)
            imported, content, data = self._read(name)
            waiting |= imported - found
            files[self._relative(self._modules[name])] = content
            files |= {self._relative(path): _hash(path.read_bytes()) for path in data}
        return files

    def _relative(self, path):
        return path.relative_to(self.folder.parent).as_posix()

    def _dotted(self, path):
        parts = path.relative_to(self.folder.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _read(self, name):
        """The modules that a module imports, its hash, and its data files."""
        path = self._modules[name]
        source = path.read_bytes()
        tree = _parse(source)
        if tree is None:
            return set(self._modules), _hash(source), []
        inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
        imported = self._imported(tree, inside)
        if name != self.name and _is_lazy(tree):
            # Of the lazy names of other packages than the root nobody keeps track.
            imported = set(self._modules)
        texts = {node.value for node in ast.walk(tree) if _is_text(node)}
        data = [file for file in self._data if _names(texts, path.parent, file)]
        return imported, _hash(_essence(tree)), data

    def _imported(self, tree, inside):
        """The modules that code in the package `inside` imports, anywhere in it."""
        if tree is None:
            return set(self._modules)
        found = set()
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=aliases):
                    for alias in aliases:
                        found |= self._resolve(alias.name)
                        # By the bound root any of its lazy names may be used.
                        if found and not ("." in alias.name and alias.asname):
                            found |= self._resolve(f"{self.name}.*")
                case ast.ImportFrom(module=module, names=aliases, level=level):
                    above = inside.rsplit(".", level - 1)[0] if level else None
                    base = ".".join(filter(None, (above, module)))
                    for alias in aliases:
                        found |= self._resolve(f"{base}.{alias.name}")
                case ast.Call(func=ast.Name(id="exec" | "eval")):
                    return set(self._modules)
                case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
                    if called in ("import_module", "__import__"):
                        match node.args:
                            case [ast.Constant(value=str(name)), *_] if name[0] != ".":
                                found |= self._resolve(name)
                            case [ast.Subscript(value=ast.Name(id=homes))] if (
                                homes == HOMES
                            ):
                                pass  # lazy names count where they are used
                            case _:
                                return set(self._modules)
        return found

    def _resolve(self, dotted):
        """The modules that are loaded to find what `dotted` names."""
        first, *rest = dotted.split(".")
        if first != self.name:
            return set()
        current, found = first, {first}
        for part in rest:
            if f"{current}.{part}" in self._modules:
                current = f"{current}.{part}"
                found.add(current)
            elif current == self.name:
                return found | self._lazy(part)
            else:
                # A name in a module, or all of a package's, which its imports bring.
                break
        return found

    def _lazy(self, name):
        """The modules behind a lazy name of the root; behind all of them for "*"."""
        if self._homes is None:
            return set(self._modules)
        homes = self._homes.values() if name == "*" else [self._homes.get(name, "")]
        return set().union(*map(self._resolve, homes))

    @functools.cached_property
    def _homes(self):
        """Lazy names of the root to modules; None where they can't be read."""
        tree = _parse(self._modules[self.name].read_bytes())
        if tree is None:
            return None
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    if name == HOMES:
                        try:
                            return ast.literal_eval(value)
                        except ValueError:
                            return None
        return None if _is_lazy(tree) else {}


def _parse(source):
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _is_lazy(tree):
    return any(getattr(node, "name", None) == "__getattr__" for node in tree.body)


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
