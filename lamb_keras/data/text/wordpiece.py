"""WordPiece, BERT's tokens: trained on a corpus, or read from its vocabulary file."""

import collections
import functools
import hashlib
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from lamb_keras.data.source import DataError
from lamb_keras.data.text import corpus

_MOST_CHARACTERS = 1000  # of a corpus in many scripts, the most common ones

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
        """The ids of the special tokens."""
        return Specials(*map(self.tokens.index, SPECIALS))

    @functools.cached_property
    def fingerprint(self) -> str:
        casing = f"lowercase={self.lowercase}"
        if self.strip_accents is not None:
            casing += f" strip_accents={self.strip_accents}"
        return hashlib.sha256("\n".join([casing, *self.tokens]).encode()).hexdigest()

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """(ids, offsets): where each token begins and ends in the text's characters."""
        encoded = self._tokenizer.encode(text)
        return encoded.ids, encoded.offsets

    def tokenizer(self):
        """A new `tokenizers.Tokenizer` that `encode`s so, to be set up further."""
        ids = {token: i for i, token in enumerate(self.tokens)}
        return _tokenizer(self.lowercase, self.strip_accents, ids)

    _tokenizer = functools.cached_property(tokenizer)


def train(
    documents: Iterable[corpus.Document], size: int, lowercase: bool = True
) -> Vocabulary:
    """The vocabulary of a corpus, which is gone through twice; the same every time.

    It has at most `size` tokens, special ones and single characters included; a size
    without room for these is a `DataError`.

    Example:
        >>> documents = [corpus.Document("", ("so far, so good",))] * 2
        >>> "good" in train(documents, size=200).tokens
        True
    """
    from tokenizers import trainers

    tokenizer = _tokenizer(lowercase)
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
    return Vocabulary(tuple(sorted(vocabulary, key=vocabulary.get)), lowercase)


def load(vocab_file: str) -> Vocabulary:
    """The vocabulary in a file of one token a line, as BERT's `vocab.txt` is.

    Its tokens tell its casing: capitals or accents that more than a few of them have
    are not removed from a text, for then these tokens could not occur.
    """
    expected = "a file of one token a line, as BERT's vocab.txt is"
    tokens = corpus.read_text(vocab_file, expected).rstrip("\n").split("\n")
    # Special ones, unused ones and some outliers apart.
    words = [token for token in tokens if token[:1] + token[-1:] not in ("[]", "<>")]
    capitals = sum(word != word.lower() for word in words)
    letters = unicodedata.normalize("NFD", " ".join(words))
    accents = sum(unicodedata.category(letter) == "Mn" for letter in letters)
    few = len(words) / 200
    lowercase = capitals <= few
    strip_accents = False if lowercase and accents > few else None
    try:
        return Vocabulary(tuple(tokens), lowercase, strip_accents)
    except DataError as error:
        raise DataError(f"{vocab_file}: {error}") from None


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


def _tokenizer(lowercase, strip_accents=None, ids=None):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=SPECIALS.unk))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
