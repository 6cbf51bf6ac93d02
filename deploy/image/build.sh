#!/bin/sh
# build.sh [TAG] [OPTION...]: builds the image of this commit with docker, podman or buildah, whichever is there (or BUILDER=...); further
# options go to it. Version, revision and time come from the repository and not from the clock.
set -eu
cd "$(dirname "$0")/../.."
tag=${1:-millrace:dev}
[ $# -eq 0 ] || shift

builder=${BUILDER:-}
for candidate in docker podman buildah; do
    [ -n "$builder" ] || ! command -v "$candidate" >/dev/null 2>&1 || builder=$candidate
done
[ -n "$builder" ] || { echo "building an image needs docker, podman or buildah" >&2; exit 1; }

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain --untracked-files=no)" ] || revision=$revision-dirty
epoch=$(git log -1 --format=%ct)

# Docker finds the list of what to leave out by its name beside the Dockerfile; the others are told.
case $builder in
    docker) ignore= ;;
    *) ignore=--ignorefile=deploy/Dockerfile.dockerignore ;;
esac
# shellcheck disable=SC2086 # $ignore is one option or none
exec "$builder" build --file deploy/Dockerfile --tag "$tag" $ignore \
    --build-arg "MILLRACE_VERSION=$version" \
    --build-arg "MILLRACE_BUILD_REVISION=$revision" \
    --build-arg "MILLRACE_CREATED=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)" \
    --build-arg "SOURCE_DATE_EPOCH=$epoch" \
    "$@" .
