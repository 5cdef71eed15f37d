#!/usr/bin/env python3
"""Makes tests/golden/pth: small PyTorch checkpoints in every format that core/nn/pth.c reads, what is in them as safetensors, and
hostile ones. Needs torch and safetensors; run by hand when a format is added, the files are committed."""

import io
import os
import pathlib
import pickle
import zipfile
from collections import OrderedDict

import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent / "pth"
generator = torch.Generator().manual_seed(7)


def tensors():
    base = torch.randn(4, 6, generator=generator)
    odd = OrderedDict()
    odd["conv1.weight"] = torch.randn(2, 3, 3, 3, generator=generator)
    odd["bn1.running_mean"] = torch.randn(5, generator=generator)
    odd["bn1.num_batches_tracked"] = torch.tensor(123456789012)
    odd["half"] = torch.randn(7, generator=generator).half()
    odd["bfloat16"] = torch.randn(3, 2, generator=generator).bfloat16()
    odd["double"] = torch.randn(3, generator=generator).double()
    odd["int32"] = torch.tensor([[1, -2], [3, -4]], dtype=torch.int32)
    odd["bytes"] = torch.tensor([0, 127, 255], dtype=torch.uint8)
    odd["bool"] = torch.tensor([True, False, True])
    odd["empty"] = torch.empty(0, 3)
    odd["transposed"] = base.t()
    odd["sliced"] = base[1:3, 2:5]
    odd["shared"] = base
    odd["parameter"] = torch.nn.Parameter(torch.randn(3, 1, generator=generator))
    odd._metadata = OrderedDict({"": {"version": 1}, "bn1": {"version": 2}})
    return odd


def saved(thing, **how):
    out = io.BytesIO()
    torch.save(thing, out, **how)
    return out.getvalue()


def rezipped(data, method, replace=None, drop=()):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", method) as new:
        for info in old.infolist():
            if info.filename.split("/", 1)[1] in drop:
                continue
            body = old.read(info)
            if replace and info.filename.endswith("/data.pkl"):
                body = replace
            new.writestr(zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0)), body, method)
    return out.getvalue()


class Runs:
    def __reduce__(self):
        return os.system, ("touch was-executed",)


def main():
    here.mkdir(exist_ok=True)
    state = tensors()
    save_file({name: t.detach().contiguous().clone() for name, t in state.items()}, here / "expected.safetensors")
    current = saved(state)
    nested = {"epoch": 3, "lr": 0.25, "note": None, "big": 1 << 40, "model": {"module." + k: v for k, v in state.items()}, "done": True}
    files = {
        "zip.pth": current,
        "plain.pth": saved(state, _use_new_zipfile_serialization=False),
        "nested.pth": saved(nested),
        "nested_plain.pth": saved(nested, _use_new_zipfile_serialization=False),
        "protocol4.pth": saved(state, pickle_protocol=4),
        "deflated.pth": rezipped(current, zipfile.ZIP_DEFLATED),
        "hostile.pth": rezipped(current, zipfile.ZIP_STORED, pickle.dumps({"x": Runs()}, protocol=2)),
        "hostile_plain.pth": saved({"x": Runs()}, _use_new_zipfile_serialization=False),
        "hostile_text.pth": rezipped(current, zipfile.ZIP_STORED, b"\x80\x02cos\nsystem\nX\x12\x00\x00\x00touch was-executed\x85R."),
        "instance.pth": rezipped(current, zipfile.ZIP_STORED, b"\x80\x02(S'touch was-executed'\nios\nsystem\n."),
        "lacks_storage.pth": rezipped(current, zipfile.ZIP_STORED, drop=("data/0",)),
        "list.pth": saved([torch.zeros(1)]),
        "none.pth": saved({"epoch": 1}),
    }
    for name, data in files.items():
        (here / name).write_bytes(data)


main()
