#!/usr/bin/env bash
# Build times of the examples as their users have them: each example becomes a crate of its own, which depends on `tapeless` and on
# what the example uses. Prints a table in Markdown:
#
#   lines      lines of code that the macros emit, as `rustc -Zunpretty=expanded` prints them, less those of the source
#   expansion  time in the crate's macros; the macro unoptimised, as cargo builds it by default (fastest of five)
#   clean      `cargo build --release` into an empty folder, dependencies included
#   crate      a build of the crate alone, its dependencies being there (fastest of three)
#   edit       a build after one line of the model has changed (fastest of five)
#   nothing    a build after one line outside of any model has changed (fastest of three)
#
#   benches/build.sh                 all examples, with the release profile that the README advises
#   benches/build.sh gpt             one of them (or several)
#   benches/build.sh -p "" gpt       with cargo's own release profile, or with other lines of TOML for [profile.release]
#   benches/build.sh -d folder gpt   keeps the crates and their builds; without it they are made in a temporary folder
#
# The edit scales what a layer gives by another number each time: the graph of the model changes, so all that depends on it is made
# again. It takes the first line of the form `self.layer(…)`, as a value or bound to a name, with or without an activation.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
profile=$'incremental = true\nlto = "off"'
scratch=
while getopts d:p: option; do
    case $option in
    d) scratch=$OPTARG ;;
    p) profile=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ -z "$scratch" ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
fi
export CARGO_TERM_QUIET=true
all=()

examples() {
    local path
    for path in "$root"/examples/*.rs "$root"/examples/*/main.rs; do
        path=${path%/main.rs}
        basename "${path%.rs}"
    done | sort
}

# The crate of example $1, in the current folder.
crate() {
    mkdir -p src
    if [ -f "$root/examples/$1.rs" ]; then
        cp "$root/examples/$1.rs" src/main.rs
    else
        cp -r "$root/examples/$1/." src
    fi
    ln -sfn "$root/examples" examples
    cp "$root/Cargo.lock" Cargo.lock
    cat >Cargo.toml <<TOML
[package]
name = "$1"
version = "0.0.0"
edition = "2024"
[dependencies]
tapeless = { path = "$root" }
TOML
    # A dependency is a crate that the source names; versions and features are those of the workspace.
    local name
    for name in ndarray lexopt image serde_json safetensors flate2 indicatif; do
        if grep -qE "\b$name::" -r src; then
            dependency "$name" >>Cargo.toml
        fi
    done
    if grep -q "\btapeless_models::" -r src; then
        echo "tapeless_models = { path = \"$root/models\" }" >>Cargo.toml
    fi
    # Crates of a registry are never compiled incrementally; here they are paths and have to be excepted.
    cat >>Cargo.toml <<TOML
[workspace]
[profile.release]
$profile
TOML
    local parts=(tapeless tapeless_macros tapeless_runtime)
    if grep -q '^tapeless_models' Cargo.toml; then
        parts+=(tapeless_models)
    fi
    printf '[profile.release.package.%s]\nincremental = false\n' "${parts[@]}" >>Cargo.toml
}

dependency() {
    awk -v name="$1" '
        /^\[/ { section = $0 }
        $1 == name { if (section == "[workspace.dependencies]") { print; exit } }
        $1 == name && section == "[dev-dependencies]" { print; exit }
    ' "$root/Cargo.toml"
}

seconds() {
    local start end
    start=$(date +%s.%N)
    "$@"
    end=$(date +%s.%N)
    awk -v a="$start" -v b="$end" 'BEGIN { printf "%.2f\n", b - a }'
}

fastest() { sort -n | head -1; }

build() { seconds cargo build --release; }

# rustc is asked for times and expanded code by options that stable compilers hide.
ask() { RUSTC_BOOTSTRAP=1 cargo rustc --release --bin "$(basename "$PWD")" -- "$@"; }

expansion() {
    local k
    for k in 1 2 3 4 5; do
        touch src/main.rs
        ask -Z time-passes -Z no-codegen 2>&1 | awk '/\tmacro_expand_crate$/ { printf "%.0f\n", 1000 * $2 }'
    done | fastest
}

lines() {
    local source
    source=$(find src -name '*.rs' -exec cat {} + | wc -l)
    touch src/main.rs
    echo $(($(ask -Zunpretty=expanded | wc -l) - source))
}

# The file and line of a layer's call in a model: of the first in `model.rs`, else in `main.rs` behind the first model.
model_line() {
    local file=src/model.rs start=1
    if [ ! -f "$file" ]; then
        file=src/main.rs
        start=$(grep -n '^#\[model' "$file" | head -1 | cut -d: -f1)
    fi
    tail -n "+${start:-1}" "$file" |
        grep -nE '^ +(let (mut )?[a-z_]+ = )?self\.[a-z0-9_]+\([^;]*\)(\.relu\(\)|\.gelu\(\))?;?$' |
        head -1 | cut -d: -f1 | awk -v file="$file" -v start="${start:-1}" '{ print file ":" $1 + start - 1 }'
}

edit() {
    local place file line saved k
    place=$(model_line)
    if [ -z "$place" ]; then
        echo '-'
        return
    fi
    file=${place%%:*} line=${place##*:}
    saved=$(mktemp)
    cp "$file" "$saved"
    for k in 1 2 3 4 5; do
        sed -E "${line}s/^(.*\))(;?)$/\1 * 0.${k}\2/" "$saved" >"$file"
        build
    done | fastest
    cp "$saved" "$file"
    rm "$saved"
}

nothing() {
    local k
    cargo build --release
    for k in 1 2 3; do
        echo "// $k" >>src/main.rs
        build
    done | fastest
}

alone() {
    local k
    for k in 1 2 3; do
        cargo clean --release -p "$(basename "$PWD")" 2>/dev/null
        build
    done | fastest
}

measure() {
    mkdir -p "$scratch/$1"
    cd "$scratch/$1"
    crate "$1"
    cargo fetch
    export CARGO_TARGET_DIR=$PWD/target
    rm -rf target
    local clean alone edit nothing expansion lines
    clean=$(build)
    alone=$(alone)
    edit=$(edit)
    nothing=$(nothing)
    # Last: these ask for other flags, whose builds of the crate replace those that were timed.
    expansion=$(expansion)
    lines=$(lines)
    echo "| $1 | $lines | $expansion ms | $clean s | $alone s | $edit s | $nothing s |"
}

echo '| example | emitted lines | expansion | clean | crate | edit of the model | edit beside it |'
echo '|---|---|---|---|---|---|---|'
[ $# -gt 0 ] || mapfile -t all < <(examples)
for name in "$@" "${all[@]}"; do
    (measure "$name")
done
