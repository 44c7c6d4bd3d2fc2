"""The program of tokenize.py: turn text into the HDF5 token file that the spq programs read.

    python3 tools/tokenize.py --tokenizer MODEL_DIR/tokenizer.json --text FILE [FILE...] --out tokens.h5

Layouts. Each divides the files into pieces; the pieces are joined and tokenized at once, or with --mode lines tokenized
one by one, the tokens joined without separators:

    plain      Each file as it stands, tokenized by itself; the pieces are its lines, with their line ends.
    wikitext2  WikiText-2 (wiki.test.raw): the pieces are the rows of the Hugging Face data set, which are the lines with
               their line ends, blank lines being empty rows; joined by two line ends. For evaluation, and for calibration
               on the training text. With --mode lines: SpinQuant's training text.
    ptb        Penn Treebank: the pieces are the lines without surrounding blanks; joined by one blank. For evaluation
               (test text) and calibration (training text).
    c4         C4 (.json or .json.gz, one JSON object a line): the pieces are the values of "text" of the first
               --documents objects; joined by one blank. The published evaluation takes the first 1100 of
               c4-validation.00000-of-00008.json.gz and the first 256 windows of that (spq-eval: sequences: 256).
               The published calibration takes windows inside single documents of the training text;
               spq-ptq takes them anywhere in the joined text.

No layout adds BOS by itself: see --bos, and the key bos of spq-eval for BOS in front of every window.

The token file (schema version 1) holds one dataset `tokens` (uint32, checksummed) and, as attributes of the
root: format, version, tokenizer_sha256, vocab_size, source, layout and bos (-1: none). It appears under its
name only when it is complete. Needs tokenizers, h5py and numpy.
"""
import argparse
import hashlib
import os
import sys
from pathlib import Path

import h5py
import numpy as np
from tokenizers import Tokenizer

from text_layout import LAYOUTS, PUBLISHED_C4_DOCUMENTS, TextError, pieces_of

CHUNK = 65536


def fail(message):
    print(f"tokenize: {message}", file=sys.stderr)
    sys.exit(1)


def read_tokenizer(path):
    """The tokenizer, never padding or truncating, and the sha256 of its file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # tokenizers raises plain Exception
        fail(f"{path}: not a Hugging Face tokenizer.json ({error})")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, hashlib.sha256(content).hexdigest()


def tokens_of(tokenizer, texts):
    """The token numbers of each text, one after the other."""
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
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


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json of the model")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="UTF-8 text files, used in this order")
    parser.add_argument("--out", type=Path, required=True, help="token file to write")
    parser.add_argument("--layout", choices=tuple(LAYOUTS), default="plain", help="see above (default: plain)")
    parser.add_argument("--mode", choices=("whole", "lines"), default="whole",
                        help="whole: the joined text at once, for evaluation (default); lines: every piece by itself, "
                             "joined without separators, as SpinQuant prepares its training text")
    parser.add_argument("--documents", type=int, metavar="N",
                        help=f"layout c4: documents to use from the start (default: {PUBLISHED_C4_DOCUMENTS}; 0: all)")
    parser.add_argument("--bos", type=int, default=-1, metavar="ID",
                        help="put this token before the first one (default: none)")
    arguments = parser.parse_args()
    if arguments.documents is None:
        arguments.documents = PUBLISHED_C4_DOCUMENTS
    elif arguments.layout != "c4":
        fail(f"--documents is for --layout c4, not for {arguments.layout}")
    elif arguments.documents < 0:
        fail(f"--documents {arguments.documents}: expected 0 or more")
    return arguments


def texts_of(arguments):
    """What is tokenized by itself: the pieces, or whole texts."""
    texts = []
    try:
        files = pieces_of(arguments.text, arguments.layout, arguments.documents)
    except TextError as error:
        fail(error)
    for pieces in files:
        texts += pieces if arguments.mode == "lines" else [LAYOUTS[arguments.layout].separator.join(pieces)]
    return texts


def main():
    arguments = read_arguments()
    tokenizer, digest = read_tokenizer(arguments.tokenizer)
    vocab_size = tokenizer.get_vocab_size(with_added_tokens=True)
    if not -1 <= arguments.bos < vocab_size:
        fail(f"--bos {arguments.bos}: not a token of a vocabulary of {vocab_size}")
    tokens = tokens_of(tokenizer, texts_of(arguments))
    if arguments.bos >= 0:
        tokens = np.concatenate([np.array([arguments.bos], dtype=np.uint32), tokens])
    write(arguments.out, tokens, {
        "format": "spq-tokens",
        "version": np.int64(1),
        "tokenizer_sha256": digest,
        "vocab_size": np.int64(vocab_size),
        "source": ", ".join(path.name for path in arguments.text),
        "layout": arguments.mode if arguments.layout == "plain" else f"{arguments.layout}, {arguments.mode}",
        "bos": np.int64(arguments.bos),
    })
    print(f"{arguments.out}: {len(tokens)} tokens, vocabulary {vocab_size}")


if __name__ == "__main__":
    main()
