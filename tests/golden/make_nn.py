#!/usr/bin/env python3
"""References for tests/core/nn: what torchvision's ResNets and timm's CaiTs compute with seeded weights, in double precision.

    python3 tests/golden/make_nn.py                 writes nn/networks.safetensors beside this script (every 61st value of each tensor)
    python3 tests/golden/make_nn.py --check PROGRAM compares every value with what PROGRAM (test_nn_networks) computes now
Needs numpy, safetensors, torch, torchvision and timm.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import timm
import torch
import torchvision
from safetensors.numpy import load_file, save_file

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "wide_resnet101_2")
CAITS = {"cait_xxs24": "cait_xxs24_224", "cait_xs24": "cait_xs24_384", "cait_s24": "cait_s24_224", "cait_m36": "cait_m36_384"}
BLOCKS, SIDE, TOKENS, STEP, BOUND = (1, 2, 11), 64, 49, 61, 1e-5


def seeded(name, mid, span, shape):
    """tests/support/seeded_weights.h has the formula."""
    s = 0xCBF29CE484222325
    for c in name.encode():
        s = ((s ^ c) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(s) + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    u = ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24) - np.float32(0.5)
    return torch.from_numpy((np.float32(mid) + np.float32(span) * u).reshape(shape))


def fill(module):
    for name, t in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        mid, span, fan_in = 0, 0.2, int(np.prod(t.shape[1:]))
        if t.ndim == 4:
            span = (24 / fan_in) ** 0.5
        elif t.ndim == 2:
            span = (12 / fan_in) ** 0.5
        elif name.endswith("running_var"):
            mid, span = 1, 0.5
        elif "gamma_" in name:
            mid = 0.3
        elif name.endswith("weight"):
            mid = 1
        t.copy_(seeded(name, mid, span, tuple(t.shape)))
    return module.double().eval()


def networks():
    """Name, function that makes the outputs in order."""
    for name in RESNETS:
        net = getattr(torchvision.models, name)(weights=None)
        del net.layer4, net.fc
        fill(net)
        x = seeded("input", 0, 4, (2, 3, SIDE, SIDE)).double()
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        for layer in (1, 2, 3):
            x = getattr(net, f"layer{layer}")(x)
            yield f"{name}.layer{layer}", x
    for name, timm_name in CAITS.items():
        net = timm.create_model(timm_name, pretrained=False)
        width = net.embed_dim
        blocks = torch.nn.Module()
        blocks.blocks = net.blocks[:max(BLOCKS)]
        fill(blocks)
        x = seeded("tokens", 0, 4, (2, TOKENS, width)).double()
        for n, block in enumerate(blocks.blocks, 1):
            x = block(x)
            if n in BLOCKS:
                yield f"{name}.blocks{n}", x


@torch.no_grad()
def check(program):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/ours.safetensors"
        subprocess.run([program, "--write", path], check=True)
        ours, worst = load_file(path), 0
        for name, want in networks():
            want = want.numpy()
            got = ours.pop(name).reshape(want.shape)
            error = np.abs(got - want).max() / np.abs(want).max()
            worst = max(worst, error)
            print(f"{name:28} {str(want.shape):22} max |a-b| / max |b| = {error:.2e}")
        assert not ours, f"not compared: {sorted(ours)}"
        print(f"worst {worst:.2e}, at most {BOUND:.0e} is allowed (torch {torch.__version__}, torchvision {torchvision.__version__}, "
              f"timm {timm.__version__}, double precision)")
        sys.exit(int(worst > BOUND))


@torch.no_grad()
def write():
    out = {}
    for name, x in networks():
        out[name] = x.flatten()[::STEP].float().numpy()
        out[f"{name}.max"] = np.array([x.abs().max()], np.float32)
    save_file(out, pathlib.Path(__file__).resolve().parent / "nn" / "networks.safetensors")


if __name__ == "__main__":
    (pathlib.Path(__file__).resolve().parent / "nn").mkdir(exist_ok=True)
    check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else write()
