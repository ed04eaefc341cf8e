# shellcheck shell=bash
# What the launch scripts share; they set `script` to their own name first.

readonly SAVED=75 # The training's exit code for: saved, start me again.
dry_run=''

die() {
  echo "${script:?}: $*" >&2
  exit 1
}

say() {
  echo "${script:?}: $*" >&2
}

# The comment at the head of the file $1.
show_help() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1 && !/^#SBATCH/ {
    sub(/^# ?/, ""); print }' "$1"
}

# Takes the options off the arguments of the script $1; leaves `arguments`.
take_options() {
  local file="$1"
  shift
  while [ "$#" -gt 0 ]; do
    case "$1" in
      --dry-run) dry_run=1 ;;
      --help)
        show_help "$file"
        exit
        ;;
      -*) die "unknown option $1 (--help lists them)." ;;
      *) break ;;
    esac
    shift
  done
  # shellcheck disable=SC2034  # Its caller uses it.
  arguments=("$@")
}

# Runs a command, or prints it as one may type it.
run() {
  if [ -n "$dry_run" ]; then
    quoted "$@"
  else
    "$@"
  fi
}

quoted() {
  local word line=''
  for word in "$@"; do
    case "$word" in
      '' | *[!A-Za-z0-9_./:=@%+,-]*)
        word="$(sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/" <<<"$word")" ;;
    esac
    line+="${line:+ }$word"
  done
  echo "$line"
}

# Of the exit codes of a run's processes, the run's own. An error counts before
# "saved". What a signal killed counts least: where one process leaves, JAX's
# coordination service aborts the others (134).
verdict() {
  local code saved='' killed=0
  for code in "$@"; do
    if [ "$code" = "$SAVED" ]; then
      saved=1
    elif [ "$code" -gt 128 ]; then
      killed="$code"
    elif [ "$code" -ne 0 ]; then
      echo "$code"
      return
    fi
  done
  if [ -n "$saved" ]; then echo "$SAVED"; else echo "$killed"; fi
}
