"""A corpus as token ids, in files that are mapped into memory and made once.

They lie in `lamb_keras.data.cache`'s folder, named by all that they depend on. The text
is gone through file by file, so that a corpus of any size takes the memory of its
largest file; what was ended goes on after the last file that was finished.
"""

import hashlib
import importlib.metadata
import json
import os
import tempfile
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from lamb_keras.data import cache
from lamb_keras.data.text import corpus as corpora
from lamb_keras.data.text import wordpiece
from lamb_keras.data.text.wordpiece import Vocabulary
from lamb_keras.store import atomic

_PARTS = "train", "held_out"
# Written of each part: ids, tokens of each sentence, sentences of each document.
_ARRAYS = "ids", "sentences", "documents"


class Tokens(NamedTuple):
    """The token ids of documents, one after the other, without special tokens."""

    ids: np.ndarray  # (tokens,) int16 where the vocabulary allows, else int32
    # (sentences + 1,) int64: where in `ids` each begins, and the end
    sentences: np.ndarray
    # (documents + 1,) int64: which sentence each begins with, and the number of all
    documents: np.ndarray

    @classmethod
    def of(cls, ids, lengths, counts) -> "Tokens":
        """From the tokens of each sentence and the sentences of each document."""
        return cls(ids, *(np.append(0, np.cumsum(each)) for each in (lengths, counts)))


class Prepared(NamedTuple):
    """What a net is trained on and evaluated on, and the vocabulary of both."""

    vocabulary: Vocabulary
    train: Tokens
    held_out: Tokens


def prepare(corpus: corpora.Corpus, vocabulary: Vocabulary | int) -> Prepared:
    """The tokens of a corpus, from the cache where they are there.

    Args:
        corpus: with a part that is held out.
        vocabulary: or the size of one that is trained on the other part.

    Raises:
        DataError: for a file that is no text in UTF-8, and for a part of fewer than two
            documents.

    Example:
        >>> made = [corpora.Document("", (f"{n} is a number.",)) for n in range(20)]
        >>> found = prepare(corpora.Corpus([], made, validation_fraction=0.5), 200)
        >>> len(found.train.documents) + len(found.held_out.documents) - 2
        20
    """
    folder = _folder(corpus, vocabulary)
    if _read(folder / "state.json").get("done"):  # which others may only read
        return _prepared(corpus, vocabulary, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError:
        # A folder that cannot be written to only costs the time again; the files are
        # there for as long as they are mapped.
        with tempfile.TemporaryDirectory(prefix="lamb-text-") as temporary:
            return _prepared(corpus, vocabulary, Path(temporary))
    with lock:
        import fcntl  # which Windows lacks

        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be preparing the same
        return _prepared(corpus, vocabulary, folder)


def are_prepared(corpus: corpora.Corpus, vocabulary: Vocabulary | int) -> bool:
    """Whether `prepare` has only to open files."""
    return bool(_read(_folder(corpus, vocabulary) / "state.json").get("done"))


def _folder(corpus, vocabulary):
    trained = isinstance(vocabulary, int)
    of = [corpus.key, vocabulary if trained else vocabulary.fingerprint]
    of.append(importlib.metadata.version("tokenizers"))
    # And of the code that tells sentences and words apart.
    for file in (corpora.__file__, wordpiece.__file__, __file__):
        of.append(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    digest = hashlib.sha256(json.dumps(of).encode()).hexdigest()
    return Path(cache.folder()) / f"text-{digest[:32]}"


def _prepared(corpus, vocabulary, folder):
    if isinstance(vocabulary, int):
        trained = folder / "vocabulary.json"
        if not (tokens := _read(trained)):
            tokens = wordpiece.train(corpus.train, vocabulary).tokens
            atomic.write(trained, json.dumps(tokens))
        vocabulary = Vocabulary(tuple(tokens))
    small = vocabulary.size <= np.iinfo(np.int16).max + 1
    types = np.int16 if small else np.int32, np.int32, np.int32
    state = _read(folder / "state.json")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    written = state.get("bytes", {})
    if not state or any(sizes.get(name, 0) < written[name] for name in written):
        state = {"files": 0, "bytes": {}}  # nothing, or a file of it is damaged
    if "done" not in state:
        _add_files(corpus, vocabulary, folder, state, types)
        state["done"] = True
        atomic.write(folder / "state.json", json.dumps(state))
    parts = [[*_mapped(folder, part, types)] for part in _PARTS]
    corpus.check(*(len(counts) for _, _, counts in parts))
    return Prepared(vocabulary, *(Tokens.of(*each) for each in parts))


def _add_files(corpus, vocabulary, folder, state, types):
    paths = {
        (part, kind): folder / f"{part}.{kind}" for part in _PARTS for kind in _ARRAYS
    }
    for path in paths.values():
        path.touch()
        # Without what was being added when it ended.
        os.truncate(path, state["bytes"].get(path.name, 0))
    tokenizer, count = vocabulary.tokenizer(), len(corpus.files)
    bar = {"desc": "tokens", "unit": "file", "disable": None, "delay": 5}
    rest = corpus.by_file(state["files"])
    for documents in tqdm(rest, total=count, initial=state["files"], **bar):
        texts = [text for each in documents for text in each.sentences]
        encoded = iter(tokenizer.encode_batch_fast(texts))
        parts = {part: [] for part in _PARTS}
        for document in documents:
            ids = [next(encoded).ids for _ in document.sentences]
            # Empty ones do not count.
            if ids := [each for each in ids if each]:
                parts[_PARTS[corpus.holds_out(document)]].append(ids)
        for part, found in parts.items():
            sentences = [*chain.from_iterable(found)]
            arrays = (
                chain.from_iterable(sentences),
                map(len, sentences),
                map(len, found),
            )
            for kind, array, type_ in zip(_ARRAYS, arrays, types, strict=True):
                with paths[part, kind].open("ab") as file:
                    np.fromiter(array, type_).tofile(file)
        state["files"] += 1
        state["bytes"] = {path.name: path.stat().st_size for path in paths.values()}
        atomic.write(folder / "state.json", json.dumps(state))


def _mapped(folder, part, types):
    """The arrays of a part; an empty file cannot be mapped."""
    for kind, type_ in zip(_ARRAYS, types, strict=True):
        path = folder / f"{part}.{kind}"
        empty = not path.stat().st_size
        yield np.zeros(0, type_) if empty else np.memmap(path, type_, "r")


def _read(path):
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
