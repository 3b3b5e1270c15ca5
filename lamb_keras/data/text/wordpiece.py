"""WordPiece, BERT's tokens: trained on a corpus, or read from its vocabulary file."""

import collections
import functools
import hashlib
import string
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lamb_keras.data import cache
from lamb_keras.data.images import DataError
from lamb_keras.data.text import corpus

# Of a corpus in many scripts, the most common ones.
_MOST_CHARACTERS = 1000

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Vocabulary:
    """Word pieces, and what cuts a text into them.

    Args:
        tokens: the pieces; the place of each is its id. Those that go on with a word
            begin with "##".
        lowercase: whether capitals and accents are taken off first.

    Raises:
        lamb_keras.data.DataError: where a special token is missing.

    Example:
        >>> vocabulary = Vocabulary((*SPECIALS, "look", "##ing", "up"))
        >>> ids, offsets = vocabulary.encode("Looking  up!")
        >>> [vocabulary.tokens[i] for i in ids]
        ['look', '##ing', 'up', '[UNK]']
        >>> offsets
        [(0, 4), (4, 7), (9, 11), (11, 12)]
    """

    tokens: tuple[str, ...] = field(repr=False)
    lowercase: bool = True

    def __post_init__(self):
        missing = [token for token in SPECIALS if token not in self.tokens]
        if missing:
            raise DataError(
                f"the vocabulary of {len(self.tokens):,} tokens has no "
                f"{' and no '.join(missing)}; expected all of {', '.join(SPECIALS)}, "
                "as BERT's vocab.txt has them"
            )

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    @functools.cached_property
    def specials(self) -> tuple[int, ...]:
        """The ids of the special tokens, in the order of `SPECIALS`."""
        return tuple(self.tokens.index(token) for token in SPECIALS)

    @property
    def pad(self) -> int:
        """The id of what fills up a sequence."""
        return self.specials[0]

    @property
    def unk(self) -> int:
        """The id of a word that can't be put together."""
        return self.specials[1]

    @property
    def cls(self) -> int:
        """The id of a sequence's first token."""
        return self.specials[2]

    @property
    def sep(self) -> int:
        """The id of what ends a segment."""
        return self.specials[3]

    @property
    def mask(self) -> int:
        """The id of what stands where a token is to be predicted."""
        return self.specials[4]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens and of the treatment of capitals."""
        described = "\n".join([f"lowercase={self.lowercase}", *self.tokens])
        return hashlib.sha256(described.encode()).hexdigest()

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """(ids, offsets): where in the text each begins and ends, in characters.

        No special tokens are added, and none is recognized in the text.
        """
        encoded = self._tokenizer.encode(text)
        return encoded.ids, encoded.offsets

    def encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        """The ids of each text, on all cores."""
        return [each.ids for each in self._tokenizer.encode_batch_fast(list(texts))]

    @functools.cached_property
    def _tokenizer(self):
        from tokenizers import models

        ids = {token: i for i, token in enumerate(self.tokens)}
        model = models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100)
        return _tokenizer(model, self.lowercase)


def train(documents, size: int, lowercase: bool = True) -> Vocabulary:
    """A vocabulary for these documents, the same every time; kept in the cache.

    Args:
        documents: of `lamb_keras.data.text.corpus`.
        size: at most so many tokens, special ones and single characters included.
        lowercase: whether capitals and accents are taken off first.

    Raises:
        lamb_keras.data.DataError: where there is no text, or `size` leaves no room for
            the single characters.

    Example:
        >>> from lamb_keras.data.text.corpus import Document
        >>> documents = [Document("", ("so far, so good",))] * 2
        >>> "good" in train(documents, size=200).tokens
        True
    """
    documents = list(documents)
    if not any(document.sentences for document in documents):
        raise DataError(
            "there is no text to train a vocabulary on; expected documents of sentences"
        )
    key = f"{corpus.fingerprint(documents)} {size} {lowercase}"
    name = f"vocabulary-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    kept = cache.remembered(
        name, ["tokens"], lambda: {"tokens": _trained(documents, size, lowercase)}
    )
    return Vocabulary(tuple(kept["tokens"].tolist()), lowercase)


def load(vocab_file: str, lowercase: bool = True) -> Vocabulary:
    """The vocabulary in a file of a token a line, as BERT's `vocab.txt` is.

    Args:
        vocab_file: its path.
        lowercase: whether it is that of an uncased model.

    Raises:
        lamb_keras.data.DataError: where there is no such file, or it is none.
    """
    try:
        with open(vocab_file, encoding="utf-8", newline="\n") as file:
            tokens = [line.removesuffix("\r") for line in file.read().split("\n")]
    except UnicodeDecodeError:
        raise DataError(
            f"{vocab_file} is not text in UTF-8; expected a file of a token a line, "
            "as BERT's vocab.txt is"
        ) from None
    except OSError as error:
        raise DataError(
            f"{vocab_file} cannot be read ({error.strerror}); expected a file of a "
            "token a line, as BERT's vocab.txt is"
        ) from None
    if not tokens[-1]:
        tokens.pop()
    missing = [token for token in SPECIALS if token not in tokens]
    if missing:
        raise DataError(
            f"{vocab_file} has no {' and no '.join(missing)} among its {len(tokens):,} "
            f"lines; expected all of {', '.join(SPECIALS)}, as in BERT's vocab.txt"
        )
    if len(set(tokens)) < len(tokens):
        twice = next(token for token in tokens if tokens.count(token) > 1)
        raise DataError(
            f"{vocab_file} has the token {twice!r} twice; expected every token once, "
            "since the line of a token is its id"
        )
    return Vocabulary(tuple(tokens), lowercase)


def _trained(documents, size, lowercase):
    from tokenizers import models, trainers

    tokenizer = _tokenizer(models.WordPiece(unk_token="[UNK]"), lowercase)
    first, later = _characters(documents, tokenizer, lowercase)
    smallest = len(SPECIALS) + len(first) + len(later)
    if size < smallest:
        raise DataError(
            f"a vocabulary of {size} tokens has no room for the {smallest} of special "
            "tokens and single characters; choose a larger size, such as 1000"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=first,
        limit_alphabet=len(first),
        # Those that go on with a word would else be numbered in an order that every
        # process draws anew, and pairs that are alike often are joined by number.
        special_tokens=[*SPECIALS, *("##" + character for character in later)],
        show_progress=False,
    )
    lines = (sentence for document in documents for sentence in document.sentences)
    tokenizer.train_from_iterator(lines, trainer)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return np.array(sorted(vocabulary, key=vocabulary.get))


def _characters(documents, tokenizer, lowercase):
    """The characters a word may have, and of them those within a word, in order.

    What a question may have is among them though the corpus has it nowhere.
    """
    normalize = tokenizer.normalizer.normalize_str
    words = tokenizer.pre_tokenizer.pre_tokenize_str
    counts = collections.Counter(
        word
        for document in documents
        for word, _ in words(normalize("\n".join(document.sentences)))
    )
    every = collections.Counter()
    for word, count in counts.items():
        for character in word:
            every[character] += count
    common = sorted(every, key=lambda c: (-every[c], c))[:_MOST_CHARACTERS]
    letters = string.digits + string.ascii_lowercase
    if not lowercase:
        letters += string.ascii_uppercase
    later = {c for word in counts for c in word[1:]} & set(common)
    return (
        sorted({*common, *letters, *string.punctuation}),
        sorted({*later, *letters}),
    )


def _tokenizer(model, lowercase):
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
