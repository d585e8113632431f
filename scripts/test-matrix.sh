#!/usr/bin/env bash
# Sets up and tests on each Python and pip that this machine has; says what was run and what not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'HELP'
usage: test-matrix.sh [--dry-run] [--only "VERSION ..."] [arguments of pytest]

Runs scripts/test.sh in a fresh clone of the committed state, with the newest pip, on Python 3.10
to 3.13, as far as they are there (python3.X on the path, those of pyenv, or
PYTHONS="/path/to/python ..."); then the set-up alone with pip 23.2. Each fetches PyTorch and may
compile fairseq: that is minutes and gigabytes. A table in the end says what was run, what was not,
and the outcome; the exit status is 0 only if all that was run passed, and something was.

  --dry-run             say what would be run
  --only "3.10 3.12"    these versions of Python alone

example: bash scripts/test-matrix.sh --only "3.10 3.12" -m "not slow"
HELP
}

old_pip=23.2
dry=
versions="3.10 3.11 3.12 3.13"
wanted=$versions
arguments=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --dry-run) dry=yes; shift ;;
        --only) wanted=${2:?"--only needs versions, as in --only \"3.10 3.12\""}; shift 2 ;;
        *) arguments+=("$1"); shift ;;
    esac
done
set -- ${arguments[@]+"${arguments[@]}"}
for version in $wanted; do
    [[ " $versions " == *" $version "* ]] || {
        echo "test-matrix.sh: error: --only $version: choose from $versions" >&2
        exit 1
    }
done

version_of() { # PYTHON
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() { # VERSION
    local candidate
    for candidate in ${PYTHONS:-} "python$1" python3; do
        # Twice, since a version manager may have a command of that name that does not run.
        if [[ $(version_of "$candidate") == "$1" ]]; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    # pyenv keeps them beside one another.
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if [[ $(version_of "$candidate") == "$1" ]]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[[ -z $(git status --porcelain) ]] || echo "note: only what is committed is tested" >&2

rows=()
runs=0
failures=0
row() { # PYTHON PIP WHAT OUTCOME
    rows+=("$(printf '%-8s %-8s %-22s %s' "$@")")
}

# An environment of a given pip in a fresh clone; scripts/setup.sh keeps what it finds.
attempt() { # VERSION PYTHON PIP WHAT COMMAND...
    local version=$1 python=$2 pip=$3 what=$4 clone=$scratch/clone-$1-$3 release=
    shift 4
    [[ $pip == newest ]] || release="==$pip"
    if [[ $dry ]]; then
        row "$version" "$pip" "$what" "would be run with $python"
        return
    fi
    echo "== Python $version, pip $pip: $what"
    runs=$((runs + 1))
    if git clone --quiet . "$clone" && "$python" -m venv "$clone/.venv" &&
        "$clone/.venv/bin/python" -m pip --disable-pip-version-check install --quiet \
            --upgrade "pip${release}" &&
        (cd "$clone" && "$@"); then
        row "$version" "$pip" "$what" passed
    else
        failures=$((failures + 1))
        row "$version" "$pip" "$what" FAILED
    fi
    rm -rf "$clone"
}

first=
for version in $versions; do
    if [[ " $wanted " != *" $version "* ]]; then
        row "$version" newest "set-up and tests" "not run: left out"
    elif python=$(find_python "$version"); then
        : "${first:=$version $python}"
        attempt "$version" "$python" newest "set-up and tests" bash scripts/test.sh "$@"
    else
        row "$version" newest "set-up and tests" "not run: there is no Python $version"
    fi
done
if [[ $first ]]; then
    attempt ${first% *} "${first#* }" "$old_pip" "set-up" bash scripts/setup.sh
else
    row any "$old_pip" set-up "not run: there is no Python"
fi

printf '%-8s %-8s %-22s %s\n' Python pip what outcome
printf '%s\n' "${rows[@]}"
[[ $dry ]] && exit
((runs > 0 && failures == 0))
