#!/usr/bin/env python3
"""References for tests/core/mffa, made with numpy, scipy, scikit-learn and PyTorch; none of this project's code takes part.

    python3 tests/golden/make_mffa.py            writes mffa/*.safetensors beside this script
Needs numpy, scipy, scikit-learn, safetensors, torch and timm; the same versions give the same bytes.
"""
import pathlib
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent / "mffa"


def pro(maps, masks, limit=0.3):
    """Per-region overlap integrated to the limit, as a ROC curve in which a region's pixels share the weight of one region."""
    from scipy.ndimage import label
    from sklearn.metrics import roc_curve
    weight, regions = np.ones(maps.shape), 0
    for i, mask in enumerate(masks):
        found, n = label(mask, structure=np.ones((3, 3)))
        regions += n
        for r in range(1, n + 1):
            weight[i][found == r] = 1 / (found == r).sum()
    x, y, _ = roc_curve(masks.ravel(), maps.ravel(), sample_weight=weight.ravel(), drop_intermediate=False)
    keep = x < limit
    xs, ys = np.append(x[keep], limit), np.append(y[keep], np.interp(limit, x, y))
    return np.trapezoid(ys, xs) / limit


def figures(labels, scores):
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
    p, r, t = precision_recall_curve(labels, scores)
    f1 = 2 * p[:-1] * r[:-1] / np.maximum(p[:-1] + r[:-1], 1e-300)
    return [roc_auc_score(labels, scores), average_precision_score(labels, scores), f1.max(), t[f1.argmax()]]


def metrics():
    """20 pictures, 3 kinds, values in steps of 1/16 so that most are ties; the last kind touches itself at corners only."""
    rng = np.random.default_rng(1)
    n, side = 20, 24
    kind = np.array([0] * 8 + [1] * 5 + [2] * 4 + [3] * 3)
    masks = np.zeros((n, side, side), np.uint8)
    for i in np.flatnonzero(kind):
        for _ in range(kind[i]):
            y, x, h, w = rng.integers(0, side - 6, 2).tolist() + rng.integers(1, 7, 2).tolist()
            masks[i, y:y + h, x:x + w] = 1
        if kind[i] == 3:
            for k in range(5):
                masks[i, k, 18 - k] = 1
    maps = np.round((rng.normal(size=masks.shape) + 1.2 * masks) * 16).astype(np.float32) / 16
    scores = np.round((rng.normal(size=n) + (kind > 0)) * 4) / 4
    all_of = figures(kind > 0, scores) + figures(masks.ravel(), maps.ravel()) + [pro(maps, masks)]
    types = []
    for k in (1, 2, 3):
        of = (kind == k) | (kind == 0)
        types.append([figures(kind[of] > 0, scores[of])[0], figures(masks[of].ravel(), maps[of].ravel())[0], pro(maps[of], masks[of])])
    save_file({"kind": kind.astype(np.int64), "scores": scores, "maps": maps, "masks": masks, "figures": np.array(all_of),
               "types": np.array(types)}, HERE / "metrics.safetensors")


def gaussian():
    """Mahalanobis distances in double; few: fewer pictures than features, three of which are constant."""
    for name, n, d, seed in (("many", 60, 21, 2), ("few", 9, 37, 3)):
        rng = np.random.default_rng(seed)
        mix = rng.normal(size=(3, d, d)) / d ** 0.5
        train = (np.einsum("npd,pde->npe", rng.normal(size=(n, 3, d)), mix) + rng.normal(size=(3, d)) * 5).astype(np.float32)
        if name == "few":
            train[:, :, [0, 8, 36]] = 2.5
        test = (train[:4] + rng.normal(size=(4, 3, d)) * [[[0]], [[0.1]], [[1]], [[5]]]).astype(np.float32)
        distance = np.empty((4, 3))
        for p in range(3):
            x = train[:, p].astype(np.float64)
            inverse = np.linalg.inv(np.cov(x, rowvar=False, ddof=1) + 0.01 * np.eye(d))
            z = test[:, p].astype(np.float64) - x.mean(0)
            distance[:, p] = np.sqrt(np.einsum("nd,de,ne->n", z, inverse, z))
        save_file({"train": train, "test": test, "distance": distance}, HERE / f"gaussian_{name}.safetensors")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    metrics()
    gaussian()
