"""The data set inside the package: a balanced part of Fashion-MNIST.

6,000 training and 1,000 test images of 28 x 28 gray pixels in ten classes (Xiao, Rasul and
Vollgraf, 2017), under the MIT license in FASHION_MNIST_LICENSE.
`tools/make_fashion_mnist.py` of the repository made the file and documents how.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from gradtx.data.arrays import arrays
from gradtx.data.dataset import Dataset
from gradtx.data.errors import DataError
from gradtx.files import as_path
from gradtx.kinds import checked

FILE = Path(__file__).with_name("fashion_mnist.npz")
SHA256 = "8fad14525398cdb025b962df9fe00a334b1232bd588e94db758f914ea4b47dae"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@checked
def embedded(*, file: Path = FILE) -> Dataset:
    """The embedded Fashion-MNIST subset: 6,000 training and 1,000 test images, 28 x 28, gray.

    Args:
        file: the .npz file of the package.

    Raises:
        DataError: if the file is missing or its sha256 is not the one recorded here.

    Source: Xiao, Rasul and Vollgraf (2017).
    """
    file = as_path(file)
    if not file.is_file():
        raise DataError(f"embedded: {file} is missing. Reinstall gradtx.")
    got = hashlib.sha256(file.read_bytes()).hexdigest()
    if got != SHA256:
        raise DataError(
            f"embedded: {file} is damaged or altered (sha256 {got[:8]}...; expected "
            f"{SHA256[:8]}...). Reinstall gradtx."
        )
    name = "embedded"
    return replace(arrays(file), name=name, classes=CLASSES, fingerprint=f"{name}-{SHA256[:16]}")
