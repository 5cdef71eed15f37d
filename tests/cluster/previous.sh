# The version before this one, chart and programs, out of the repository's history. Sourced; needs bash.
#   previous_build DIR LIBTORCH     into DIR/<commit>; sets $previous to that folder: bin/ and helm/mffa; 1 where the history is not here
# It is the newest tag that is not this commit; before a first tag, the first commit that had both the chart and S3. MFFA_PREVIOUS names another.
# shellcheck shell=bash
before_the_first_tag=543e3a6

previous_commit() {
  local commit
  commit=${MFFA_PREVIOUS:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null || :)}
  git rev-parse --verify --quiet "${commit:-$before_the_first_tag}^{commit}"
}

previous_build() {
  local commit
  commit=$(previous_commit) || return 1
  previous=$1/$commit
  [ ! -e "$previous/.complete" ] || return 0
  rm -rf "$previous"
  mkdir -p "$previous"
  git archive "$commit" | tar -x -C "$previous"
  { (cd "$previous" && cmake --preset release -DMFFA_TESTS=OFF -DMFFA_LIBTORCH="$2") &&
    ninja -C "$previous/build/release" mffa-scheduler mffa-worker; } >"$previous.log" 2>&1 || { tail -n 30 "$previous.log"; return 1; }
  ln -s build/release/bin "$previous/bin"
  touch "$previous/.complete"
}
