"""SQuAD v1.1: questions on paragraphs, each answered by a span of its paragraph.

`files` reads the questions, `features` makes a model's windows of tokens, `spans` makes
texts out of its logits, and `metric` scores them as the official evaluation does.
Nothing here imports JAX or Keras.
"""

from lamb_keras.data.squad.features import Features, features
from lamb_keras.data.squad.files import Question, read, split_by_article
from lamb_keras.data.squad.metric import evaluate, exact_match, f1, normalize_answer
from lamb_keras.data.squad.spans import best_spans

__all__ = [
    "Features",
    "Question",
    "best_spans",
    "evaluate",
    "exact_match",
    "f1",
    "features",
    "normalize_answer",
    "read",
    "split_by_article",
]
