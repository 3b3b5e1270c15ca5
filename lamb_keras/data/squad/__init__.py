"""SQuAD v1.1: questions on paragraphs, each answered by a span of its paragraph.

`files` reads the questions, `features` makes a model's windows of tokens, `answers`
makes texts out of its logits and scores them. Nothing here imports JAX or Keras.
"""

from lamb_keras.data.squad.answers import best_spans, evaluate, f1
from lamb_keras.data.squad.features import Features, features
from lamb_keras.data.squad.files import Question, read, split_by_article

__all__ = ["Features", "Question", "best_spans", "evaluate", "f1", "features"]
__all__ += ["read", "split_by_article"]
