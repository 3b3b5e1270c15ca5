"""WordPiece, BERT's tokens: trained on a corpus, or read from its vocabulary file."""

import collections
import functools
import hashlib
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lamb_keras.data import cache
from lamb_keras.data.images import DataError
from lamb_keras.data.text import corpus

# Of a corpus in many scripts, the most common ones.
_MOST_CHARACTERS = 1000


# The special tokens, or their ids.
Specials = collections.namedtuple("Specials", "pad unk cls sep mask")
SPECIALS = Specials("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Vocabulary:
    """Word pieces, each at the place that is its id, and the tokenizer of a text.

    Those that continue a word begin with "##". `lowercase` removes capitals first, and
    accents, unless `strip_accents` says otherwise. A missing special token or a
    repeated token is a `DataError`.

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
    strip_accents: bool | None = None

    def __post_init__(self):
        missing = [token for token in SPECIALS if token not in self.tokens]
        if missing:
            raise DataError(
                f"the vocabulary of {len(self.tokens):,} tokens has no "
                f"{' and no '.join(missing)}; expected all of {', '.join(SPECIALS)}, "
                "as in BERT's vocab.txt"
            )
        token, count = collections.Counter(self.tokens).most_common(1)[0]
        if count > 1:
            raise DataError(
                f"the vocabulary has the token {token!r} twice; expected every token "
                "once, since its place is its id"
            )

    @property
    def size(self) -> int:
        return len(self.tokens)

    @functools.cached_property
    def specials(self) -> Specials:
        return Specials(*map(self.tokens.index, SPECIALS))

    @property
    def mask(self) -> int:
        return self.specials.mask

    @functools.cached_property
    def fingerprint(self) -> str:
        casing = f"lowercase={self.lowercase}"
        if self.strip_accents is not None:
            casing += f" strip_accents={self.strip_accents}"
        return hashlib.sha256("\n".join([casing, *self.tokens]).encode()).hexdigest()

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """(ids, offsets): where each token begins and ends in the text's characters.

        Special tokens are neither added nor recognized in the text.
        """
        encoded = self._tokenizer.encode(text)
        return encoded.ids, encoded.offsets

    def encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        """The ids of each text, on all cores."""
        return [each.ids for each in self._tokenizer.encode_batch_fast(list(texts))]

    def tokenizer(self):
        """A new `tokenizers.Tokenizer` that `encode`s so, to be set up further."""
        from tokenizers import models

        ids = {token: i for i, token in enumerate(self.tokens)}
        model = models.WordPiece(
            ids, unk_token=SPECIALS.unk, max_input_chars_per_word=100
        )
        return _tokenizer(model, self.lowercase, self.strip_accents)

    @functools.cached_property
    def _tokenizer(self):
        return self.tokenizer()


def train(documents, size: int, lowercase: bool = True) -> Vocabulary:
    """The vocabulary of `corpus` documents, the same every time; kept in the cache.

    It has at most `size` tokens, special ones and single characters included; too small
    a size, or documents without text, are a `DataError`.

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
    arrays = cache.remembered(
        name, ["tokens"], lambda: {"tokens": _trained(documents, size, lowercase)}
    )
    return Vocabulary(tuple(arrays["tokens"].tolist()), lowercase)


def load(vocab_file: str) -> Vocabulary:
    """The vocabulary in a file of one token a line, as BERT's `vocab.txt` is.

    Its tokens tell its casing: capitals or accents that more than a few of them have
    are not removed from a text, for then these tokens could not occur.
    """
    expected = "a file of one token a line, as BERT's vocab.txt is"
    tokens = corpus.read_text(vocab_file, expected).split("\n")
    if not tokens[-1]:
        tokens.pop()
    # Special ones, unused ones and some outliers apart.
    words = [token for token in tokens if token[:1] + token[-1:] not in ("[]", "<>")]
    capitals = sum(word != word.lower() for word in words)
    accents = sum(
        unicodedata.category(character) == "Mn"
        for word in words
        for character in unicodedata.normalize("NFD", word)
    )
    few = len(words) / 200
    lowercase = capitals <= few
    strip_accents = False if lowercase and accents > few else None
    try:
        return Vocabulary(tuple(tokens), lowercase, strip_accents)
    except DataError as error:
        raise DataError(f"{vocab_file}: {error}") from None


def _trained(documents, size, lowercase):
    from tokenizers import models, trainers

    tokenizer = _tokenizer(models.WordPiece(unk_token=SPECIALS.unk), lowercase)
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
        # Those that continue a word would else be numbered in an order that every
        # process draws anew, and equally frequent pairs are joined by number.
        special_tokens=[*SPECIALS, *("##" + character for character in later)],
        show_progress=False,
    )
    lines = (sentence for document in documents for sentence in document.sentences)
    tokenizer.train_from_iterator(lines, trainer)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return np.array(sorted(vocabulary, key=vocabulary.get))


def _characters(documents, tokenizer, lowercase):
    """The sorted characters of the words, and those that continue one.

    Letters, digits and punctuation are always among them: a question may have them.
    """
    normalize = tokenizer.normalizer.normalize_str
    words = tokenizer.pre_tokenizer.pre_tokenize_str
    counts = collections.Counter(
        word
        for document in documents
        for word, _ in words(normalize("\n".join(document.sentences)))
    )
    frequency = collections.Counter()
    for word, count in counts.items():
        for character in word:
            frequency[character] += count
    common = sorted(frequency, key=lambda c: (-frequency[c], c))[:_MOST_CHARACTERS]
    letters = string.digits + string.ascii_lowercase
    if not lowercase:
        letters += string.ascii_uppercase
    later = {c for word in counts for c in word[1:]} & set(common)
    first = {*common, *letters, *string.punctuation}
    return sorted(first), sorted({*later, *letters})


def _tokenizer(model, lowercase, strip_accents=None):
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
