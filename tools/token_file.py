"""The program of tokenize.py: turn text into the HDF5 token file that the spq programs read.

    python3 tools/tokenize.py --tokenizer MODEL_DIR/tokenizer.json --text FILE [FILE...] --out tokens.h5

The token file (schema version 1) holds one dataset `tokens` (uint32, checksummed) and, as attributes of the
root: format, version, tokenizer_sha256, vocab_size, source, layout and bos (-1: none). It appears under its
name only when it is complete. Needs tokenizers, h5py and numpy.
"""
import argparse
import hashlib
import io
import os
import sys
from pathlib import Path

import h5py
import numpy as np
from tokenizers import Tokenizer

CHUNK = 65536


def fail(message):
    print(f"tokenize: {message}", file=sys.stderr)
    sys.exit(1)


def read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def read_tokenizer(path):
    """The tokenizer, never padding or truncating, and the sha256 of its file."""
    content = read(path)
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # tokenizers raises plain Exception
        fail(f"{path}: not a Hugging Face tokenizer.json ({error})")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, hashlib.sha256(content).hexdigest()


def read_text(path):
    try:
        return read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        fail(f"{path}: not UTF-8 at byte {error.start}")


def tokens_of(tokenizer, text, mode):
    """The token numbers of one text: as a whole, or line by line (each with its line end) without separators."""
    parts = list(io.StringIO(text, newline="\n")) if mode == "lines" else [text]
    encodings = tokenizer.encode_batch(parts, add_special_tokens=False)
    return np.concatenate([np.asarray(encoding.ids, dtype=np.uint32) for encoding in encodings])


def write(path, tokens, attributes):
    """Write beside the target, flush to disk, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w+b") as raw:
            with h5py.File(raw, "w") as file:
                file.attrs.update(attributes)
                file.create_dataset("tokens", data=tokens, chunks=(CHUNK,), maxshape=(None,), fletcher32=True,
                                    compression="gzip")
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
    except OSError as error:
        fail(f"{path}: cannot write ({error.strerror or error})")
    finally:
        temporary.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json of the model")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="UTF-8 text files, used in this order")
    parser.add_argument("--out", type=Path, required=True, help="token file to write")
    parser.add_argument("--mode", choices=("whole", "lines"), default="whole",
                        help="whole: each text at once, for evaluation (default); lines: every line by itself, "
                             "joined without separators, as SpinQuant prepares its training text")
    parser.add_argument("--bos", type=int, default=-1, metavar="ID",
                        help="put this token before the first one (default: none)")
    arguments = parser.parse_args()

    tokenizer, digest = read_tokenizer(arguments.tokenizer)
    vocab_size = tokenizer.get_vocab_size(with_added_tokens=True)
    if not -1 <= arguments.bos < vocab_size:
        fail(f"--bos {arguments.bos}: not a token of a vocabulary of {vocab_size}")
    texts = [read_text(path) for path in arguments.text]
    for path, text in zip(arguments.text, texts):
        if not text.strip():
            fail(f"{path}: empty text")
    parts = [tokens_of(tokenizer, text, arguments.mode) for text in texts]
    if arguments.bos >= 0:
        parts.insert(0, np.array([arguments.bos], dtype=np.uint32))
    tokens = np.concatenate(parts)
    write(arguments.out, tokens, {
        "format": "spq-tokens",
        "version": np.int64(1),
        "tokenizer_sha256": digest,
        "vocab_size": np.int64(vocab_size),
        "source": ", ".join(path.name for path in arguments.text),
        "layout": arguments.mode,
        "bos": np.int64(arguments.bos),
    })
    print(f"{arguments.out}: {len(tokens)} tokens, vocabulary {vocab_size}")


if __name__ == "__main__":
    main()
