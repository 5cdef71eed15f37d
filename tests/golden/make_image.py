#!/usr/bin/env python3
"""Writes tests/golden/image: small files of every kind that the decoders read, and what they hold. Kinds that Pillow cannot write are
written here byte by byte; the expected pixels are then the source array, checked against Pillow's own decoder wherever it keeps all
bits. JPEG is compared with Pillow's decoder, resampling with torchvision and torch. Needs pillow, numpy, torch, torchvision, safetensors."""
import io
import pathlib
import struct
import zlib

import numpy as np
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image
from safetensors.torch import save_file

out = pathlib.Path(__file__).parent / "image"
out.mkdir(exist_ok=True)
rng = np.random.default_rng(20240501)
W, H = 13, 9
files, expected, expected_masks = {}, {}, {}


def smooth(h, w, channels=3):
    """A picture-like array: gradients, an edge, a little noise."""
    y, x = np.mgrid[:h, :w]
    planes = [np.clip(255 * x / w * (c != 1) + 200 * y / h * (c != 0) + 60 * ((x + y * (c + 1)) % 11 < 4) * .5 + rng.normal(0, 6, (h, w)), 0, 255) for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


def add(name, data, rgb, nonzero=None, pillow=True):
    files[name] = data
    expected[name] = torch.from_numpy(np.ascontiguousarray(rgb.astype(np.uint8)))
    nonzero = (rgb > 0).any(-1) if nonzero is None else nonzero
    expected_masks["mask " + name] = torch.from_numpy(np.ascontiguousarray(nonzero.astype(np.uint8) * 255))
    if pillow:
        assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == rgb).all(), name


def pack(values, bits):
    """Rows of samples to bytes, most significant bit first."""
    if bits == 16:
        return [r.astype(">u2").tobytes() for r in values]
    if bits == 8:
        return [r.astype(np.uint8).tobytes() for r in values]
    rows = []
    for r in values:
        b = "".join(format(int(v), f"0{bits}b") for v in r)
        rows.append(int(b.ljust((len(b) + 7) // 8 * 8, "0"), 2).to_bytes((len(b) + 7) // 8, "big"))
    return rows


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, bits, colour, interlace=False, extra=b""):
    """samples [h, w, channels]; every row with filter 0."""
    h, w, n = samples.shape
    passes = [(0, 0, 1, 1)] if not interlace else [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x0, y0, dx, dy in passes:
        part = samples[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + r for r in pack(part.reshape(part.shape[0], -1), bits))
    head = struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, int(interlace))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def grey(a):
    return np.repeat(a.reshape(H, W, 1), 3, -1)


def scaled(a):
    return np.floor(a / 257 + .5)  # no value lies exactly between: 257 is odd


for bits in (1, 2, 4, 8):
    v = rng.integers(0, 2**bits, (H, W, 1))
    add(f"grey{bits}.png", png(v, bits, 0), grey(v * (255 // (2**bits - 1))))
v = rng.integers(0, 65536, (H, W, 1))
v[0, :6, 0] = [0, 1, 128, 129, 65535, 65534]  # 1 and 128 become 0 as pixels, yet are a defect as masks
add("grey16.png", png(v, 16, 0), grey(scaled(v)), (v > 0)[..., 0], pillow=False)
rgb = smooth(H, W)
rgb[0, :3] = 0
alpha = rng.integers(0, 256, (H, W, 1))
add("rgb8.png", png(rgb, 8, 2), rgb)
add("rgb8_interlaced.png", png(rgb, 8, 2, True), rgb)
add("rgba8.png", png(np.concatenate([rgb, alpha], -1), 8, 6), rgb)
add("rgb8_trns.png", png(rgb, 8, 2, extra=chunk(b"tRNS", struct.pack(">HHH", *map(int, rgb[4, 4])))), rgb)
g = rng.integers(0, 256, (H, W, 1))
add("ga8.png", png(np.concatenate([g, alpha], -1), 8, 4), grey(g))
w16 = rng.integers(0, 65536, (H, W, 4))
w16[0, :2, :3] = [[0, 0, 0], [0, 0, 1]]
add("rgb16.png", png(w16[..., :3], 16, 2), scaled(w16[..., :3]), (w16[..., :3] > 0).any(-1), pillow=False)
add("rgba16_interlaced.png", png(w16, 16, 6, True), scaled(w16[..., :3]), (w16[..., :3] > 0).any(-1), pillow=False)
add("ga16.png", png(w16[..., 2:], 16, 4), grey(scaled(w16[..., 2])), w16[..., 2] > 0, pillow=False)
for bits in (1, 2, 4, 8):
    palette = rng.integers(0, 256, (2**bits, 3))
    palette[0] = 0
    v = rng.integers(0, 2**bits, (H, W, 1))
    extra = chunk(b"PLTE", palette.astype(np.uint8).tobytes()) + chunk(b"tRNS", bytes([0, 128]))
    add(f"palette{bits}.png", png(v, bits, 3, interlace=bits == 4, extra=extra), palette[v[..., 0]])
big = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 20), 9)) + chunk(b"gAMA", struct.pack(">I", 100000))
add("rgb8_text_gamma.png", png(rgb, 8, 2, extra=big), rgb)  # a megabyte of text, and a gamma that is not applied


def bmp(rows, w, h, bits, palette=b"", header=40, compression=0, masks=b"", top_down=False, colours=0):
    stride = (w * bits + 31) // 32 * 4
    body = b"".join(r.ljust(stride, b"\0") for r in (rows if top_down else rows[::-1]))
    if header == 12:
        info = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, w, -h if top_down else h, 1, bits, compression, len(body), 2835, 2835, colours, 0)
        info += masks.ljust(header - 40, b"\0") if header > 40 else b""
    behind = masks if header == 40 else b""
    at = 14 + len(info) + len(behind) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + info + behind + palette + body


def bgr(a):
    return [r[:, ::-1].tobytes() for r in a.astype(np.uint8)]


for bits in (1, 4, 8):
    palette = rng.integers(0, 256, (2**bits, 3))
    palette[0] = 0
    v = rng.integers(0, 2**bits, (H, W))
    four = b"".join(bytes([*map(int, p[::-1]), 0]) for p in palette)
    three = b"".join(bytes([*map(int, p[::-1])]) for p in palette)
    add(f"palette{bits}.bmp", bmp(pack(v, bits), W, H, bits, four), palette[v])
    add(f"palette{bits}_core.bmp", bmp(pack(v, bits), W, H, bits, three, header=12), palette[v])
v = rng.integers(0, 10, (H, W))
add("palette8_10_colours.bmp", bmp(pack(v, 8), W, H, 8, four[:40], colours=10, top_down=True), palette[v])
add("rgb24.bmp", bmp(bgr(rgb), W, H, 24), rgb)
add("rgb24_top_down.bmp", bmp(bgr(rgb), W, H, 24, top_down=True), rgb)
quad = np.concatenate([rgb, alpha], -1).astype(np.uint8)
add("rgb32.bmp", bmp([r[:, [2, 1, 0, 3]].tobytes() for r in quad], W, H, 32), rgb)
add("rgb32_v5_fields.bmp", bmp([r[:, [2, 1, 0, 3]].tobytes() for r in quad], W, H, 32, header=124, compression=3,
                               masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)), rgb)
