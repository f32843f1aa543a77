"""Sources of `native/`, compiled once per machine into the user's cache.

The folder is `$XDG_CACHE_HOME/lycb_flows`, by default `~/.cache/lycb_flows`; a file's name holds
the hashes of sources, flags, compiler and processor. Where there is no compiler, or
`LYCB_COMPILED=0` is set, the layers run in torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from lycb_flows.machine import write_durably

_LOGGER = logging.getLogger(__name__)
_FLAGS = (
    "-O3", "-march=native", "-std=c++17", "-fopenmp", "-fno-math-errno", "-fno-trapping-math",
    "-shared", "-fPIC",
)  # fmt: skip
_COMPILERS = ("c++", "g++", "clang++")
_BUILD_TIMEOUT_S = 600


@functools.cache
def build_library(
    source: str, headers: tuple[str, ...], flags: tuple[str, ...] = ()
) -> ctypes.CDLL | None:
    """Return a compiled source, built when it is not in the cache; None where it cannot be.

    Parameters
    ----------
    source
        Name of a file in `native/`.
    headers
        What it includes from there.
    flags
        Further flags of the compiler.
    """
    if os.environ.get("LYCB_COMPILED", "1") == "0":
        return None
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CXX", ""), *_COMPILERS])), None)
    if compiler is None:
        return None
    with resources.as_file(resources.files("lycb_flows.potentials") / "native") as folder:
        paths = [folder / name for name in (source, *headers)]
        try:
            return _loaded(paths, compiler, (*_FLAGS, *flags))
        except (OSError, RuntimeError, subprocess.SubprocessError) as err:  # Runtime: no home
            _LOGGER.warning("cannot build %s, torch is used: %s", source, err)
            return None


def _loaded(sources: Sequence[Path], compiler: str, flags: Sequence[str]) -> ctypes.CDLL:
    version = subprocess.run(  # noqa: S603 - the compiler that was found
        [compiler, "--version"], capture_output=True, check=True, timeout=_BUILD_TIMEOUT_S
    ).stdout
    parts = [path.read_bytes() for path in sources]
    parts += [version, " ".join(flags).encode(), _processor()]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lycb_flows"
    target = cache / f"{sources[0].stem}-{digest}.so"
    with contextlib.suppress(OSError):  # it is not there, or damaged
        return ctypes.CDLL(str(target))
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        built = Path(folder) / target.name
        subprocess.run(  # noqa: S603
            [compiler, *flags, str(sources[0]), "-o", str(built)],
            check=True,
            capture_output=True,
            timeout=_BUILD_TIMEOUT_S,
        )
        write_durably(target, built.read_bytes())  # another process may do the same: either will do
    return ctypes.CDLL(str(target))


def _processor() -> bytes:
    """Return the properties of the processor that -march=native may depend on."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor().encode()
    wanted = ("flags", "Features", "model name")
    return "\n".join(
        sorted({line for line in text.splitlines() if line.startswith(wanted)})
    ).encode()


def fields(kind: type, names: str) -> Iterator[tuple[str, type]]:
    """Yield fields of one type for a `ctypes.Structure`.

    Parameters
    ----------
    kind
        Type of all of them.
    names
        Separated by blanks.
    """
    return ((name, kind) for name in names.split())
