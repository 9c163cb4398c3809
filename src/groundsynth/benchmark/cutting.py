"""How fast, and in how much memory, chips are cut from one large scene, against a script that goes patch by patch.

The scene and its map are made here, from a seed. The script is of the kind published with data sets
of patches: for every patch it opens image and map again, reads its window, recolours the map by a
table and saves two PNGs. It is given the very windows that the preparation chose, and what both
cut is compared pixel by pixel.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets  # noqa: F401  (loaded when chips are written, which takes seconds: not to be counted)
import numpy as np
import psutil
import pyarrow.parquet as pq
import rasterio
from PIL import Image
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy.ndimage import zoom

from groundsynth.artifacts import decode_png, metric_row, write_chips
from groundsynth.config import Data
from groundsynth.data.blocks import TRAIN
from groundsynth.data.chips import cut_chips, find_chips
from groundsynth.data.pictures import Pictures
from groundsynth.data.prepare import STAGE, chip_rules, lay_scenes, split_atlas
from groundsynth.data.reading import read_scenes
from groundsynth.data.scene import stretch_scene
from groundsynth.data.store import Store
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, COLOURS, colour_map
from groundsynth.seeds import rng

CODES = (10, 20, 30, 40, 50, 60, 80)  # of the map, as in ESA WorldCover
LEGEND = {str(code): name for code, name in zip(CODES, CLASSES, strict=True)}
BLOCK = 512  # of the GeoTIFFs: what the driver for cloud-optimised files takes by default
STRIP = 512  # rows written at once
GRID = dict(crs="EPSG:32633", transform=Affine(10, 0, 400_000, 0, -10, 5_800_000))
STEPS = ("reading", "splitting", "finding", "cutting")


def write_pair(folder: Path, height: int, width: int, seed: int = 0) -> None:
    """Write ``images/scene.tif`` (RGB, 8 bits) and ``masks/scene.tif`` (class codes), tiled and compressed.

    Smooth patches of seven classes some hundred pixels wide, each with a colour of its own and noise.
    """
    generator = rng("cutting", seed)
    coarse = generator.normal(size=(height // 128 + 3, width // 128 + 3))
    levels = np.quantile(coarse, np.linspace(0, 1, 8)[1:-1]) * 0.6
    tones = generator.integers(30, 200, (7, 3))
    profile = dict(driver="GTiff", dtype="uint8", height=height, width=width, tiled=True, blockxsize=BLOCK,
                   blockysize=BLOCK, compress="deflate", zlevel=1, **GRID)  # fmt: skip
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    with (
        rasterio.open(folder / "images" / "scene.tif", "w", count=3, **profile) as image,
        rasterio.open(folder / "masks" / "scene.tif", "w", count=1, **profile) as mask,
    ):
        for top in range(0, height, STRIP):
            rows = min(STRIP, height - top)
            first = top // 128
            field = zoom(
                coarse[first : first + STRIP // 128 + 2], 128, order=1, mode="grid-constant", grid_mode=True
            )
            classes = np.searchsorted(levels, field[64 : 64 + rows, 64 : 64 + width])
            noise = generator.integers(0, 24, (rows, width, 3), np.uint8)
            window = Window(0, top, width, rows)
            image.write((tones[classes] + noise).astype(np.uint8).transpose(2, 0, 1), window=window)
            mask.write(np.array(CODES, np.uint8)[classes], 1, window=window)


# --- as the preparation cuts --------------------------------------------------------------------


def cut_as_prepared(folder: Path, out: Path, chip_size: int) -> dict:
    """Cut the pair as stage 01 does, to ``out/chips.parquet``; non-overlapping chips.

    Returns:
        ``seconds`` and ``processor_seconds`` per step, ``memory_before`` and ``memory_peak`` of this
        process in bytes.
    """
    os.environ["GROUNDSYNTH_DATA"] = str(out / "raw")  # where the note about the folder goes
    options = Data(source="folder", folder=str(folder), legend=LEGEND, chip_size=chip_size, stride=chip_size)
    before, store, clock = psutil.Process().memory_info().rss, Store(out), [_now()]
    atlas = lay_scenes(read_scenes(options, options.sources, store), options, store)
    clock.append(_now())
    blocks, split = split_atlas(atlas, options, 0)
    clock.append(_now())
    stretches = [
        stretch_scene(scene, split[atlas.window(i)] == TRAIN, options.stretch, chip_size**2)
        for i, scene in enumerate(atlas.scenes)
    ]
    images = Pictures(atlas, stretches)
    chips, _ = find_chips(atlas, images, split, blocks, chip_rules(options))
    clock.append(_now())
    write_chips(cut_chips(atlas, images, chips, chip_size), out / "chips.parquet", "real")
    clock.append(_now())
    seconds = np.diff(clock, axis=0).round(3)
    return {
        "seconds": dict(zip(STEPS, seconds[:, 0].tolist(), strict=True)),
        "processor_seconds": dict(zip(STEPS, seconds[:, 1].tolist(), strict=True)),
        "memory_before": before,
        "memory_peak": peak_memory(),
    }


def _now() -> tuple[float, float]:
    """Return the time by the clock and by this process's share of the processor, in seconds."""
    return time.perf_counter(), time.process_time()


