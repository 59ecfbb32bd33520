#!/usr/bin/env bash
# Compile time as users have it: a crate of its own with one model of benches/expand/, the macro unoptimised as cargo builds
# it by default. For each model and profile:
#
#   expansion    the compiler's own time for all macros of the crate, less that of the crate without a model (median of five)
#   lines        lines of the expanded crate, less those of the crate without a model
#   clean        build of the crate alone, its dependencies being there (median of three)
#   incremental  build after an edit of the model's width (median of three)
#
# The first argument is a folder for the builds, which is kept; without one they are made in a temporary folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
models=$root/benches/expand
scratch=${1:-$(mktemp -d)}
[ $# -gt 0 ] || trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/src"
cd "$scratch"
# Rates and lines are asked of rustc by options that stable compilers hide.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$scratch/target CARGO_TERM_QUIET=true

cat >Cargo.toml <<TOML
[package]
name = "scratch"
version = "0.0.0"
edition = "2024"
[dependencies]
tapeless = { path = "$root" }
ndarray = "0.17"
[profile.dev]
opt-level = 2
[workspace]
TOML
cp "$root/Cargo.lock" Cargo.lock

median() { sort -n | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

# Seconds of a build of the crate by profile $1.
build() {
    local start end
    start=$(date +%s.%N)
    cargo build --profile "$1"
    end=$(date +%s.%N)
    awk -v a="$start" -v b="$end" 'BEGIN { print b - a }'
}

# Milliseconds that the compiler spends on macros by profile $1.
expansion() {
    local k
    for k in 1 2 3 4 5; do
        touch src/lib.rs
        cargo rustc --lib --profile "$1" -- -Z time-passes -Z no-codegen 2>&1 |
            awk '/\tmacro_expand_crate$/ { print 1000 * substr($2, 1, length($2) - 1) }'
    done | median
}

lines() { cargo rustc --lib --profile check -- -Zunpretty=expanded | wc -l; }

clean() {
    local k
    for k in 1 2 3; do
        cargo clean -p scratch --profile "$1" 2>/dev/null
        build "$1"
    done | median
}

incremental() {
    local width
    for width in 120 136 128; do
        sed -i "s/WIDTH: usize = [0-9]*/WIDTH: usize = $width/" src/lib.rs
        build "$1"
    done | median
}

cp "$models/empty.rs" src/lib.rs
for profile in dev release; do
    cargo build --profile $profile
done
without=$(lines)
printf '%-6s %-8s %14s %10s %10s %14s\n' model profile 'expansion, ms' lines 'clean, s' 'incremental, s'
for profile in dev release; do
    cp "$models/empty.rs" src/lib.rs
    base=$(expansion $profile)
    printf '%-6s %-8s %14s %10s %10.2f %14s\n' none $profile "$base" "$without" "$(clean $profile)" -
    for model in mlp cnn deep; do
        cp "$models/$model.rs" src/lib.rs
        ms=$(awk -v all="$(expansion $profile)" -v base="$base" 'BEGIN { print all - base }')
        n=$(($(lines) - without))
        clean=$(clean $profile)
        printf '%-6s %-8s %14s %10s %10.2f %14.2f\n' $model $profile "$ms" "$n" "$clean" "$(incremental $profile)"
    done
done
