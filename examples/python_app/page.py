"""The nearest images of a query as one HTML file that needs nothing else: thumbnails are inside of it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

# Pixels of the longer side; twice what the page shows at most, for screens with two pixels to a dot.
THUMBNAIL = 360
# Fewer pixels than a thumbnail has on the page: squares with sharp edges say more than a blur.
FEW = 64

STYLE = """
:root{color-scheme:light dark;--paper:#fbfbf9;--raised:#fff;--ink:#1c1e21;--faint:#5d636b;--line:#d9dbd6}
@media (prefers-color-scheme:dark){
:root{--paper:#15171a;--raised:#1e2125;--ink:#e8e8e4;--faint:#9ea4ac;--line:#33373d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.25rem;background:var(--paper);color:var(--ink);
font:1rem/1.45 system-ui,sans-serif}
h1{font-size:1.35rem;margin:0 0 .25rem}
p{margin:0 0 1rem;color:var(--faint);overflow-wrap:anywhere}
ol{list-style:none;margin:0;padding:0;display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr))}
figure{margin:0;height:100%;background:var(--raised);border:1px solid var(--line);border-radius:.5rem;overflow:hidden}
figure>img,figure>div{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:var(--line)}
figure>div{display:grid;place-items:center;padding:.75rem;text-align:center;color:var(--faint);font-size:.85rem}
.few{image-rendering:pixelated}
figcaption{padding:.5rem .6rem .6rem;font-size:.85rem}
figcaption b{font-size:1rem;font-variant-numeric:tabular-nums}
figcaption span{display:block;color:var(--faint);overflow-wrap:anywhere}
.query{width:min(12rem,100%);margin:0 0 1.25rem}
@media (max-width:30rem){body{padding:.75rem}ol{gap:.5rem;grid-template-columns:1fr 1fr}}
"""


def page_of(query: Path, found: Sequence[tuple[float, Path]], about: str) -> str:
    """The page: the image that was asked about, and those that are most like it.

    Args:
        query: an image file.
        found: cosine similarity and path, the nearest first. A file that is not there, or no image, is said to be so.
        about: what was searched, in a line.
    """
    images = "\n".join(_item(rank, *each) for rank, each in enumerate(found, start=1))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Images like {html.escape(query.name)}</title><style>{STYLE}</style></head><body>
<h1>Images like {html.escape(query.name)}</h1>
<p>{html.escape(about)}</p>
<figure class="query">{_thumbnail(query)}<figcaption><span>{html.escape(str(query))}</span></figcaption></figure>
<ol>
{images}
</ol></body></html>
"""


def _item(rank: int, similarity: float, path: Path) -> str:
    caption = f"<b>{similarity:.4f}</b><span>{rank}. {html.escape(f'{path.parent.name}/{path.name}')}</span>"
    return f'<li><figure title="{html.escape(str(path))}">{_thumbnail(path)}<figcaption>{caption}</figcaption></figure>'


def _thumbnail(path: Path) -> str:
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"<div>no picture: {html.escape(type(error).__name__)}</div>"
    few = ' class="few"' if max(image.size) < FEW else ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if few else "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = "png" if few else "jpeg"
    return f'<img{few} alt="{html.escape(path.name)}" src="data:image/{kind};base64,{data}">'