def peak_memory() -> int:
    """Return the most memory this process has ever held, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: of this program alone, not of the one that started it
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_own_process(function: Callable, *arguments: object) -> dict:
    """Call a function in a fresh process, so that its memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# --- as a script goes patch by patch ------------------------------------------------------------


def cut_by_script(folder: Path, out: Path, corners: np.ndarray, size: int) -> tuple[float, float]:
    """Cut the windows one by one to ``out/<number>_image.png`` and ``_map.png``.

    Args:
        corners: (n, 2) upper left pixels in the files.

    Returns:
        seconds by the clock and of the processor.
    """
    out.mkdir(parents=True, exist_ok=True)
    start = _now()
    for number, (row, col) in enumerate(corners.tolist()):
        window = Window(col, row, size, size)
        with rasterio.open(folder / "images" / "scene.tif") as image:
            picture = image.read(window=window).transpose(1, 2, 0)
        with rasterio.open(folder / "masks" / "scene.tif") as mask:
            codes = mask.read(1, window=window)
        coloured = np.zeros((size, size, 3), np.uint8)
        for code, colour in zip(CODES, COLOURS, strict=True):
            coloured[codes == code] = colour
        Image.fromarray(np.ascontiguousarray(picture)).save(out / f"{number}_image.png")
        Image.fromarray(coloured).save(out / f"{number}_map.png")
    seconds, processor = np.subtract(_now(), start).round(3).tolist()
    return seconds, processor


# --- both ---------------------------------------------------------------------------------------


def compare_cutting(folder: Path, height: int, width: int, chip_size: int) -> dict:
    """Make the pair in ``folder``, cut it in both ways, compare, and remove everything but the numbers.

    Returns:
        ``height, width, chip_size, chips``; ``seconds`` per step and ``seconds_script`` by the clock, and the
        same of the processor; ``speedup``: processor seconds of the script by those of the same work, reading,
        finding and cutting, which other programs on the machine hardly change; ``speedup_with_splitting``: the
        same with the division of the ground into splits, which the script does not do;
        ``speedup_by_clock``: of the same work; ``memory_before`` and ``memory_peak`` in bytes.

    Raises:
        GroundsynthError: a chip that is not the script's, pixel by pixel.
    """
    pair, ours, script = folder / "pair", folder / "prepared", folder / "script"
    try:
        write_pair(pair, height, width)
        measured = in_own_process(cut_as_prepared, pair, ours, chip_size)
        corners = corners_in_file(ours / "chips.parquet")
        seconds, processor = cut_by_script(pair, script, corners, chip_size)
        check_equal(ours / "chips.parquet", script)
    finally:
        for part in (pair, ours, script):
            shutil.rmtree(part, ignore_errors=True)
    return {
        **dict(height=height, width=width, chip_size=chip_size, chips=len(corners)),
        **measured,
        **dict(seconds_script=seconds, processor_seconds_script=processor),
        "speedup": processor / _same_work(measured["processor_seconds"]),
        "speedup_with_splitting": processor / sum(measured["processor_seconds"].values()),
        "speedup_by_clock": seconds / _same_work(measured["seconds"]),
    }


def _same_work(seconds: dict[str, float]) -> float:
    return sum(value for step, value in seconds.items() if step != "splitting")


def corners_in_file(path: Path) -> np.ndarray:
    """Return the upper left pixel of each chip in the large files, (n, 2) int, from its coordinates."""
    places = pq.read_table(path, columns=["transform_c", "transform_f"]).to_pandas().to_numpy()
    cols, rows = ~GRID["transform"] * (places[:, 0], places[:, 1])
    return np.stack([rows, cols], 1).round().astype(int)


def check_equal(path: Path, script: Path) -> None:
    """Stop unless every chip is the script's: the image, and the map in its colours.

    Raises:
        GroundsynthError: the first chip that differs.
    """
    for number, (name, image, labels) in enumerate(_pictures(path)):
        same = (image == _load(script / f"{number}_image.png")).all()
        if not same or (colour_map(labels) != _load(script / f"{number}_map.png")).any():
            raise GroundsynthError(
                f"{path}: chip {name} is not what the script cut from the same window; cutting is wrong: run the tests"
            )


def _pictures(path: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(100, columns=["chip_id", "image", "mask"]):
            for row in batch.to_pylist():
                yield row["chip_id"], decode_png(row["image"]["bytes"]), decode_png(row["mask"]["bytes"])


def _load(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def cutting_rows(study: str, measured: dict) -> list[dict]:
    """Return the metric rows of a comparison, ``regime`` = the work: speed-up, and memory in MiB."""
    work = f"{measured['height']} × {measured['width']} px, chips of {measured['chip_size']} px"
    shared = dict(system="real", regime=work, n=measured["chips"])
    grown = (measured["memory_peak"] - measured["memory_before"]) / 2**20
    return [
        metric_row(study, STAGE, "chip_cutting_speedup", measured["speedup"], **shared),
        metric_row(study, STAGE, "chip_cutting_memory", grown, **shared),
    ]
