"""Read windows of GeoTIFFs behind HTTP: the bytes a window needs, and a sentence for every failure."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar

import rasterio
from rasterio.io import DatasetReader

from groundsynth.errors import GroundsynthError

T = TypeVar("T")
ATTEMPTS = 3  # whole readings of a window; within each, GDAL repeats failed requests itself
BACKOFF = 2.0  # seconds before the second attempt, doubled each time
TIMEOUT = 30.0  # seconds without progress until a request counts as failed
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes of a TIFF or BigTIFF


class _PassingError(Exception):
    """A failure that may be gone at the next attempt."""


def read_remote(url: str, read: Callable[[DatasetReader], T]) -> T | None:
    """Return ``read(raster)`` of the GeoTIFF at ``url``, or None if the server has no such file (404).

    Only the header and the blocks that ``read`` touches are transferred: no folder listing, no
    search for side files. A failed reading is repeated with growing pauses.

    Raises:
        GroundsynthError: no connection, too slow, another status, a web page in place of the file,
            a truncated or damaged file, a server without byte ranges.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        time.sleep(BACKOFF * 2 ** (attempt - 1) if attempt else 0)
        try:
            if not _is_there(url):
                return None
            with rasterio.Env(**_gdal_options()), rasterio.open(f"/vsicurl/{url}") as raster:
                return read(raster)
        except _PassingError as error:
            reason = str(error)
        except rasterio.errors.RasterioError as error:
            reason = _first_cause(error)
    raise GroundsynthError(
        f"{url}: could not be read in {ATTEMPTS} attempts ({reason}); what is finished is kept: "
        "run again later, or name another host as data.mirror"
    )


def _is_there(url: str) -> bool:
    """Ask for the first four bytes: is it there, is it a TIFF, are parts of it served?"""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-3"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            status, kind, start = answer.status, answer.headers.get_content_type(), answer.read(4)
            place = answer.geturl()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            return False
        if error.code == 429 or error.code >= 500:
            raise _PassingError(f"HTTP {error.code}") from None
        raise GroundsynthError(
            f"{url}: refused with HTTP {error.code}; the file must be readable without an account: "
            "correct data.mirror or ask the host"
        ) from None
    except (OSError, HTTPException) as error:
        raise _PassingError(str(getattr(error, "reason", error)) or type(error).__name__) from None
    if len(start) < 4:
        raise _PassingError(f"{len(start)} of 4 bytes came")
    if start not in MAGIC:
        raise GroundsynthError(
            f"{url}: not a GeoTIFF but {kind} came from {place}; it is an error or login page: "
            "correct data.mirror or the network's proxy"
        )
    if status != 206:
        raise GroundsynthError(
            f"{url}: the server serves whole files only (HTTP {status} to a byte range); a window would "
            "cost the whole tile: name a host with byte ranges as data.mirror"
        )
    return True


def _gdal_options() -> dict[str, object]:
    """GDAL's settings for frugal reading: https://gdal.org/user/virtual_file_systems.html#vsicurl."""
    return dict(
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",  # no listing of the folder, no side files
        GDAL_PAM_ENABLED="NO",
        CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".tif",
        CPL_VSIL_CURL_NON_CACHED="/vsicurl/",  # a failure must not outlive its attempt
        GDAL_HTTP_MERGE_CONSECUTIVE_RANGES="YES",
        GDAL_HTTP_CONNECTTIMEOUT=str(TIMEOUT),
        GDAL_HTTP_LOW_SPEED_TIME=str(max(round(TIMEOUT), 1)),
        GDAL_HTTP_LOW_SPEED_LIMIT="1000",  # bytes per second
        GDAL_HTTP_MAX_RETRY="2",
        GDAL_HTTP_RETRY_DELAY=str(BACKOFF),
    )


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
