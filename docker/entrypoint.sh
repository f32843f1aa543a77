#!/bin/sh
# A variable NAME_FILE gives NAME the content of a file, as in the official images: a password in
# a secret's file shows in neither the compose file nor `docker inspect`.
set -eu
for variable in LYCB_STORE_PASSWORD LYCB_LAUNCHPAD_PASSWORD; do
  eval "file=\${${variable}_FILE:-}"
  if [ -n "$file" ]; then
    if ! value=$(cat "$file"); then
      echo "$variable: cannot read $file; it must be readable by user $(id -u)" >&2
      exit 1
    fi
    export "$variable=$value"
    unset "${variable}_FILE"
  fi
done
exec "$@"
