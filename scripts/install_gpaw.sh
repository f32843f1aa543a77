#!/usr/bin/env bash
# GPAW into a Python: scripts/install_gpaw.sh [PYTHON]  (default .venv/bin/python)
#
# GPAW compiles against libxc and BLAS. On Debian and Ubuntu, as root, their headers are installed;
# elsewhere the script says what to do and ends with 1. The PAW data sets come from PyPI with GPAW.
# Built without MPI: a label runs in one thread, and many labels run side by side.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}

wanted=$(sed -n 's/^gpaw==//p' constraints.txt)
installed=$("$python" -c 'import gpaw, gpaw_data; print(gpaw.__version__)' 2>/dev/null || true)
if [ "$installed" = "$wanted" ]; then
  echo "gpaw $installed is there"
  exit 0
fi

probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT

# Whether a C++ compiler builds and links what GPAW will need.
can_build() {
  local include
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  printf '#include <Python.h>\n#include <xc.h>\nint main() { return XC_FAMILY_LDA; }\n' >"$probe/probe.cpp"
  ${CXX:-g++} -I"$include" "$probe/probe.cpp" -o "$probe/probe" -lxc -lopenblas 2>/dev/null
}

if ! can_build && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends g++ libxc-dev libopenblas-dev python3-dev
fi
if ! can_build; then
  cat >&2 <<'TEXT'
gpaw: a C++ compiler with the headers of Python, libxc and OpenBLAS is needed.
  Debian, Ubuntu   (as root) apt-get install g++ libxc-dev libopenblas-dev python3-dev
  Fedora           (as root) dnf install gcc-c++ libxc-devel openblas-devel python3-devel
  macOS            brew install libxc openblas
  a cluster        load its modules of libxc and OpenBLAS; set CPATH, LIBRARY_PATH, LD_LIBRARY_PATH
  conda            conda install -c conda-forge gpaw, in place of this script
Then run this script again.
TEXT
  exit 1
fi

cat >"$probe/siteconfig.py" <<TEXT
compiler = "${CXX:-g++}"
mpi = False
libraries = ["xc", "openblas"]
TEXT
GPAW_CONFIG=$probe/siteconfig.py "$python" -m pip install -q -c constraints.txt gpaw gpaw-data
"$python" -c 'import gpaw; print(f"gpaw {gpaw.__version__} is installed")'
