#!/bin/sh
# What a golden topic holds, with kcat and nothing else: key, revision and whether it is deleted, from the headers alone.
# Prints sorted JSON at the end of the topic. To look rather than to subscribe: it keeps no position and begins anew each time.
#
# Every record says in its headers what it is, so nothing is decoded here, and any build of kcat will do:
#   ce_type  mdm.<domain>.upserted, .deleted or .snapshot      ce_sequence  the revision, zero-padded
# A null value is the tombstone: clean-up of a delete that came before it.
#
# With a kcat that was built with Avro (`kcat -V` says so; Debian's is not) the records themselves are one line:
#   kcat -b "$BROKERS" -t mdm.golden.item -C -o beginning -e -X isolation.level=read_committed -s value=avro -r "$REGISTRY" -J
#
# Settings are environment variables; README.md in the folder above lists them.
set -eu
: "${BROKERS:?BROKERS is missing: host:port,...}"
TOPIC=${TOPIC:-mdm.golden.item}

# Also for the password: as an argument it would stand in the list of processes.
work=$(umask 077 && mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT

set -- -X isolation.level=read_committed
protocol=
[ -z "${KAFKA_CA_FILE:-}" ] || { set -- "$@" -X "ssl.ca.location=$KAFKA_CA_FILE"; protocol=SSL; }
[ -z "${KAFKA_CERTIFICATE_FILE:-}" ] ||
    set -- "$@" -X "ssl.certificate.location=$KAFKA_CERTIFICATE_FILE" -X "ssl.key.location=$KAFKA_KEY_FILE"
if [ -n "${KAFKA_USERNAME:-}" ]; then
    {
        echo "sasl.mechanism=${KAFKA_MECHANISM:-SCRAM-SHA-512}"
        echo "sasl.username=$KAFKA_USERNAME"
        echo "sasl.password=$(cat "$KAFKA_PASSWORD_FILE")"
    } >"$work/config"
    set -- -F "$work/config" "$@"
    protocol=SASL_${protocol:-PLAINTEXT}
fi
[ -z "$protocol" ] || set -- "$@" -X "security.protocol=$protocol"

# %S is the size of the value, -1 for none. Keys hold no blank and no control character: they are percent-encoded.
kcat -q -C -b "$BROKERS" -t "$TOPIC" -o beginning -e "$@" -f '%k\t%S\t%h\n' >"$work/records"

awk -F '\t' '
    $2 == -1 { next }
    {
        revision = -1; deleted = "false"
        count = split($3, headers, ",")
        for (i = 1; i <= count; i++) {
            if (headers[i] ~ /^ce_sequence=/) revision = substr(headers[i], 13) + 0
            if (headers[i] ~ /^ce_type=.*[.]deleted$/) deleted = "true"
        }
        if (!($1 in newest) || revision > newest[$1]) { newest[$1] = revision; gone[$1] = deleted }
    }
    END { for (key in newest) printf "\"%s\": {\"revision\": %d, \"deleted\": %s}\n", key, newest[key], gone[key] }' "$work/records" |
    LC_ALL=C sort |
    awk 'BEGIN { printf "{" } { printf "%s\n  %s", (NR > 1 ? "," : ""), $0 } END { print "\n}" }'
