#!/bin/sh
# `cargo deny check`, by a cargo-deny of a pinned version that is built once into the cache folder (two minutes). Licences, bans and
# sources need nothing but Cargo.lock and must always pass. Known holes (advisories) need a database that is fetched from the outside,
# which not every machine may reach: they are checked where ADVISORIES is set.
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
if [ -n "${ADVISORIES:-}" ]; then
    "$deny" --locked check advisories
else
    echo "advisories not asked for; where their database can be fetched: make deny ADVISORIES=1" >&2
fi
