# What the recipes share: where the code is, and steps that are skipped when they are finished. For `source`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
PYTHON=${PYTHON:-python}
convert=("$PYTHON" "$root/convert.py")
evaluate=("$PYTHON" -m eval)

# wanted STEP: whether it is among $STEPS, where these are given.
wanted() {
    [[ -z ${STEPS:-} || " $STEPS " == *" $1 "* ]]
}

# once FILE COMMAND…: run the command that makes the file, unless it is there. For commands that refuse to do it twice;
# what they make appears whole or not at all.
once() {
    if [[ -e $1 ]]; then
        echo "finished: $1" >&2
    else
        run "${@:2}"
    fi
}

# run COMMAND…: say what is run, and run it. For commands that go on where they were stopped.
run() {
    echo "+ ${*@Q}" >&2
    "$@"
}
