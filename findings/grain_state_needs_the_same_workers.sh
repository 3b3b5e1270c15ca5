#!/usr/bin/env bash
# grain 0.2.18: the state of an iterator with worker processes belongs to their number.
#
# Expected: get_state says how far the reading is; set_state on another machine, with
# other processors, goes on from there or refuses.
# What happens: the state holds an entry a worker. Restored with another number of workers
# it ends in an IndexError inside Grain, far from its cause.
# Mend: keep the number of rows read and skip them, or the number of workers with it.
# Seen: after 2 workers, 2 go on with the right rows, 1 and 3 end in IndexError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check grain==0.2.18
cat > "$folder/workers.py" <<'PY'
import grain
from absl import flags


def reader(workers):
    rows = grain.MapDataset.range(1000).repeat()
    options = grain.MultiprocessingOptions(num_workers=workers)
    return iter(rows.to_iter_dataset().mp_prefetch(options))


def restored(state, workers):
    try:
        again = reader(workers)
        again.set_state(state)
        return [int(next(again)) for _ in range(6)]
    except Exception as error:
        return type(error).__name__


if __name__ == "__main__":
    flags.FLAGS(["workers"])
    first = reader(2)
    for _ in range(10):
        next(first)
    state = first.get_state()
    true = [int(next(first)) for _ in range(6)]
    seen = {workers: restored(state, workers) for workers in (1, 2, 3)}
    print("goes on with", true, "; restored", seen)
    assert seen == {1: "IndexError", 2: true, 3: "IndexError"}
PY
"$folder/env/bin/python" "$folder/workers.py" 2>/dev/null
