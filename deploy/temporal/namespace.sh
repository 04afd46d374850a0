#!/bin/sh
# Creates Waybill's namespace and registers its search attributes. Safe to run
# again. The temporal CLI reads TEMPORAL_ADDRESS, and TEMPORAL_NAMESPACE but for
# the commands about namespaces themselves.
set -eu

: "${TEMPORAL_ADDRESS:?host:port of the frontend}" "${TEMPORAL_NAMESPACE:?the namespace to create}"

# retry COMMAND... runs it once a second until it succeeds, for a minute.
retry() {
  tries=60
  until output=$("$@" 2>&1); do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
      echo "namespace.sh: $* at $TEMPORAL_ADDRESS: $output" >&2
      exit 1
    fi
    sleep 1
  done
}

retry temporal operator cluster health

# Papers of a release stay in the evidence bucket; the history, for looking into
# how a release went, for 90 days.
if ! temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 90d
fi

# The server's parts see a new namespace only after some seconds. An attribute
# that is there already, with the same type, is left as it is.
for attribute in \
  WaybillService:Keyword WaybillEnvironment:Keyword WaybillTier:Int \
  WaybillPhase:Keyword WaybillOutcome:Keyword WaybillDigest:Keyword; do
  retry temporal operator search-attribute create --name "${attribute%%:*}" --type "${attribute##*:}"
done
