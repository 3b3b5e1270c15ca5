#!/usr/bin/env bash
# tokenizers 0.23.3: training word pieces twice on one text gives two vocabularies.
#
# Expected: the same files, trainer and settings give the same vocab.txt, so that a run can
# be repeated from its text.
# What happens: pairs of equal count are merged in an order that differs from process to
# process; the initial letters get numbers in the order of a hash map.
# Mend: give the alphabet oneself, in order (initial_alphabet does not order it: put it
# into special_tokens), or keep the trained file with the results.
# Seen: below, the number of different vocabularies out of five processes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
cat > "$folder/train.py" <<'PY'
import hashlib
import json

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

words = "the river of a small town where the old bridge crosses water and stone".split()
text = [" ".join(words[i:] + words[:i]) for i in range(len(words))]
tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer()
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
trainer = trainers.WordPieceTrainer(
    vocab_size=80, special_tokens=["[PAD]", "[UNK]"], show_progress=False
)
tokenizer.train_from_iterator(text, trainer)
vocabulary = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda e: e[1]))
print(hashlib.sha256(vocabulary.encode()).hexdigest())
PY
seen=$(for run in 1 2 3 4 5; do "$folder/env/bin/python" "$folder/train.py"; done)
different=$(sort -u <<<"$seen" | wc -l)
echo "five trainings on one text: $different vocabularies"
[ "$different" -gt 1 ]
