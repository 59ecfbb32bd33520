#!/usr/bin/env bash
# Times `cargo build --release` of the example `mnist` after a one-line edit of its model: the hidden width changes back and
# forth. Prints one line a build.
set -euo pipefail
cd "$(dirname "$0")/.."
source=examples/mnist/main.rs
saved=$(mktemp)
cp "$source" "$saved"
trap 'cp "$saved" "$source"; rm -f "$saved"' EXIT
cargo build --release --example mnist 2>/dev/null
for width in 120 128 136 128 120; do
    sed "s/Linear<784, [0-9]*>/Linear<784, $width>/" "$saved" >"$source"
    start=$(date +%s.%N)
    cargo build --release --example mnist 2>/dev/null
    end=$(date +%s.%N)
    awk -v a="$start" -v b="$end" -v w="$width" 'BEGIN { printf "hidden width %d: %.2f s\n", w, b - a }'
done
