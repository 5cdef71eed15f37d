#!/usr/bin/env python3
"""anomalib's PatchCore or PaDiM on the same folder with the same ResNet-18, without a network.

    peer.py patchcore|padim DATA WEIGHTS [cpu|gpu]       last line: fit seconds, test seconds, peak bytes, image AUROC, pixel AUROC
"""
import os
import pathlib
import resource
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import timm
import torch
from safetensors.torch import load_file

method, data, weights = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
torch.set_num_threads(len(os.sched_getaffinity(0)))
backbone = next(f for f in (load_file(p) for p in sorted(weights.glob("*.safetensors"))) if "layer1.0.conv1.weight" in f)
make = timm.create_model


def make_from_file(name, pretrained=False, **options):
    net = make(name, pretrained=False, **options)
    net.load_state_dict(backbone, strict=False)
    return net


timm.create_model = make_from_file
import anomalib.models.components.feature_extractors.timm as extractor

extractor.timm.create_model = make_from_file
from anomalib.data import Folder
from anomalib.engine import Engine
from anomalib.models import Padim, Patchcore

types = sorted(p.name for p in (data / "test").iterdir() if p.name != "good")
pictures = Folder(name="bench", root=data, normal_dir="train/good", normal_test_dir="test/good", abnormal_dir=[f"test/{t}" for t in types],
                  mask_dir=[f"ground_truth/{t}" for t in types], train_batch_size=8, eval_batch_size=8, num_workers=0,
                  val_split_mode="same_as_test", test_split_mode="from_dir")
if method == "patchcore":
    model = Patchcore(backbone="resnet18", layers=["layer2", "layer3"], coreset_sampling_ratio=0.01,
                      pre_processor=Patchcore.configure_pre_processor(image_size=(256, 256)))
else:
    model = Padim(backbone="resnet18", layers=["layer1", "layer2", "layer3"],
                  pre_processor=Padim.configure_pre_processor(image_size=(256, 256)))
with tempfile.TemporaryDirectory() as folder:
    engine = Engine(accelerator=sys.argv[4] if len(sys.argv) > 4 else "cpu", devices=1, default_root_dir=folder, max_epochs=1, logger=False)
    begin = time.monotonic()
    engine.fit(model, datamodule=pictures)
    fitted = time.monotonic()
    figures = engine.test(model, datamodule=pictures)[0]
    print(fitted - begin, time.monotonic() - fitted, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
          figures["image_AUROC"], figures["pixel_AUROC"])
