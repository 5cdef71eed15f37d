#!/usr/bin/env python3
"""Writes tests/golden/sample_weights.txt: name, shape and standard deviation (0 for constants: then the constant) of every tensor that the
sample's networks must hold, as torchvision and timm build them. Needs torch, torchvision, timm."""
import pathlib
import timm
import torch
import torchvision

torch.manual_seed(0)
lines = []


def add(file, name, t, spread):
    shape = "x".join(map(str, t.shape))
    lines.append(f"{file} {name} {shape} {spread:.6g} {t.float().mean().item() if spread == 0 else 0:.6g}")


for name, t in torchvision.models.resnet18(weights=None).state_dict().items():
    if name.startswith(("fc", "layer4")) or name.endswith("num_batches_tracked"):
        continue
    conv = t.dim() == 4
    add("backbone", name, t, (2 / (t.shape[0] * t.shape[2] * t.shape[3])) ** .5 if conv else 0)
    assert not conv or abs(t.std().item() * (t.shape[0] * t.shape[2] * t.shape[3] / 2) ** .5 - 1) < .05, name
for name, t in timm.create_model("cait_xxs24_224", pretrained=False).state_dict().items():
    if name.startswith("blocks.") and int(name.split(".")[1]) < 11:
        add("transformer", name, t, .02 if t.dim() == 2 else 0)
(pathlib.Path(__file__).parent / "sample_weights.txt").write_text("\n".join(lines) + "\n")
