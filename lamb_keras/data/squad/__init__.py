"""SQuAD v1.1: questions on paragraphs, each answered by a span of its paragraph.

In this order: `files` reads the questions; `features` makes the windows of tokens that
a model is fed; `spans` makes texts out of the model's logits; `metric` judges them as
the official evaluation does. Nothing here imports JAX or Keras.
"""

from lamb_keras.data.squad.features import Features, features
from lamb_keras.data.squad.files import Question, read, split_by_article
from lamb_keras.data.squad.metric import evaluate, exact_match, f1, normalize_answer
from lamb_keras.data.squad.spans import best_spans, texts

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
    "texts",
]
