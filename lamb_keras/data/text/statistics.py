"""What can be known of a text without a model: by how much one has to be better."""

import numpy as np

from lamb_keras.data.images import DataError
from lamb_keras.data.text.wordpiece import Vocabulary


def unigram_entropy(token_ids: np.ndarray, vocabulary: Vocabulary) -> float:
    """-Σ p·ln p over the tokens' frequencies p, in nats per token.

    No model that looks at nothing but how often tokens are has a lower masked-LM loss.

    Args:
        token_ids: of any shape; special tokens in it are not counted.
        vocabulary: the tokens' vocabulary.

    Raises:
        lamb_keras.data.DataError: where there are none but special tokens.

    Example:
        >>> from lamb_keras.data.text import wordpiece
        >>> vocabulary = Vocabulary((*wordpiece.SPECIALS, "so", "far"))
        >>> round(unigram_entropy(np.array([2, 5, 3, 6, 3, 0]), vocabulary), 4)
        0.6931
    """
    counts = np.bincount(np.ravel(token_ids), minlength=vocabulary.size)
    counts[list(vocabulary.specials)] = 0
    if not counts.any():
        raise DataError(
            "there are no tokens but special ones to count; expected those of a corpus"
        )
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
