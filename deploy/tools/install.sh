#!/usr/bin/env bash
# Builds the tools named as arguments (all of them when none is named) from the
# pinned versions in versions.txt into .tools/<name>/<version>/<name>, and links
# them as .tools/bin/<name>. What is there already is left alone, so a second
# call takes no time; calls may run side by side.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/.tools

# lookup NAME prints "version|package|tags|variable" of one tool.
lookup() {
  sed -e '/^#/d' -e 's/[[:space:]]*|[[:space:]]*/|/g' -e 's/[[:space:]]*$//' "$here/versions.txt" |
    awk -F'|' -v name="$1" '$1 == name { print $2 "|" $3 "|" $4 "|" $5; found = 1 } END { exit !found }'
}

# module_digest DIR prints a short digest of the files that decide what a
# nested module builds to.
module_digest() {
  (cd "$1" && find . -name go.mod -o -name go.sum -o -name '*.go' | LC_ALL=C sort | xargs cat) |
    git hash-object --stdin | cut -c1-12
}

# build OUT VERSION PACKAGE TAGS VARIABLE builds one tool to the file OUT.
# Debug information is left out: it doubles the link time and the size.
build() {
  local out=$1 version=$2 package=$3 tags=$4 variable=$5
  local flags=(-trimpath -buildvcs=false "-gcflags=all=-dwarf=false" "-ldflags=-s -w${variable:+ -X $variable}")
  [[ -z $tags ]] || flags+=("-tags=$tags")
  case $package in
    ./*)
      local dir=${package%% *} target=.
      [[ $package != *' '* ]] || target=${package#* }
      (cd "$here/$dir" && go build "${flags[@]}" -o "$out" "$target")
      ;;
    *)
      GOBIN=$(dirname "$out") go install "${flags[@]}" "$package@$version"
      ;;
  esac
}

# install_tool NAME builds and links one tool under its lock.
install_tool() {
  local name=$1 entry version package tags variable dir
  if ! entry=$(lookup "$name"); then
    echo "install.sh: no tool named '$name' in deploy/tools/versions.txt" >&2
    return 2
  fi
  IFS='|' read -r version package tags variable <<<"$entry"
  dir=$version
  [[ $package != ./* ]] || dir=$version-$(module_digest "$here/${package%% *}")

  exec 9>"$tools/$name.lock"
  flock 9
  if [[ ! -x $tools/$name/$dir/$name ]]; then
    local work started=$SECONDS
    work=$(mktemp -d "$tools/$name.XXXXXX")
    # shellcheck disable=SC2064 # the folder's name is fixed now
    trap "rm -rf '$work'" EXIT
    echo "tools: building $name $version ..." >&2
    build "$work/$name" "$version" "$package" "$tags" "$variable"
    mkdir -p "$tools/$name/$dir"
    mv "$work/$name" "$tools/$name/$dir/$name"
    echo "tools: $name $version built in $((SECONDS - started)) s"
  fi
  ln -sfn "../$name/$dir/$name" "$tools/bin/$name.$$"
  mv -f "$tools/bin/$name.$$" "$tools/bin/$name"
}

export CGO_ENABLED=0 GOWORK=off
mkdir -p "$tools/bin"
if [[ $# -eq 0 ]]; then
  mapfile -t names < <(sed -e '/^#/d' -e '/^$/d' -e 's/[[:space:]].*//' "$here/versions.txt")
  set -- "${names[@]}"
fi
for name in "$@"; do
  # A subshell per tool: its lock and its clean-up end with it.
  (install_tool "$name")
done
