"""spq-eval's loss is that of stock transformers on the same files, with and without BOS in front of each window.

Exits 77 (skipped) where torch or transformers cannot be imported.
"""
import math
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
try:
    import torch
    from transformers import AutoModelForCausalLM
except (ImportError, OSError) as reason:
    print(f"skipped: torch or transformers cannot be imported ({reason})")
    sys.exit(77)
import h5py

from spq_fixture import random_tokens, write_tokens, yaml_text
from spq_program import Run
from spq_ptq import perplexity

ROOT = Path(os.environ["SPQ_SOURCE_DIR"])
TINY = ROOT / "data/tiny-llama"
TOLERANCE = 1e-4  # of the loss, relative
# Model, its text (none: random tokens), length of a window.
CASES = [(TINY, TINY / "tokens-heldout.h5", 256), (ROOT / "tests/fixtures/llama3rope", None, 200),
         (ROOT / "tests/fixtures/tied", None, 48)]


def transformers_loss(folder, tokens, length, bos):
    """Mean next-token loss over whole windows that do not overlap; bos None: none."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    text = length if bos is None else length - 1
    windows = torch.from_numpy(tokens[:len(tokens) // text * text].astype("int64")).view(-1, text)
    if bos is not None:
        windows = torch.cat([torch.full((len(windows), 1), bos), windows], dim=1)
    losses = []
    with torch.no_grad():
        for ids in windows.split(8):
            log_p = model(input_ids=ids).logits[:, :-1].double().log_softmax(-1)
            losses.append(-log_p.gather(2, ids[:, 1:, None]).flatten())
    return torch.cat(losses).mean().item(), model.config.bos_token_id


def run(program, folder, settings, ranks=None):
    """The loss that a program reports for a configuration."""
    path = folder / f"{program}.yaml"
    path.write_text(yaml_text(settings))
    result = Run([path], ranks, program=program).wait()
    assert result.status == 0, result.describe()
    return math.log(perplexity(result))


def check(name, found, expected):
    error = abs(found - expected) / expected
    print(f"{name}: loss {found:.6f}, transformers {expected:.6f}, relative difference {error:.1e}", flush=True)
    assert error <= TOLERANCE, name


def check_model(model, text, length, folder):
    tokens_file = text or write_tokens(folder / "tokens.h5", random_tokens(1500, vocab=80), vocab=80)
    with h5py.File(tokens_file) as file:
        tokens = file["tokens"][:]
    settings = {"model": str(model), "tokens": str(tokens_file), "sequence_length": length, "micro_batch": 8,
                "rotate": {"r3": "identity", "r4": "identity"}, "compute": {"threads": 1}}
    expected, bos = transformers_loss(model, tokens, length, None)
    check(f"{model.name}, no BOS", run("spq-eval", folder, settings), expected)
    online = {"r3": "hadamard", "r4": "hadamard"}  # changes nothing where nothing is quantized
    check(f"{model.name}, no BOS, R3 and R4, 2 ranks", run("spq-eval", folder, settings | {"rotate": online}, 2), expected)
    with_bos, _ = transformers_loss(model, tokens, length, bos)
    assert abs(with_bos - expected) > 3 * TOLERANCE * expected, "BOS makes no difference: the check shows nothing"
    settings["bos"] = "each_window"
    check(f"{model.name}, BOS", run("spq-eval", folder, settings), with_bos)
    check(f"{model.name}, BOS given", run("spq-eval", folder, settings | {"bos_id": bos}, 2), with_bos)


def check_quantized(folder):
    """A model that spq-ptq rotated and rounded is an ordinary one where R3 and R4 are not online."""
    settings = {"model": str(TINY), "output_dir": str(folder / "quantized"), "weights": {"method": "rtn"},
                "rotate": {"r1": "hadamard", "r2": "hadamard", "r3": "identity", "r4": "identity"},
                "eval": {"tokens": str(TINY / "tokens-heldout.h5"), "sequence_length": 256, "micro_batch": 8},
                "compute": {"threads": 1}}
    found = run("spq-ptq", folder, settings, 2)
    with h5py.File(TINY / "tokens-heldout.h5") as file:
        expected, _ = transformers_loss(folder / "quantized", file["tokens"][:], 256, None)
    check("tiny-llama, rotated and rounded by spq-ptq", found, expected)


def main():
    for model, text, length in CASES:
        with tempfile.TemporaryDirectory(prefix="spq-e2e-") as folder:
            check_model(model, text, length, Path(folder))
    with tempfile.TemporaryDirectory(prefix="spq-e2e-") as folder:
        check_quantized(Path(folder))


if __name__ == "__main__":
    main()