add("rgb32_odd_fields.bmp", bmp([r[:, [3, 0, 1, 2]].tobytes() for r in quad], W, H, 32, compression=3,
                                masks=struct.pack("<III", 0xFF00, 0xFF0000, 0xFF000000)), rgb, pillow=False)
buffer = io.BytesIO()
Image.fromarray(rgb).save(buffer, "BMP")
add("pillow.bmp", buffer.getvalue(), rgb)

photo = smooth(37, 50)
for name, mode, options in (("444.jpg", "RGB", dict(quality=90, subsampling=0)), ("420.jpg", "RGB", dict(quality=75, subsampling=2)),
                            ("progressive.jpg", "RGB", dict(quality=80, progressive=True)), ("grey.jpg", "L", dict(quality=80)),
                            ("restart.jpg", "RGB", dict(quality=80, restart_marker_blocks=2)), ("cmyk.jpg", "CMYK", dict(quality=60))):
    buffer = io.BytesIO()
    Image.fromarray(photo).convert(mode).save(buffer, "JPEG", **options)
    files[name] = buffer.getvalue()
    if mode != "CMYK":
        expected[name] = torch.from_numpy(np.array(Image.open(io.BytesIO(files[name])).convert("RGB")))

for name, data in files.items():
    (out / name).write_bytes(data)
save_file({**expected, **expected_masks}, out / "expected.safetensors")

resize = {}
for h, w, side in ((53, 37, 16), (48, 64, 32), (20, 24, 40), (31, 90, 24), (32, 32, 32), (5, 3, 8), (1, 7, 4)):
    image = torch.from_numpy(smooth(h, w))
    key = f"{h}x{w}_{side}"
    resize["rgb " + key] = image
    chw = image.permute(2, 0, 1).float() / 255
    resize["resized " + key] = tv.resize(chw, [side, side], interpolation=tv.InterpolationMode.BILINEAR, antialias=True).contiguous()
    mask = torch.from_numpy((rng.random((h, w)) < .3).astype(np.uint8))
    resize["mask " + key] = mask * 255
    resize["nearest " + key] = torch.nn.functional.interpolate(mask[None, None].float(), (side, side), mode="nearest")[0, 0].to(torch.uint8)
    plane = torch.from_numpy(rng.normal(0, 1, (h, w)).astype(np.float32))
    resize["plane " + key] = plane
    resize["bilinear " + key] = torch.nn.functional.interpolate(plane[None, None], (side + 3, side), mode="bilinear", align_corners=False)[0, 0].contiguous()
save_file(resize, out / "resize.safetensors")
