#!/usr/bin/env python3
"""References for tests/core/mffa, made with numpy, scipy, scikit-learn and PyTorch; none of this project's code takes part.

    python3 tests/golden/make_mffa.py            writes mffa/*.safetensors beside this script
Needs numpy, scipy, scikit-learn, safetensors, torch and timm; the same versions give the same bytes.
"""
import functools
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
    """Mahalanobis distances in double; few: fewer pictures than features, three of which are constant; paper: as many features."""
    for name, n, d, positions, seed in (("many", 60, 21, 3, 2), ("few", 9, 37, 3, 3), ("paper", 10, 570, 1, 7)):
        rng = np.random.default_rng(seed)
        mix = rng.normal(size=(positions, d, d)) / d ** 0.5
        train = (np.einsum("npd,pde->npe", rng.normal(size=(n, positions, d)), mix) + rng.normal(size=(positions, d)) * 5).astype(np.float32)
        if name == "few":
            train[:, :, [0, 8, 36]] = 2.5
        test = (train[:4] + rng.normal(size=(4, positions, d)) * [[[0]], [[0.1]], [[1]], [[5]]]).astype(np.float32)
        distance = np.empty((4, positions))
        for p in range(positions):
            x = train[:, p].astype(np.float64)
            inverse = np.linalg.inv(np.cov(x, rowvar=False, ddof=1) + 0.01 * np.eye(d))
            z = test[:, p].astype(np.float64) - x.mean(0)
            distance[:, p] = np.sqrt(np.einsum("nd,de,ne->n", z, inverse, z))
        save_file({"train": train, "test": test, "distance": distance}, HERE / f"gaussian_{name}.safetensors")


def amc():
    """Maps brought to size by PyTorch, blurred by scipy (mode "nearest" repeats the edge sample)."""
    import torch
    import torch.nn.functional as F
    from scipy.ndimage import gaussian_filter
    rng = np.random.default_rng(4)
    nns, gauss = rng.random((2, 1, 8, 8), np.float32), rng.random((2, 1, 5, 5), np.float32) * 30
    up = [F.interpolate(torch.from_numpy(m.astype(np.float64)), (40, 40), mode="bilinear", align_corners=False).numpy() for m in (nns, gauss)]
    out = {"nns": nns, "gaussian": gauss}
    for name, m in (("product", up[0] * up[1]), ("nns_only", up[0]), ("gaussian_only", up[1])):
        out[name] = np.stack([gaussian_filter(x[0], 4, mode="nearest", truncate=4) for x in m]).astype(np.float32)
    save_file(out, HERE / "amc.safetensors")


class Philox:
    """Philox4x32-10 as core/base/rng.h documents it."""

    def __init__(self, seed, stream):
        self.seed, self.stream, self.index, self.words = seed, stream, 0, []

    def u32(self):
        if not self.words:
            m = 0xFFFFFFFF
            c = [self.index & m, self.index >> 32, self.stream & m, self.stream >> 32]
            k = [self.seed & m, self.seed >> 32]
            for _ in range(10):
                a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
                c = [(b >> 32) ^ c[1] ^ k[0], b & m, (a >> 32) ^ c[3] ^ k[1], a & m]
                k = [(k[0] + 0x9E3779B9) & m, (k[1] + 0xBB67AE85) & m]
            self.words, self.index = c, self.index + 1
        return self.words.pop(0)

    def below(self, n):
        limit = 2**32 - 2**32 % n
        while (x := self.u32()) >= limit:
            pass
        return x % n

    def unit(self):
        low = self.u32()
        return ((self.u32() << 32 | low) >> 11) * 2.0**-53

    def normal(self):
        u1, u2 = self.unit(), self.unit()
        return np.sqrt(-2 * np.log(1 - u1)) * np.cos(2 * np.pi * u2)

    def choose(self, n, k):
        items = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return sorted(items[:k])


