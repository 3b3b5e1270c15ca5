#!/usr/bin/env bash
# tokenizers 0.23.3: post_process gives the later windows of a pair segment 0 throughout.
#
# Expected: encode(question, context) and post_process of the two encoded apart are the
# same, in every window that truncation with a stride makes: segment 0 for the question,
# 1 for the context, as BERT's input asks for.
# What happens: encoded at once, all windows are right; put together by post_process, the
# first window is right and the context of every other one has segment 0. A net that is
# fed so answers questions on long texts worse, and nothing says why.
# Mend: set the segments oneself, by sequence_ids, or encode the pair at once.
# Seen: by encode, contexts have segments [1, 1, 1]; by post_process [1, 0, 0].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
"$folder/env/bin/python" - <<'PY'
from tokenizers import Tokenizer, models, pre_tokenizers, processors

words = ["[UNK]", "[CLS]", "[SEP]", *"abcdefghij"]
tokenizer = Tokenizer(
    models.WordPiece({w: n for n, w in enumerate(words)}, unk_token="[UNK]")
)
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
question, context = "a b", "c d e f g h i j"


def segments(first):
    """The segment of the first token of the context, window by window."""
    windows = [first, *first.overflowing]
    return [w.type_ids[w.sequence_ids.index(1)] for w in windows]


apart = [tokenizer.encode(t, add_special_tokens=False) for t in (question, context)]
tokenizer.enable_truncation(9, stride=1, strategy="only_second")
at_once = segments(tokenizer.encode(question, context))
put_together = segments(tokenizer.post_process(*apart))
print("encode", at_once, "post_process", put_together)
assert at_once == [1] * len(at_once) and len(at_once) > 1
assert put_together == [1] + [0] * (len(at_once) - 1)
PY
