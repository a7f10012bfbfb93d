"""Films: frames into a GIF or an MP4."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.files import write_whole

#: frames are a few colours on grey: so many make a GIF small and look the same
COLOURS = 48
SUFFIXES = (".gif", ".mp4")


def save_film(
    frames: Iterable[Image.Image], path: Path, *, rate: float = 12.0, hold: float = 1.0
) -> int:
    """Write frames of one size as a film and return how many there are.

    A ``.gif`` repeats for ever; an ``.mp4`` is H.264, made by the program ffmpeg. Neither has a
    time stamp in it.

    Args:
        rate: frames a second; hold: seconds that the last one stays.
    Raises: OptionError for another suffix, or where ffmpeg is not on the PATH or fails; ShapeError
        without frames, or if they differ in size.
    """
    check_film(path)
    images = list(_same_size(frames))
    if rate <= 0 or hold < 0:
        raise OptionError(f"a film needs a positive rate and no negative hold, got {rate}, {hold}")
    write = _write_gif if path.suffix == ".gif" else _write_mp4
    write_whole(path, lambda p: write(images, p, rate, hold))
    return len(images)


def check_film(path: Path) -> None:
    """Raise OptionError where a film of that name cannot be written, before it is drawn."""
    if path.suffix not in SUFFIXES:
        raise OptionError(f"{path}: a film is one of {', '.join(SUFFIXES)}")
    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise OptionError(
            f"{path}: an MP4 is made by the program ffmpeg, which is not on the PATH; "
            "install it (such as with apt install ffmpeg) or write a .gif"
        )


def _same_size(frames: Iterable[Image.Image]) -> Iterator[Image.Image]:
    size = None
    for frame in frames:
        size = size or frame.size
        if frame.size != size:
            raise ShapeError(f"frames of a film must have one size, got {size} and {frame.size}")
        yield frame.convert("RGB")
    if size is None:
        raise ShapeError("a film needs one frame at least")


def _write_gif(frames: list[Image.Image], path: Path, rate: float, hold: float) -> None:
    # one palette for all, from a strip of frames of the whole film: colours do not flicker
    chosen = frames[:: max(1, len(frames) // 8)]
    strip = Image.new("RGB", (frames[0].width, sum(f.height for f in chosen)))
    for k, frame in enumerate(chosen):
        strip.paste(frame, (0, k * frame.height))
    palette = strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    flat = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    shown = [round(1000 / rate)] * len(flat)
    shown[-1] += round(1000 * hold)
    flat[0].save(
        path, format="GIF", save_all=True, append_images=flat[1:], duration=shown, loop=0,
        optimize=True,
    )  # fmt: skip


def _write_mp4(frames: list[Image.Image], path: Path, rate: float, hold: float) -> None:
    width, height = frames[0].size
    words = [
        *("ffmpeg", "-loglevel", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate}"),
        *("-i", "-"),
        # most players want even sides and colours at half resolution
        *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-crf", "20", "-threads", "1", "-movflags", "+faststart"),
        *("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", str(path)),
    ]
    last = [frames[-1]] * round(hold * rate)
    pixels = b"".join(frame.tobytes() for frame in [*frames, *last])
    done = subprocess.run(words, input=pixels, capture_output=True)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise OptionError(f"ffmpeg could not write {path.name}: {reason[-1] if reason else '?'}")
