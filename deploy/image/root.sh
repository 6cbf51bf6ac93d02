#!/bin/sh
# root.sh BINARIES IMAGE: lays out in IMAGE everything that the image holds: the programs, the shared libraries that they load, the
# public certificate authorities, one user. Runs in the build stage. It refuses a program that loads more than libc and libgcc, because
# such a library would be missing in the image, and missing in the list of what is in it.
set -eu
binaries=$1
image=$2

for name in millrace millrace-publisher millrace-validator millrace-sink millrace-replayer millrace-tracker; do
    install -D -m 0755 "$binaries/$name" "$image/usr/local/bin/$name"
done

# The package that a file came with, also where /lib is a link to /usr/lib and the package says the other one.
owner() {
    { dpkg -S "$1" 2>/dev/null || dpkg -S "/usr$1" 2>/dev/null || dpkg -S "${1#/usr}" 2>/dev/null; } | head -n 1 | cut -d : -f 1
}

packages=ca-certificates
for library in $(ldd "$image"/usr/local/bin/* | awk '$2 == "=>" { print $3 } $1 ~ /^\// && $2 ~ /^\(/ { print $1 }' | sort -u); do
    package=$(owner "$library")
    case $package in
        libc6 | libgcc-s1) ;;
        *) echo "a program loads $library (${package:-of no package}): link it statically (feature millrace-kafka/vendored)" >&2; exit 1 ;;
    esac
    install -D -m 0755 "$(realpath "$library")" "$image$library"
    case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
done

# What scanners of images look for, and the licences that go with the files.
for package in $packages; do
    install -d "$image/var/lib/dpkg/status.d" "$image/usr/share/doc/$package"
    dpkg-query -s "$package" > "$image/var/lib/dpkg/status.d/$package"
    cp -L "/usr/share/doc/$package/copyright" "$image/usr/share/doc/$package/copyright"
done
install -D -m 0644 LICENSE "$image/usr/share/doc/millrace/LICENSE"
# serde_avro_fast comes without the text of its licence; the GPL is what the LGPL of its macro (docs/adr/0009) builds on.
for license in MPL-2.0 GPL-3; do
    install -m 0644 "/usr/share/common-licenses/$license" "$image/usr/share/doc/millrace/$license"
done

install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/ca-certificates.crt"
cp -L /etc/os-release "$image/etc/os-release"
echo 'millrace:x:65532:65532:millrace:/var/lib/millrace:/sbin/nologin' > "$image/etc/passwd"
echo 'millrace:x:65532:' > "$image/etc/group"
echo 'hosts: files dns' > "$image/etc/nsswitch.conf"
install -d -m 1777 "$image/tmp"
