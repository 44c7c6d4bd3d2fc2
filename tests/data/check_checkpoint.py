#!/usr/bin/env python3
"""Check a checkpoint against docs/checkpoint_format.md, with h5py alone: check_checkpoint.py WRITE_EXAMPLE_FILES

The program given writes the example into the folder it is called with. Exits 77 (skipped) where h5py cannot be imported.
"""
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
SHAPES = {"/R1": (8, 8), "/R2": (2, 4, 4), "/momentum/R1": (8, 8), "/momentum/R2": (2, 4, 4)}
NUMBERS = {"version": 1, "hidden_size": 8, "num_layers": 2, "head_dim": 4, "has_momentum": 1, "step": 40,
           "next_sequence": 320, "seed": -7, "world_size": 3}
TEXTS = {"format": "spq-checkpoint", "config_yaml": "train:\n  steps: 100\n  name: \"\u00e9t\u00e9\"\n",
         "model_fingerprint": "a" * 64}


def check_seal(content):
    digest = hashlib.sha256(content[512:]).hexdigest()
    assert content[:512] == f"spq-checkpoint sha256 {digest}\n".encode().ljust(512, b"\0")


def attribute_digest(file):
    digest = hashlib.sha256()
    for path in sorted(["/", "/versions", *SHAPES]):
        for name in sorted(file[path].attrs):
            if (path, name) == ("/", "attributes_sha256"):
                continue
            value = file[path].attrs[name]
            kind = "string" if isinstance(value, str) else "int64"
            for part in (path, name, kind, str(value)):
                digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def check_content(file):
    for name, value in {**NUMBERS, **TEXTS}.items():
        assert file.attrs[name] == value, (name, file.attrs[name])
    assert set(file.attrs) == {*NUMBERS, *TEXTS, "attributes_sha256"}, sorted(file.attrs)
    assert dict(file["versions"].attrs) == {"hdf5": "1.10.8", "spq": "0.1.0", "torch": ""}
    for path, shape in SHAPES.items():
        dataset = file[path]
        assert dataset.shape == shape and dataset.dtype == "<f4" and dataset.fletcher32, path
        assert set(dataset.attrs) == {"sha256"}, path
        assert dataset.attrs["sha256"] == hashlib.sha256(dataset[()].tobytes()).hexdigest(), path
    assert file.attrs["attributes_sha256"] == attribute_digest(file)


def main():
    try:
        import h5py
    except (ImportError, OSError) as error:
        print(f"skipped: h5py cannot be imported ({error})")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1], folder], check=True)
        path = Path(folder) / "checkpoint-40.h5"
        check_seal(path.read_bytes())
        with h5py.File(path, "r") as file:
            assert file.userblock_size == 512
            check_content(file)
    print("the checkpoint is as documented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
