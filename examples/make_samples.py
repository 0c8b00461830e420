"""Cut the photographs of hamsa_deploy/samples/photos out of scikit-learn's two sample images.

    python examples/make_samples.py

Six 256 x 256 crops of each image, JPEG quality 90, on a grid that covers it; with their licence.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_image

FOLDER = Path(__file__).parent.parent / "hamsa_deploy" / "samples" / "photos"
SIDE = 256
ROWS, COLUMNS = 2, 3
LICENSE = """\
The files of this folder are 256 x 256 crops, recompressed as JPEG, of two photographs that scikit-learn
carries (sklearn/datasets/images). No other change was made. Both are released under the Creative Commons
Attribution 2.0 Generic licence (CC BY 2.0), https://creativecommons.org/licenses/by/2.0/

china_*.jpg    from china.jpg. Attribution: some rights reserved by danielbuechele,
               https://www.flickr.com/photos/danielbuechele/
               https://www.flickr.com/photos/danielbuechele/6061409035/sizes/z/in/photostream/
flower_*.jpg   from flower.jpg. Attribution: some rights reserved by vultilion,
               https://www.flickr.com/photos/vultilion/
               https://www.flickr.com/photos/vultilion/6056698931/sizes/z/in/photostream/

Both were retrieved for scikit-learn on 21 August 2011 by Robert Layton. (scikit-learn's own notice
names danielbuechele for flower.jpg too; the link that it gives is vultilion's.)
"""


def main() -> None:
    """Write the crops and the licence."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("china", "flower"):
        save_crops(name, Image.fromarray(load_sample_image(f"{name}.jpg")))
    (FOLDER / "LICENSE").write_text(LICENSE, encoding="utf-8")
    print(f"{len(list(FOLDER.glob('*.jpg')))} photographs in {FOLDER}")


def save_crops(name: str, image: Image.Image) -> None:
    """ROWS x COLUMNS crops, evenly spread from edge to edge."""
    for row in range(ROWS):
        for column in range(COLUMNS):
            left = (image.width - SIDE) * column // (COLUMNS - 1)
            top = (image.height - SIDE) * row // (ROWS - 1)
            crop = image.crop((left, top, left + SIDE, top + SIDE))
            crop.save(FOLDER / f"{name}_{row}{column}.jpg", quality=90)


if __name__ == "__main__":
    main()
