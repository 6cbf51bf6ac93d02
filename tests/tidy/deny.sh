#!/bin/sh
# `cargo deny check`, by a cargo-deny of a pinned version that is built once into the cache folder (two minutes). Licences, bans and
# sources need nothing but Cargo.lock and must always pass. Known holes (advisories) need a database that is fetched from the outside:
# where it can be had they must pass too, where it cannot this says so; ADVISORIES=required makes that a failure.
set -eu
cd "$(dirname "$0")/../.."
version=0.20.2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace
deny=$cache/cargo-deny-$version/bin/cargo-deny

if [ ! -x "$deny" ]; then
    echo "building cargo-deny $version, once" >&2
    mkdir -p "$cache"
    unfinished=$(mktemp -d "$cache/cargo-deny.XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    # Without optimisation: it runs for four seconds, and would be built for several minutes more.
    CARGO_TARGET_DIR=$unfinished/target cargo install --quiet --locked --debug --root "$unfinished" --version "$version" cargo-deny
    rm -rf "$unfinished/target"
    mv -T "$unfinished" "$cache/cargo-deny-$version" 2>/dev/null || [ -x "$deny" ]
fi

"$deny" --locked check licenses bans sources
if timeout 60 "$deny" --locked fetch db; then
    "$deny" --locked check advisories
elif [ "${ADVISORIES:-}" = required ]; then
    echo "advisories NOT checked: their database cannot be fetched" >&2
    exit 1
else
    echo "advisories NOT checked: their database cannot be fetched from here; licences, bans and sources are fine" >&2
fi
