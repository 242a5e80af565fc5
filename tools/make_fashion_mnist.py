"""How `gradtx/data/fashion_mnist.npz` was made; kept as its record, nothing imports it.

The source is Debian's package dataset-fashion-mnist 0.0~git20200523.55506a9-1:

    apt-get download dataset-fashion-mnist
    dpkg-deb -x dataset-fashion-mnist_*.deb unpacked
    python tools/make_fashion_mnist.py unpacked/usr/share/datasets/fashion-mnist out.npz

From each class 600 training and 100 test images are drawn without replacement with
`numpy.random.default_rng(0)`, train before test and class 0 first, and kept in the order of the
source, so that the classes are mixed.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

SEED = 0
PER_CLASS = {"train": 600, "t10k": 100}


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of a gzipped IDX file: 4-byte magic, int32 sizes, then the bytes."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def main(source: Path, out: Path) -> None:
    """Write the subset of `source` to `out`."""
    rng = np.random.default_rng(SEED)
    arrays = {}
    for split, count in PER_CLASS.items():
        images = read_idx(source / f"{split}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{split}-labels-idx1-ubyte.gz")
        drawn = [rng.choice(np.flatnonzero(labels == c), count, replace=False) for c in range(10)]
        keep = np.sort(np.concatenate(drawn))
        name = {"train": "train", "t10k": "test"}[split]
        arrays |= {f"x_{name}": images[keep], f"y_{name}": labels[keep]}
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
