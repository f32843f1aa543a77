#!/usr/bin/env bash
# The pool of DFT labels in the background: scripts/pool.sh start|pause|resume|stop|status [FOLDER]
#
# FOLDER is docs/dft_labels unless given. One process with one thread at the lowest priority, which
# outlives this shell. `pause` stops it and its running label where they are (for a timing, say),
# `resume` lets them go on. `stop` ends it; the label that runs is lost. Its log: .pool/log.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${2:-docs/dft_labels}
python=.venv/bin/python
mkdir -p .pool

# The process id of the pool, if it runs.
running() {
  local pid
  pid=$(cat .pool/pid 2>/dev/null) || return 1
  ps -o args= -p "$pid" | grep -q label_pool.py || return 1
  echo "$pid"
}

# A process and all below it, parents first: GPAW runs in a session of its own, so a signal to
# the process group would miss it.
family() {
  local child
  echo "$1"
  for child in $(pgrep -P "$1" || true); do family "$child"; done
}

send() {
  local pid member
  pid=$(running) || { echo "the pool does not run" >&2; exit 1; }
  kill "-$1" "$pid"
  for member in $(family "$pid"); do kill "-$1" "$member" 2>/dev/null || true; done
}

case ${1:-} in
  start)
    if pid=$(running); then echo "the pool runs already, process $pid" >&2; exit 1; fi
    export OMP_NUM_THREADS=1 PYTHONPATH=$PWD
    setsid nohup nice -n 19 "$python" scripts/label_pool.py "$folder" >>.pool/log 2>&1 </dev/null &
    echo $! >.pool/pid
    echo "the pool runs, process $!, log .pool/log"
    ;;
  pause) send STOP && echo "paused" ;;
  resume) send CONT && echo "goes on" ;;
  stop) send CONT && kill "$(running)" && echo "stopped" ;;
  status)
    if pid=$(running); then
      state=$(ps -o state= -p "$pid" | cut -c1)
      if [ "$state" = T ]; then echo "paused, process $pid"; else echo "running, process $pid"; fi
    else
      echo "not running"
    fi
    "$python" scripts/pool_plan.py "$folder"
    ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
