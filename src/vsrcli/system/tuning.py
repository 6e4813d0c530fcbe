"""Settings of the process that libraries should find, made before they start."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def configure_malloc() -> None:
    """Let glibc reuse large blocks instead of handing each back to the kernel.

    Every layer's output is tens of megabytes. By default glibc maps each anew and the kernel zeroes it page
    by page: measured here, a 1x1 convolution from 64 to 400 channels took 62 ms, of which 48 were page
    faults. No effect on results; nothing happens where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 * 2**20)


def disable_openvino_telemetry() -> None:
    """Keep OpenVINO from reporting its use to its makers, which it does by itself and without asking.

    Without the package that reports, it has a stand-in that does nothing. Films are nobody else's business.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # importing it fails
