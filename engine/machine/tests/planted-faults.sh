#!/bin/sh
# Plants each fault of tests/planted into a copy of this crate, one at a time, and demands that the tests catch it.
#
#   engine/machine/tests/planted-faults.sh [PATCH…]
#
# The copy is built in a folder of its own; DRYDOCK_PLANTED_TARGET names a target folder to keep between calls.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

mkdir "$copy/engine"
cp -R "$root/engine/plan" "$root/engine/machine" "$copy/engine/"
cp "$root/Cargo.lock" "$root/clippy.toml" "$copy/"
sed -e 's|^members = .*|members = ["engine/plan", "engine/machine"]|' -e '/^default-members/d' "$root/Cargo.toml" > "$copy/Cargo.toml"
export CARGO_TARGET_DIR="${DRYDOCK_PLANTED_TARGET:-$copy/target}"
export DRYDOCK_PLANS="${DRYDOCK_PLANS:-400}"
cd "$copy"

# The names of the tests that fail, or nothing where all pass. A test that does not end has caught the fault, too.
failing() {
    if timeout 900 cargo test -q -p drydock-machine --test machine -- --skip many:: --skip planted:: > "$copy/out" 2>&1; then
        return 0
    fi
    sed -n 's/^    \([a-z_]*::[a-z_]*\)$/\1/p' "$copy/out" | sort -u | grep . || echo "no end"
}

builds() {
    cargo test -q -p drydock-machine --test machine --no-run > "$copy/out" 2>&1 || { cat "$copy/out"; exit 1; }
}

[ $# -gt 0 ] || set -- "$here"/planted/*.patch
builds
without=$(failing)
[ -z "$without" ] || { echo "the tests fail without any fault: $without"; exit 1; }

missed=0
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    rm -rf engine/machine/src
    cp -R "$root/engine/machine/src" engine/machine/src
    patch -s -d engine/machine -p1 < "$patch"
    builds
    caught=$(failing)
    if [ -z "$caught" ]; then
        echo "$name: NOT CAUGHT"
        missed=$((missed + 1))
    else
        random=$(echo "$caught" | grep -c '^random_runs::random_plans' || true)
        cases=$(echo "$caught" | grep -vc '^random_runs::' || true)
        echo "$name: caught by $cases cases and $random of 4 shares of random plans"
        echo "$caught" | grep -v '^random_runs::' | sed 's/^/    /'
    fi
done
[ "$missed" -eq 0 ] || { echo "$missed planted faults were not caught"; exit 1; }
