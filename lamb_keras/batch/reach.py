"""Which of the package's files a notebook's code reaches, and what is in them.

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
LAZILY = "__getattr__"
# What a package of this content and a notebook of this code reach: at the end of each
# run it is asked again whether anything changed, which is seldom.
_REACHED = {}


class Package:
    """The files of a Python package, as they are at this moment.

    Args:
        folder: the package's folder; its name is the package's.

    Example:
        >>> from pathlib import Path
        >>> package = Package(Path(__file__).parents[1])
        >>> sorted(package.reached("from lamb_keras import events"))
        ['lamb_keras/__init__.py', 'lamb_keras/store/events.py']
    """

    def __init__(self, folder):
        self.folder, self.name = folder, folder.name
        self._modules = {
            self._dotted(path): path
            for path in sorted(folder.rglob("*.py"))
            if not path.name.endswith(TESTS)
        }
        self._data = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in (".py", ".pyc")
        ]
        self._read = functools.cache(self._read)

    def reached(self, code):
        """The files that `code` reaches: path from the package's parent to a hash.

        The hash of a module is that of what it does: comments, formatting and
        docstrings are left out, unless the module itself reads its `__doc__`. A file
        of another kind counts if a reached module names it in a string, or names a
        folder beside itself that the file is in.

        Args:
            code: Python source; where it is none, as with a line of IPython's magic,
            everything is reached.
        """
        known = self._content, code
        if known not in _REACHED:
            _REACHED[known] = self._follow(code)
        return dict(_REACHED[known])

    @functools.cached_property
    def _content(self):
        """A hash of all files, byte by byte."""
        content = hashlib.sha256()
        for path in (*self._modules.values(), *self._data):
            try:
                there = _hash(path.read_bytes())
            except OSError as error:
                # Only what is reached must be readable, which is found out later.
                there = str(error)
            content.update(f"{path}\n{there}\n".encode())
        return content.digest()

    def _follow(self, code):
        waiting, found = self._mentions(_parse(code), self.name), set()
        while waiting - found:
            name = (waiting - found).pop()
            found.add(name)
            waiting |= self._read(name)[0]
        files = {}
        for name in found:
            _, content, data = self._read(name)
            files[self._called(self._modules[name])] = content
            files |= {self._called(path): _hash(path.read_bytes()) for path in data}
        return files

    def _called(self, path):
        return path.relative_to(self.folder.parent).as_posix()

    def _dotted(self, path):
        parts = path.relative_to(self.folder.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _read(self, name):
        """The modules that a module mentions, its hash, and its data files."""
        path = self._modules[name]
        source = path.read_bytes()
        tree = _parse(source)
        if tree is None:
            return set(self._modules), _hash(source), []
        is_package = path.name == "__init__.py"
        inside = name if is_package else name.rpartition(".")[0]
        mentioned = self._mentions(tree, inside)
        if name != self.name and _defines(tree, LAZILY):
            # Of the lazy names of other packages than the root nobody keeps track.
            mentioned = set(self._modules)
        texts = {node.value for node in ast.walk(tree) if _is_string(node)}
        data = [file for file in self._data if _names(texts, path.parent, file)]
        # Last, for it takes the docstrings out of the tree.
        return mentioned, _hash(_essence(tree)), data

    def _mentions(self, tree, inside):
        """The modules that code in the package `inside` imports, anywhere in it."""
        if tree is None:
            return set(self._modules)
        found, root = set(), set()
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=aliases):
                    for alias in aliases:
                        found |= self._resolve(alias.name)
                        # `import a.b` binds a, and `import a.b as c` binds a.b.
                        bound, dot, _ = alias.name.partition(".")
                        if bound == self.name and not (dot and alias.asname):
                            root.add(alias.asname or bound)
                case ast.ImportFrom(module=module, names=aliases, level=level):
                    package = _above(inside, level) if level else None
                    base = ".".join(filter(None, (package, module)))
                    for alias in aliases:
                        found |= self._resolve(f"{base}.{alias.name}")
                case ast.Call(func=ast.Name(id="exec" | "eval")):
                    return set(self._modules)
                case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
                    if called in ("import_module", "__import__"):
                        found |= self._imported_by_call(node)
        return found | self._used_of_root(tree, root)

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
            elif part == "*" and self._modules[current].name == "__init__.py":
                return set(self._modules)
            elif current == self.name:
                return found | self._lazy(part)
            else:
                break
        return found

    def _lazy(self, name):
        """The modules behind a name that the package itself finds when it is used."""
        if self._homes is None:
            return set(self._modules)
        home = self._homes.get(name)
        return self._resolve(home) if home else set()

    @functools.cached_property
    def _homes(self):
        """Lazy names to modules; None where they can't be told."""
        tree = _parse(self._modules[self.name].read_bytes())
        if tree is None:
            return None
        if not _defines(tree, LAZILY):
            return {}
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as homes):
                    if name == HOMES and all(
                        map(_is_string, [*homes.keys, *homes.values])
                    ):
                        return ast.literal_eval(homes)
        return None

    def _used_of_root(self, tree, bound):
        """The modules behind what is used of the package under the names `bound`."""
        found, understood = set(), set()
        # From the top down: an attribute is met before the name that it is of.
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=name) as root, attr=attribute):
                    if name in bound:
                        understood.add(root)
                        found |= self._resolve(f"{self.name}.{attribute}")
                case ast.Name(id=name) if name in bound and node not in understood:
                    # Passed on whole, for `getattr` or whatever else.
                    return set(self._modules)
        return found

    def _imported_by_call(self, call):
        match call.args:
            case [ast.Constant(value=str(name)), *_] if not name.startswith("."):
                return self._resolve(name)
            case [ast.Subscript(value=ast.Name(id=name))] if name == HOMES:
                # The lazy names themselves, which count where they are used.
                return set()
        return set(self._modules)


def _parse(source):
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _above(package, level):
    return package.rsplit(".", level - 1)[0] if level > 1 else package


def _defines(tree, name):
    return any(
        isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body
    )


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
            node.body = [each for each in body if not _is_text(each)]
    return ast.dump(tree).encode()


def _is_text(statement):
    return isinstance(statement, ast.Expr) and _is_string(statement.value)


def _is_string(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _hash(content):
    return hashlib.sha256(content).hexdigest()
