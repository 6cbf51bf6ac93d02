#!/bin/sh
# bases.sh: makes the base image that the Dockerfile names, on a machine that reaches Debian's packages but no image registry: Debian by
# debootstrap from this machine's own package sources, and this machine's own Rust of the version that is asked for. `make image-test`
# uses it; where images can be pulled nobody needs it. As root.
set -eu
cd "$(dirname "$0")/../.."
rust=$(sed -n 's/^ARG RUST_VERSION=//p' deploy/Dockerfile)
debian=$(sed -n 's/^ARG DEBIAN=//p' deploy/Dockerfile)
name=docker.io/library/rust:$rust-slim-$debian

[ "$(id -u)" -eq 0 ] || { echo "making a base image needs root (debootstrap)" >&2; exit 1; }
if buildah inspect --type image "$name" >/dev/null 2>&1; then
    exit 0
fi
sysroot=$(rustc "+$rust" --print sysroot)
sources=$(apt-get indextargets --format "\$(ORIGIN) \$(CODENAME) deb \$(SITE) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages' \
    | sed -n "s/^Debian $debian[a-z-]* //p" | sort -u)
mirror=$(echo "$sources" | awk -v release="$debian" '$3 == release { print $2; exit }')
[ -n "$mirror" ] || { echo "this machine has no package source for Debian $debian" >&2; exit 1; }

echo "making $name" >&2
container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")
debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev "$debian" "$root" "$mirror" >&2
echo "$sources" > "$root/etc/apt/sources.list"

# As the public image has it, without documentation and without rustup's proxies.
toolchain=$root/usr/local/rustup/toolchains/$rust
install -d "$toolchain/bin" "$root/usr/local/cargo/bin" "$root/usr/local/cargo/registry"
cp -a "$sysroot/lib" "$toolchain/"
rm -rf "$toolchain/lib/rustlib/src"
for program in cargo rustc; do
    cp -a "$sysroot/bin/$program" "$toolchain/bin/"
    ln -s "../../rustup/toolchains/$rust/bin/$program" "$root/usr/local/cargo/bin/$program"
done
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
buildah config --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env CARGO_HOME=/usr/local/cargo --env RUSTUP_HOME=/usr/local/rustup --cmd bash "$container"
buildah commit --quiet "$container" "$name" >/dev/null
