#!/usr/bin/env python3
"""Real text for training runs, as JSON Lines {"text": ...}: the documentation that Debian installs (README and copyright files, manuals,
Perl's pod), without changelogs, cut at paragraphs into pieces of at most 1,600 bytes; no piece twice, in an order that the names give.

    tools/debian_text.py [MEGABYTES] [FOLDER ...] > text.jsonl
"""
import gzip, hashlib, json, os, re, sys

FOLDERS = ["/usr/share/doc", "/usr/share/perl", "/usr/share/common-licenses", "/usr/lib/python3.11"]
KEEP = re.compile(r"(README|NEWS|FAQ|TODO|copyright|\.txt|\.rst|\.md|\.pod|\.html?|GPL|LGPL|Apache|BSD|Artistic|\.py)[^/]*$")
DROP = re.compile(r"changelog|NEWS\.Debian|/test/|unicode|encodings")
PIECE = 1600


def files(folders):
    for folder in folders:
        for base, dirs, names in os.walk(folder):
            dirs.sort()
            for name in sorted(names):
                path = os.path.join(base, name)
                if KEEP.search(path) and not DROP.search(path) and not os.path.islink(path):
                    yield path


def text_of(path):
    try:
        raw = (gzip.open if path.endswith(".gz") else open)(path, "rb").read(1 << 20)
        return raw.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError):
        return ""


def pieces(text):
    piece = ""
    for paragraph in re.split(r"\n\s*\n", text):
        if piece and len(piece) + len(paragraph) > PIECE:
            yield piece
            piece = ""
        piece += ("\n\n" if piece else "") + paragraph[:PIECE]
    yield piece


def main():
    room = float(sys.argv[1]) * 1e6 if len(sys.argv) > 1 else 8e6
    seen = set()
    found = []
    for path in files(sys.argv[2:] or FOLDERS):
        for piece in pieces(text_of(path)):
            key = hashlib.sha256(piece.encode()).digest()
            if len(piece) >= 200 and key not in seen:
                seen.add(key)
                found.append((key, piece))
    found.sort()  # by hash: every kind of text from the start
    for _, piece in found:
        room -= len(piece.encode())
        if room < 0:
            break
        print(json.dumps({"text": piece}, ensure_ascii=False))


main()
