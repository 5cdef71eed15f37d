#!/usr/bin/env python3
"""Opens with stock libraries what fit and evaluate wrote, and computes the figures again with scikit-learn.

    check_results.py FIT_RUN_FOLDER EVALUATE_RUN_FOLDER DATASET_FOLDER
"""
import hashlib
import json
import pathlib
import sys

import msgpack
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score, roc_auc_score

fit, evaluate, dataset = (pathlib.Path(a) for a in sys.argv[1:])
scores = msgpack.unpackb((evaluate / "scores.msgpack").read_bytes())
summary = msgpack.unpackb((evaluate / "summary.msgpack").read_bytes())
assert summary == json.loads((evaluate / "summary.json").read_text())
for folder in (fit, evaluate):
    for o in json.loads((folder / "manifest.json").read_text())["objects"]:
        content = (folder / o["key"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (o["bytes"], o["sha256"]), o["key"]

images = scores["images"]
labels, values = [i["label"] for i in images], [i["score"] for i in images]
for name, mine in (("image_auroc", roc_auc_score(labels, values)), ("image_auprc", average_precision_score(labels, values))):
    assert abs(mine - summary[name]) < 1e-9, (name, mine, summary[name])

maps = load_file(evaluate / "maps.safetensors")["maps"]
assert np.array_equal(maps.max((1, 2)), np.array(values, np.float32))
side, masks = scores["side"], np.zeros(maps.shape, bool)


def nearest(path):
    import struct, zlib  # an 8-bit grey PNG without filters or interlacing is all that the sample writes
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 0), path
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, out = zlib.decompress(packed), np.zeros((height, width), np.uint8)
    for y in range(height):
        line, kind = np.frombuffer(raw, np.uint8, width, y * (width + 1) + 1), raw[y * (width + 1)]
        above = out[y - 1] if y else np.zeros(width, np.uint8)
        if kind == 0:
            out[y] = line
        elif kind == 2:
            out[y] = line + above
        else:
            for x in range(width):
                a, b, c = int(out[y, x - 1]) if x else 0, int(above[x]), int(above[x - 1]) if x else 0
                p = a + b - c
                paeth = a if abs(p - a) <= abs(p - b) and abs(p - a) <= abs(p - c) else b if abs(p - b) <= abs(p - c) else c
                out[y, x] = (int(line[x]) + {1: a, 3: (a + b) // 2, 4: paeth}[kind]) % 256
    rows = (np.arange(side) * height // side)[:, None]
    return out[rows, np.arange(side) * width // side] > 0


for i, image in enumerate(images):
    if image["mask"]:
        masks[i] = nearest(dataset / image["mask"])
pixel = roc_auc_score(masks.ravel(), maps.ravel())
assert abs(pixel - summary["pixel_auroc"]) < 1e-9, (pixel, summary["pixel_auroc"])

with safe_open(fit / "model.safetensors", "np") as f:
    meta, bank, origin = f.metadata(), f.get_tensor("memory_bank.features"), f.get_tensor("memory_bank.origin")
    assert meta["format"] == "mffa-model" and np.isfinite(bank).all() and len(bank) == len(origin)
    assert f.get_tensor("gaussian.mean").shape == (int(meta["grid"]) ** 2, int(meta["gaussian_channels"]))
print(f"{len(images)} pictures, image AUROC {summary['image_auroc']:.6f}, pixel AUROC {pixel:.6f}, {len(bank)} rows in the bank")
