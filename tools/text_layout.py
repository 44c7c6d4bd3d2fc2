"""How text files are divided into pieces and joined again: the layouts of tokenize.py (its help describes them)."""
import gzip
import json
from dataclasses import dataclass
from itertools import islice
from typing import Callable

PUBLISHED_C4_DOCUMENTS = 1100


class TextError(Exception):
    """A text file that cannot be used; the message is one line that names it."""


def lines(path):
    """Lines with their ends. Only the line feed ends one: no character of the text is lost or changed."""
    open_text = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with open_text(path, "rb") as file:
            for number, line in enumerate(file, 1):
                yield line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"{path}:{number}: not UTF-8 at byte {error.start} of the line") from None
    except (OSError, EOFError) as error:
        raise TextError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def wikitext_rows(path):
    return (line if line.strip() else "" for line in lines(path))


def sentences(path):
    return (line.strip() for line in lines(path) if line.strip())


def documents(path):
    for number, line in enumerate(lines(path), 1):
        try:
            document = json.loads(line)
            text = document["text"] if isinstance(document, dict) else None
        except (json.JSONDecodeError, KeyError):
            text = None
        if not isinstance(text, str):
            raise TextError(f'{path}:{number}: expected a JSON object with a text under "text"')
        yield text


@dataclass(frozen=True)
class Layout:
    read: Callable  # path -> its pieces
    separator: str
    joins_files: bool = True  # False: each file is a text of its own


LAYOUTS = {
    "plain": Layout(lines, "", joins_files=False),
    "wikitext2": Layout(wikitext_rows, "\n\n"),
    "ptb": Layout(sentences, " "),
    "c4": Layout(documents, " "),
}


def pieces_of(paths, name, document_limit):
    """Lists of pieces, each list to be joined: one for each file, or one for all. Of c4 only the first
    `document_limit` pieces (0: all). TextError on a file that cannot be read or holds no text."""
    layout = LAYOUTS[name]
    left = document_limit if name == "c4" and document_limit > 0 else None
    files = []
    for path in paths:
        if left == 0:
            break
        pieces = list(islice(layout.read(path), left))
        if not any(piece.strip() for piece in pieces):
            raise TextError(f"{path}: empty text")
        left = None if left is None else left - len(pieces)
        files.append(pieces)
    return [[piece for pieces in files for piece in pieces]] if layout.joins_files else files
