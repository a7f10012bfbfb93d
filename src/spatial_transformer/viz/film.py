"""Films: frames as a GIF or an MP4."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, ImageColor

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.files import write_whole
from spatial_transformer.viz.style import GRIDS, RIGHT, WRONG

#: greys of a GIF's palette, besides the pictures' colours and blends; few make it small
GREYS = 32
SUFFIXES = (".gif", ".mp4")


def save_film(
    frames: Iterable[Image.Image], path: Path | str, *, rate: float = 12.0, hold: float = 1.0
) -> int:
    """Write frames of one size as a film and return how many there are.

    A ``.gif`` loops for ever, in the palette of this package's pictures; an ``.mp4`` is H.264,
    encoded by the program ffmpeg. Neither has a time stamp in it.

    Args:
        frames: The frames, all of one size.
        path: The file, ending in .gif or .mp4.
        rate: Frames a second.
        hold: Seconds that the last one stays.

    Raises:
        OptionError: If the suffix is another, or ffmpeg is not on the PATH or fails.
        ShapeError: If there are no frames, or they differ in size.
    """
    path = check_film(path)
    images = list(_same_size(frames))
    if rate <= 0 or hold < 0:
        raise OptionError(f"a film needs a positive rate and no negative hold, got {rate}, {hold}")
    write = _write_gif if path.suffix == ".gif" else _write_mp4
    write_whole(path, lambda p: write(images, p, rate, hold))
    return len(images)


def check_film(path: Path | str) -> Path:
    """The path of a film that can be written here.

    Raises:
        OptionError: If the suffix is another, or ffmpeg is needed and not on the PATH.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise OptionError(f"{path}: a film is one of {', '.join(SUFFIXES)}")
    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise OptionError(
            f"{path}: an MP4 is made by the program ffmpeg, which is not on the PATH; "
            "install it (such as with apt install ffmpeg) or write a .gif"
        )
    return path


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
    # one palette for all: colours do not flicker
    palette = _palette()
    flat = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    shown = [round(1000 / rate)] * len(flat)
    shown[-1] += round(1000 * hold)
    flat[0].save(
        path, format="GIF", save_all=True, append_images=flat[1:], duration=shown, loop=0,
        optimize=True,
    )  # fmt: skip


def _palette() -> Image.Image:
    """The colours of our pictures, blended with black and white for soft edges, and greys."""
    colours = [(k * 255 // (GREYS - 1),) * 3 for k in range(GREYS)]
    for name in dict.fromkeys((*GRIDS, RIGHT, WRONG)):
        pure = ImageColor.getrgb(name)[:3]
        for ground in (0, 255):
            for share in (0.25, 0.5, 0.75):
                colours.append(tuple(round(share * c + (1 - share) * ground) for c in pure))  # type: ignore[arg-type]
        colours.append(pure)
    image = Image.new("P", (1, 1))
    image.putpalette([value for colour in colours for value in colour])
    return image


def _write_mp4(frames: list[Image.Image], path: Path, rate: float, hold: float) -> None:
    width, height = frames[0].size
    words = [
        *("ffmpeg", "-loglevel", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate}"),
        *("-i", "-"),
        # most players need even sides and colours at half resolution
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
