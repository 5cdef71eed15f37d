#!/usr/bin/env python3
"""Whole checkpoints in the formats that torchvision and timm publish, written by torch now, converted by ours and compared bit for bit.

    check_checkpoints.py PATH_OF_test_nn_pth
"""
import pathlib
import subprocess
import sys
import tempfile

import timm
import torch
import torchvision
from safetensors.torch import load_file

torch.manual_seed(5)
models = {"resnet18": torchvision.models.resnet18().state_dict(), "wide_resnet50_2": torchvision.models.wide_resnet50_2().state_dict(),
          "cait_xxs24_224": timm.create_model("cait_xxs24_224").state_dict()}
forms = {"zip": lambda tensors, path: torch.save(tensors, path),
         "legacy": lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
         "as {'model': ...} of a training run": lambda tensors, path: torch.save({"model": tensors, "epoch": 299}, path)}
with tempfile.TemporaryDirectory() as folder:
    source, converted = pathlib.Path(folder) / "in.pth", pathlib.Path(folder) / "out.safetensors"
    for name, tensors in models.items():
        for form, save in forms.items():
            save(tensors, source)
            subprocess.run([sys.argv[1], "--convert", source, converted], check=True)
            got = load_file(converted)
            assert got.keys() == tensors.keys(), sorted(got.keys() ^ tensors.keys())[:5]
            for key, want in tensors.items():
                assert got[key].dtype == want.dtype and torch.equal(got[key], want), key
            print(f"{name}, {form}: {len(tensors)} tensors, {source.stat().st_size / 1e6:.0f} MB, the same bit for bit")
