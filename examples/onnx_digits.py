"""Reads digits with an exported network: ONNX Runtime and NumPy alone, no PyTorch, nothing of ours.

    stn export st_cnn_affine_rts --out digits.onnx
    python examples/onnx_digits.py digits.onnx FOLDER_OF_MNIST

FOLDER_OF_MNIST holds t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (`stn doctor` says where
they are). Each digit is put at a random place of the network's canvas.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime


def read_idx(path: Path) -> np.ndarray:
    """The array in an uncompressed IDX file of bytes."""
    data = path.read_bytes()
    dims = data[3]
    shape = np.frombuffer(data, ">i4", dims, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)


def place(digits: np.ndarray, size: int, source: np.random.Generator) -> np.ndarray:
    """Digits (N, 28, 28) in [0, 255] at random places of a canvas: (N, 1, size, size) in [0, 1]."""
    images = np.zeros((len(digits), 1, size, size), np.float32)
    corners = source.integers(0, size - 28 + 1, (len(digits), 2))
    for image, digit, (y, x) in zip(images, digits, corners, strict=True):
        image[0, y : y + 28, x : x + 28] = digit / 255
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description="Reads digits with an exported network.")
    parser.add_argument("model", type=Path, help="what `stn export` wrote")
    parser.add_argument("mnist", type=Path, help="folder with MNIST's test files")
    parser.add_argument("--count", type=int, default=1000, help="how many digits")
    arguments = parser.parse_args()

    session = onnxruntime.InferenceSession(arguments.model, providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    size = session.get_inputs()[0].shape[-1]
    digits = read_idx(arguments.mnist / "t10k-images-idx3-ubyte")[: arguments.count]
    truth = read_idx(arguments.mnist / "t10k-labels-idx1-ubyte")[: arguments.count]
    images = place(digits, size, np.random.default_rng(0))

    scores, *seen = session.run(None, {"image": images})
    read = scores.argmax(axis=1)
    print("first digits read as", " ".join(labels[k] for k in read[:10]))
    if seen:
        print("theta of the first:", np.array2string(seen[1][0], precision=2))
    print(f"{(read == truth).mean():.2%} of {len(truth):,} read rightly")


if __name__ == "__main__":
    main()