def tiny_networks():
    """A ResNet of torchvision's blocks with 8, 16 and 32 channels, two CaiT blocks of timm's, 24 wide; weights in float16 to be small."""
    import torch
    from timm.models.cait import LayerScaleBlock
    from torchvision.models.resnet import BasicBlock
    nn = torch.nn
    torch.manual_seed(5)

    def stage(i, o, stride):
        return nn.Sequential(BasicBlock(i, o, stride, nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
            self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            self.layer1, self.layer2, self.layer3 = stage(64, 8, 1), stage(8, 16, 2), stage(16, 32, 2)

        def forward(self, x):
            f1 = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
            f2 = self.layer2(f1)
            return f1, f2, self.layer3(f2)

    net = ResNet().eval()
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    blocks = [LayerScaleBlock(24, 3, qkv_bias=True, init_values=1.0, norm_layer=norm) for _ in range(2)]
    cait = nn.ModuleDict({"blocks": nn.ModuleList(blocks)}).eval()
    for m in (net, cait):
        for name, t in m.state_dict().items():
            if t.dtype != torch.float32:
                continue
            if "running_var" in name:
                t.uniform_(0.5, 2)
            elif t.dim() == 1:
                t.add_(torch.randn_like(t) * 0.1)
            elif "blocks" in name:
                t.mul_(1.5)
            t.copy_(t.half().float())
    return net, cait


def model():
    """The whole pipeline on 4 + 3 pictures of 64 x 64, by the design's section 3, in PyTorch and numpy."""
    import torch
    import torch.nn.functional as F
    from safetensors.torch import save_file as save_torch
    S, G, d, ratio, lam, seed, n = 64, 12, 10, 0.1, 0.01, 2**40 + 17, 4
    net, cait = tiny_networks()
    for m, name in ((net, "backbone"), (cait, "transformer")):
        save_torch({k: v.half().contiguous() for k, v in m.state_dict().items() if v.dtype == torch.float32}, HERE / f"tiny_{name}.safetensors")
    rng = np.random.default_rng(6)
    coarse = torch.from_numpy(rng.random((7, 3, 11, 11)))
    pictures = (F.interpolate(coarse, (S, S), mode="bicubic").clamp(0, 1) * 200 + torch.from_numpy(rng.random((7, 3, S, S))) * 55).byte()
    pictures[6, :, 20:34, 30:50] = 5
    x = (pictures.float() / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        f1, f2, f3 = net(x)
        e = F.avg_pool2d(torch.cat([f2, F.interpolate(f3, (8, 8), mode="bilinear")], 1), 3, 1, 1).permute(0, 2, 3, 1).reshape(7, 64, 48)
        layer3, channels = Philox(seed, 101).choose(32, 24), Philox(seed, 102).choose(24, d)
        v = torch.cat([F.adaptive_avg_pool2d(f1, G), F.interpolate(f2, (G, G), mode="bilinear")], 1)
        v = (v + F.interpolate(f3, (G, G), mode="bilinear")[:, layer3]).flatten(2).transpose(1, 2)
        for block in cait["blocks"]:
            v = block(v)
        v = v[:, :, channels].double().numpy()
        r = Philox(seed, 103)
        projection = np.array([r.normal() / np.sqrt(128) for _ in range(128 * 48)]).astype(np.float32).reshape(128, 48)
        rows = (e[:n].reshape(-1, 48) @ torch.from_numpy(projection).T).double().numpy()
    m = int(ratio * len(rows))
    chosen = [Philox(seed, 104).below(len(rows))]
    least = np.full(len(rows), np.inf)
    while len(chosen) < m:
        least = np.minimum(least, ((rows - rows[chosen[-1]]) ** 2).sum(1))
        least[chosen] = -1
        chosen.append(int(least.argmax()))
    bank = e[:n].reshape(-1, 48)[chosen].double().numpy()
    patches = e[n:].reshape(-1, 48).double().numpy()
    nns = np.sqrt(((patches[:, None] - bank[None]) ** 2).sum(2)).min(1).reshape(3, 8, 8)
    gauss = np.empty((3, G * G))
    for p in range(G * G):
        inverse = np.linalg.inv(np.cov(v[:n, p], rowvar=False, ddof=1) + lam * np.eye(d))
        z = v[n:, p] - v[:n, p].mean(0)
        gauss[:, p] = np.sqrt(np.einsum("nd,de,ne->n", z, inverse, z))
    from scipy.ndimage import gaussian_filter
    up = [F.interpolate(torch.from_numpy(q.reshape(3, 1, k, k)), (S, S), mode="bilinear").numpy()[:, 0] for q, k in ((nns, 8), (gauss, G))]
    fused = np.stack([gaussian_filter(a * b, 4, mode="nearest", truncate=4) for a, b in zip(*up)])
    save_file({"pictures": pictures.numpy(), "layer3_channels": np.array(layer3), "gaussian_channels": np.array(channels), "projection": projection,
               "origin": np.array([divmod(c, 64) for c in chosen], np.int32), "bank": bank.astype(np.float32),
               "mean": v[:n].mean(0).astype(np.float32), "nns": up[0].astype(np.float32), "gaussian": up[1].astype(np.float32),
               "fused": fused.astype(np.float32)}, HERE / "model.safetensors")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    metrics()
    gaussian()
    amc()
    model()
