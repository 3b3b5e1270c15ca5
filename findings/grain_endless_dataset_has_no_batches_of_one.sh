#!/usr/bin/env bash
# grain 0.2.18: an endless dataset cannot be batched one by one.
#
# Expected: repeat() without a number has batches of any size; a batch of one is how one
# feeds a device whose memory holds a single sequence.
# What happens: MapDataset.repeat().batch(1) raises OverflowError ("cannot fit 'int' into
# an index-sized integer"), since its length, sys.maxsize, is rounded up to the batch;
# batches of two and more are fine, and so is to_iter_dataset().batch(1).
# Seen: OverflowError for 1, an array of two for 2, an array of one by the iterator.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check grain==0.2.18
"$folder/env/bin/python" - <<'PY'
import grain

rows = grain.MapDataset.range(10).repeat()
try:
    first = next(iter(rows.batch(1).to_iter_dataset()))
    seen = f"an array of {len(first)}"
except OverflowError as error:
    seen = f"OverflowError: {error}"
two = next(iter(rows.batch(2).to_iter_dataset()))
one = next(iter(rows.to_iter_dataset().batch(1)))
print("batch(1):", seen, "; batch(2):", two, "; to_iter_dataset().batch(1):", one)
assert seen.startswith("OverflowError")
assert two.tolist() == [0, 1] and one.tolist() == [0]
PY
