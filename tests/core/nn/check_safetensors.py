#!/usr/bin/env python3
"""Opens with the stock library what our writer wrote. Argument: the test program, which writes the file with --write."""
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from safetensors import safe_open
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/ours.safetensors"
    subprocess.run([sys.argv[1], "--write", path], check=True)
    with safe_open(path, "np") as f:
        assert f.metadata() == {"profile": "small", "note": "ünï \"quoted\"\n"}, f.metadata()
        assert set(f.keys()) == {"wide", "f32", "scalar", "empty", "u8"}, f.keys()
        assert (f.get_tensor("wide") == np.array([-1, 2**40], np.int64)).all()
        assert (f.get_tensor("f32") == np.arange(6, dtype=np.float32).reshape(2, 3) / 2).all()
        assert f.get_tensor("scalar").shape == () and f.get_tensor("scalar") == 2.5
        assert f.get_tensor("empty").shape == (0, 3)
        assert (f.get_tensor("u8") == np.array([7, 8, 9], np.uint8)).all()
