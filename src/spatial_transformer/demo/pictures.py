"""Pictures in and out: uploads checked before they are decoded, digits from drawings."""

import base64
import io
import threading
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from spatial_transformer.errors import DataError
from spatial_transformer.functional import warp

#: of an upload
MOST_BYTES = 10 * 2**20
MOST_PIXELS = 25_000_000
_ONE_AT_A_TIME = threading.Lock()
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
#: MNIST's: the strokes' box, in the middle of the image
BOX, DIGIT = 20, 28


def decode_image(data: bytes, side: int) -> Tensor:
    """An uploaded picture as ``(3, H, W)`` in [0, 1], reduced to at most ``side`` pixels an axis.

    Bytes, format and pixels are checked before anything is decoded. Transparent pixels become
    white.

    Raises:
        DataError: If it is too large, of another format or broken; the message says which.
    """
    if len(data) > MOST_BYTES:
        raise DataError(
            f"the file is too large: {len(data) / 2**20:.1f} MB, at most {MOST_BYTES // 2**20} MB"
        )
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; they are refused below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = opened.size
        if width * height > MOST_PIXELS:
            raise DataError(
                f"the image is too large: {width} x {height} pixels, at most "
                f"{MOST_PIXELS // 10**6} million"
            )
        opened.draft("RGB", (side, side))  # JPEG decodes no more than is needed
        clear = opened.mode.endswith("A") or "transparency" in opened.info
        mode = "RGBA" if clear else "RGB"
        with _ONE_AT_A_TIME:  # it may take some hundred MB; what follows is small
            image = opened if opened.mode == mode else opened.convert(mode)
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
        image = ImageOps.exif_transpose(image).convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    except Image.DecompressionBombError as error:
        raise DataError("the image is too large: it has too many pixels") from error
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever broken files make them
        known = ", ".join(FORMATS)
        raise DataError(f"this is not an image that can be read ({known})") from error
    pixels = np.asarray(flat, dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def encode_image(image: Tensor) -> str:
    """``(1 or 3, H, W)`` in [0, 1] as a data URL of a PNG (``data:image/png;base64,...``)."""
    pixels = (image.detach().float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def make_digit(image: Tensor) -> Tensor:
    """A digit in MNIST's format from a drawing or a picture.

    Bright strokes on black, as large as a box of 20x20, their centre of mass in the middle of
    28x28. Black where nothing is drawn. A picture with a bright edge is dark on bright, and is
    inverted.

    Args:
        image: ``(3, H, W)`` in [0, 1].

    Returns:
        ``(1, 28, 28)`` in [0, 1].
    """
    grey = image.mean(0)
    edge = torch.cat([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).mean()
    if edge > 0.5:
        grey = 1 - grey
    low, high = grey.quantile(0.02), grey.max()
    if high - low < 0.1:
        return torch.zeros(1, DIGIT, DIGIT)
    strokes = ((grey - low) / (high - low)).clamp(0, 1)
    strokes = torch.where(strokes < 0.2, 0.0, strokes)  # the paper's own shade
    rows, columns = strokes.amax(1).nonzero().flatten(), strokes.amax(0).nonzero().flatten()
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]).item() + 1
    height, width = strokes.shape
    total = strokes.sum()
    # pixel centres in normalised coordinates
    x = ((torch.arange(width) + 0.5) * 2 / width - 1) @ strokes.sum(0) / total
    y = ((torch.arange(height) + 0.5) * 2 / height - 1) @ strokes.sum(1) / total
    reach = longest * DIGIT / BOX  # pixels that the 28 show
    theta = torch.tensor([[reach / width, 0.0, x, 0.0, reach / height, y]])
    digit = warp(strokes[None, None], theta, "affine", DIGIT, antialias=True)[0]
    return digit / digit.max().clamp(min=1e-6)
