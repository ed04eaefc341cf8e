# shellcheck shell=bash
# Functions that the launch scripts share. They set `script`, their name, first.

readonly SAVED=75 # Training's exit code for "saved, start me again".
dry_run=''

die() {
  echo "${script:?}: $*" >&2
  exit 1
}

say() {
  echo "${script:?}: $*" >&2
}

# Prints the comment at the head of the file $1.
show_help() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1 && !/^#SBATCH/ {
    sub(/^# ?/, ""); print }' "$1"
}

# Handles the options of the script $1, and puts the rest in `arguments`.
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
      -*) die "unknown option $1 (--help lists the options)." ;;
      *) break ;;
    esac
    shift
  done
  # shellcheck disable=SC2034  # The caller uses it.
  arguments=("$@")
}

# Runs a command; with --dry-run, prints it in a form that can be pasted.
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

# Prints a run's exit code, given those of its processes. An error wins over
# "saved". A death by signal counts least: when one process leaves, JAX's
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
