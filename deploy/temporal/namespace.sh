#!/bin/sh
# Creates Waybill's namespace and registers its search attributes. Safe to run
# again. TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are read by the temporal CLI.
set -eu

: "${TEMPORAL_ADDRESS:?host:port of the frontend}" "${TEMPORAL_NAMESPACE:?the namespace to create}"

tries=60
until temporal operator cluster health >/dev/null 2>&1; do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ]; then
    echo "namespace.sh: the server at $TEMPORAL_ADDRESS is not serving after 60 s" >&2
    exit 1
  fi
  sleep 1
done

# Papers of a release stay in the evidence bucket; the history, for looking into
# how a release went, for 90 days.
if ! temporal operator namespace describe >/dev/null 2>&1; then
  temporal operator namespace create --retention 90d
fi

# An attribute that is there already, with the same type, is left as it is.
for attribute in \
  WaybillService:Keyword WaybillEnvironment:Keyword WaybillTier:Int \
  WaybillPhase:Keyword WaybillOutcome:Keyword WaybillDigest:Keyword; do
  temporal operator search-attribute create --name "${attribute%%:*}" --type "${attribute##*:}"
done
