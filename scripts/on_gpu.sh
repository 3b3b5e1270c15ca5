#!/usr/bin/env bash
# A slice of the gpu scale on a bare machine with JAX, and its results in a few files.
set -euo pipefail

usage() {
    cat <<'TEXT'
scripts/on_gpu.sh [--for TIME] [--from FOLDER] [--to FOLDER] [--python PYTHON]
                  [--wheels FOLDER] [OPTION of lamb-keras run ...]
scripts/on_gpu.sh --unpack FOLDER

Says which device JAX sees, runs the gpu scale for a time, and packs outputs/gpu, the
finished trials of unfinished runs included, into files gpu.tar.gz.00 and on. A trial
has to fit in a slice: its checkpoints are not packed.

  --for TIME       how long, its report included (default: 8m)
  --from FOLDER    first unpacks what an earlier slice packed there
  --to FOLDER      where to pack (default: packed)
  --python PYTHON  one with JAX (default: .venv/bin/python where there is one, else
                   python3)
  --wheels FOLDER  wheels of what that Python lacks; installed into .on_gpu
  --any-device     goes on where JAX sees no GPU
  --unpack FOLDER  only unpacks, into outputs/gpu here

Whatever else is given is lamb-keras's: --tables 6,7 or --set epochs=1. Data lie where
LAMB_KERAS_DATA says.
TEXT
}

refuse() {
    echo "scripts/on_gpu.sh: $1" >&2
    exit 2
}

pieces=8             # files at most, each of so many bytes at most
piece_bytes=16000000

unpack() {
    compgen -G "$1/gpu.tar.gz.*" >/dev/null ||
        refuse "--$2 $1 has no gpu.tar.gz.00, expected what this script packed"
    mkdir -p outputs
    cat "$1"/gpu.tar.gz.* | tar -xz -C outputs
}

pack() {
    mkdir -p "$1"
    rm -f "$1"/gpu.tar.gz.*
    # Checkpoints are many times larger, and of trials that are begun anew without.
    tar -C outputs -cz --exclude='*.checkpoints' gpu |
        split -b "$piece_bytes" -d - "$1/gpu.tar.gz."
    local found=("$1"/gpu.tar.gz.*)
    ls -l "${found[@]}"
    if ((${#found[@]} > pieces)); then
        echo "scripts/on_gpu.sh: outputs/gpu fills ${#found[@]} files, expected at" \
            "most $pieces; they are all in $1" >&2
        exit 1
    fi
}

# Folders are meant from where the user is.
there() {
    case $1 in /*) echo "$1" ;; *) echo "$OLDPWD/$1" ;; esac
}

cd "$(dirname "$0")/.."
for_=8m from="" to=packed wheels="" any_device="" own=()
python=python3
[ ! -x .venv/bin/python ] || python=.venv/bin/python
while (($#)); do
    case $1 in
    --help | -h)
        usage
        exit
        ;;
    --any-device) any_device=yes ;;
    --for | --from | --to | --python | --wheels | --unpack)
        [ $# -gt 1 ] || refuse "$1 needs a value; --help tells more"
        case $1 in
        --for) for_=$2 ;;
        --from) from=$(there "$2") ;;
        --to) to=$(there "$2") ;;
        --python) python=$2 ;;
        --wheels) wheels=$(there "$2") ;;
        --unpack)
            unpack "$(there "$2")" unpack
            exit
            ;;
        esac
        shift
        ;;
    --scale | --output) refuse "$1 is this script's: the gpu scale, in outputs/" ;;
    *) own+=("$1") ;;
    esac
    shift
done

if [ -n "$wheels" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --upgrade --target .on_gpu \
        "$wheels"/*.whl
fi
export PYTHONPATH="$PWD:$PWD/.on_gpu${PYTHONPATH:+:$PYTHONPATH}" KERAS_BACKEND=jax
device=$("$python" -c 'import jax
device = jax.devices()[0]
limit = (device.memory_stats() or {}).get("bytes_limit", 0) / 2**30
print(device.platform, device.device_kind, len(jax.devices()), f"{limit:.0f} GiB", jax.__version__)') ||
    refuse "$python has no JAX that works; name one with --python"
echo "JAX sees: $device"
[ "${device%% *}" = gpu ] || [ -n "$any_device" ] ||
    refuse "JAX sees no GPU; --any-device goes on without one"
"$python" -c 'import keras, papermill, scrapbook, lamb_keras.cli' ||
    refuse "$python lacks a package; give its wheel in --wheels"

[ -z "$from" ] || unpack "$from" from
code=0
"$python" -m lamb_keras run --scale gpu --for "$for_" ${own[@]+"${own[@]}"} || code=$?
# What failed, or was interrupted, has its trials all the same.
[ "$code" = 2 ] || pack "$to"
exit "$code"
