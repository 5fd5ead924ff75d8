#!/usr/bin/env python3
"""Ids, offsets and decoded text of `hone tokenize` against the tokenizers library, over many small tokenizer.json files (one
setting each) and random texts made of awkward characters.

    pip install tokenizers==0.23.3
    python3 tools/parity/tokenizers_parity.py --hone ./hone [--seed 1] [--texts 400] [--model DIR ...]

--model adds real tokenizer folders. Exit code 1 when anything differs.
"""
import argparse, json, os, random, subprocess, sys, tempfile
from tokenizers import Tokenizer

ap = argparse.ArgumentParser()
ap.add_argument("--hone", default="./hone")
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--texts", type=int, default=400)
ap.add_argument("--only", default="")
ap.add_argument("--model", action="append", default=[])
a = ap.parse_args()
rnd = random.Random(a.seed)
os.environ["HONE_CACHE"] = ""
tmp = tempfile.mkdtemp(prefix="hone-parity-")

POOL = [
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJ", "0123456789", " \t\n\r", "  \n\n\r\n", "'s't'RE'Ve'm'LL'd'S", ".,;:!?-_()[]{}<>/\\|@#$%^&*+=~`\"'",
    "éèüößñçÅø", "ſKıİ", "日本語中文漢字々〆", "ひらがなカタカナー", "한국어조선", "русскийТЕКСТ", "ελληνικά", "עברית", "العربية٠١٢٣", "हिन्दी१२३",
    "ไทย", "²³½①Ⅷ४", "\u00a0\u2003\u3000\u200b\ufeff\u2028\u0085\x1c\x0b\x0c\u180e", "🙂👍🏽👩‍👩‍👧🇩🇪", "e\u0301a\u0323\u0308\u0344\u1161\u11a8\u1100", "ŉﬁǅʰ", "\u0300\u0301\u0327\u0345",
    "𝔘𝟘𠀀𐐀", "\ue000\U000f0000\u0378", "ꙮⰀꭰᏣ", "\u1c89\ua7cb", "𞤀𑄶", "\x00\x01\x7f", "０１Ａｂ", "‘’“”«»…—·", "€£¥₿∑√≠⊂", "▁▁ Ġ Ċ", "<x><|y|>< x >the Thé",
]


def text():
    out = []
    for _ in range(rnd.randint(0, 14)):
        pool = rnd.choice(POOL)
        k = rnd.random()
        if k < 0.25:
            out.append(pool)
        elif k < 0.4:
            out.append(rnd.choice(pool) * rnd.randint(1, 12))
        else:
            out.append("".join(rnd.choice(pool) for _ in range(rnd.randint(1, 6))))
        if rnd.random() < 0.3:
            out.append(rnd.choice([" ", "\n", "  ", "'s ", "123", "a"]))
    return "".join(out)


TEXTS = ["", " ", "a", "  a  b ", "<x> a <x>", "▁a▁b", "\n"] + [text() for _ in range(a.texts)]
CORPUS = [t for t in TEXTS if "\x00" not in t] + ["the quick brown fox isn't here; it's 12345 km away.\n  def f(x): return x+1\n"] * 3

with open(tmp + "/c.jsonl", "w") as f:
    for t in CORPUS:
        f.write(json.dumps({"text": t}) + "\n")
subprocess.run([a.hone, "tokenize", "train", "--out", tmp + "/base", "--vocab", "900", "--pattern", "gpt2", tmp + "/c.jsonl"], check=True, stderr=subprocess.DEVNULL)
BASE = json.load(open(tmp + "/base/tokenizer.json"))
BASE["added_tokens"] = []
BL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
REGEX = lambda r, b="Isolated", inv=False: {"type": "Split", "pattern": {"Regex": r}, "behavior": b, "invert": inv}
SEQ = lambda *p: {"type": "Sequence", "pretokenizers": list(p)}
CL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UP, LO, CO = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200 = rf"[^\r\n\p{{L}}\p{{N}}]?[{UP}]*[{LO}]+{CO}|[^\r\n\p{{L}}\p{{N}}]?[{UP}]+[{LO}]*{CO}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HAN = "&&[^\\p{Han}]"
KIMI = "[\\p{Han}]+|" + O200.replace(UP, UP + HAN).replace(LO, LO + HAN).replace(r"[\r\n/]*", r"[\r\n]*")
Q35 = CL.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"\p{N}{1,3}", r"\p{N}").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
DS3 = SEQ(REGEX(r"\p{N}{1,3}"), REGEX("[一-龥぀-ゟ゠-ヿ]+"),
          REGEX("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), BL)
DSLLM = SEQ(REGEX("[\r\n]"), REGEX("\\s?\\p{L}+"), REGEX("\\s?\\p{P}+"), REGEX("[一-龥ࠀ-一가-퟿]+"), {"type": "Digits", "individual_digits": True}, BL)
TOK = lambda c, **k: {"id": 0, "content": c, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **k}
ADDED = [TOK("<x>"), TOK("<x><|y|>", special=True), TOK("<|y|>", lstrip=True, special=True), TOK("the", single_word=True, normalized=True), TOK("  "), TOK("\n\n", rstrip=True),
         TOK("é", normalized=True), TOK("Thé", normalized=True, rstrip=True), TOK("12"), TOK("中文", lstrip=True, rstrip=True)]
BYTE = {
    "gpt2": {**BL, "use_regex": True}, "prefix-space": {**BL, "use_regex": True, "add_prefix_space": True}, "no-regex": BL,
    "digits-one": SEQ({"type": "Digits", "individual_digits": True}, {**BL, "use_regex": True}),
    "digits-run": SEQ({"type": "Digits", "individual_digits": False}, {**BL, "use_regex": True, "add_prefix_space": True}),
    "cl100k": SEQ(REGEX(CL), BL), "cl100k-inv": SEQ(REGEX(CL, "Removed", True), BL), "o200k": SEQ(REGEX(O200), BL), "kimi": SEQ(REGEX(KIMI), BL), "qwen3.5": SEQ(REGEX(Q35), BL),
    "qwen2": SEQ(REGEX(CL.replace(r"\p{N}{1,3}", r"\p{N}")), BL), "tekken": SEQ(REGEX(O200.replace(CO, "").replace(r"\p{N}{1,3}", r"\p{N}")), BL), "ds3": DS3, "dsllm": DSLLM,
    "falcon": SEQ({"type": "Punctuation", "behavior": "Contiguous"}, {**BL, "use_regex": True}, {"type": "Digits", "individual_digits": False}, REGEX("[0-9][0-9][0-9]")),
    "punct": SEQ({"type": "Punctuation", "behavior": "Isolated"}, BL), "whitespace": SEQ({"type": "Whitespace"}, BL), "ws-split": SEQ({"type": "WhitespaceSplit"}, BL),
    "bytes-then-regex": SEQ({**BL, "use_regex": True}, REGEX(r"\p{L}+"), {"type": "Digits", "individual_digits": True}),
    "delimiter": SEQ({"type": "CharDelimiterSplit", "delimiter": "a"}, BL),
    "anchors": SEQ(REGEX(r"^\s+|\s+$|\w+|."), BL), "boundary": SEQ(REGEX(r"\b\w+\b|\B.\B"), BL), "lookbehind": SEQ(REGEX(r"(?<=a)b+|(?<![a-z])\d+"), BL), "empty": SEQ(REGEX(r"x*"), BL),
    "posix": SEQ(REGEX(r"[[:space:]a-c]+|[^[:digit:]\p{Lu}[:punct:]]"), BL), "script": SEQ(REGEX(r"\p{Hiragana}+|\p{Latin}+|\p{^Han}"), BL), "fold": SEQ(REGEX(r"(?i:k|straße|ſ|[x-z]|\p{Lu})+"), BL),
    "lazy": SEQ(REGEX(r"a.*?b|\s+?|\p{N}{2,3}+|\p{L}++|[^\W\d]+"), BL), "classes": SEQ(REGEX(r"[\p{L}&&[^a-m]]+|[^\s&&[^\n]]|\h+"), BL), "possessive": SEQ(REGEX(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s+"), BL),
}
for b in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
    for inv in (False, True):
        BYTE[f"split-{b}-{inv}"] = SEQ(REGEX(r"[\s.,!?]", b, inv), BL)
    BYTE[f"string-{b}"] = SEQ({"type": "Split", "pattern": {"String": " "}, "behavior": b, "invert": False}, BL)
    BYTE[f"punct-{b}"] = SEQ({"type": "Punctuation", "behavior": b}, BL)
    BYTE[f"empty-{b}"] = SEQ(REGEX(r"x*|\s*", b), BL)
N = lambda *n: {"type": "Sequence", "normalizers": list(n)}
NORM = {
    "nfc": {"type": "NFC"}, "nfd": {"type": "NFD"}, "nfkc": {"type": "NFKC"}, "nfkd": {"type": "NFKD"}, "lower-nfc": N({"type": "Lowercase"}, {"type": "NFC"}),
    "strip": N({"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Prepend", "prepend": " "}), "strip-right": {"type": "Strip", "strip_left": False, "strip_right": True},
    "replace": {"type": "Replace", "pattern": {"String": "a"}, "content": "bc"}, "replace-re": {"type": "Replace", "pattern": {"Regex": r"\s+|a+"}, "content": "_é"},
    "replace-gone": {"type": "Replace", "pattern": {"Regex": r"[b-d]"}, "content": ""}, "prepend-long": {"type": "Prepend", "prepend": "x▁y"},
}
MS = lambda scheme, split=True: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
TP = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
      "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}}


def char_model(suffix="", byte_tokens=True, **kw):
    v = {"<unk>": 0, "<s>": 1, "</s>": 2}
    add = lambda s: v.setdefault(s, len(v))
    if byte_tokens:
        for i in range(256):
            add(f"<0x{i:02X}>")
    chars = list("▁abcdefghijklmnopqrstuvwxyz .,'0123456789\nABCéü日本語中文")
    for c in chars:
        add(c)
        if suffix:
            add(c + suffix)
    merges, r = [], random.Random(7)
    toks = [c for c in chars if c not in " \n"]
    for _ in range(600):
        x, y = r.choice(toks), r.choice(toks + [c + suffix for c in chars[:20]] if suffix else toks)
        if len(x + y) < 9 and not (suffix and x.endswith(suffix)) and (x, y) not in merges:
            merges.append((x, y))
            add(x + y)
            toks.append(x + y)
    for w in ("the", "▁the", "abc"):
        for i in range(1, len(w)):
            if (w[:i], w[i]) not in merges:
                merges.append((w[:i], w[i]))
                add(w[:i + 1])
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": suffix or None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": v, "merges": [f"{x} {y}" for x, y in merges if " " not in x + y], **kw}


SPM = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
DEC = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
ALL = {}


def put(name, **kw):
    d = json.loads(json.dumps(BASE))
    d.update({"normalizer": None, "post_processor": None, **kw})
    ALL[name] = d


for k, p in BYTE.items():
    put(k, pre_tokenizer=p)
    put(k + "+added", pre_tokenizer=p, added_tokens=ADDED)
for k, n in NORM.items():
    put(k, normalizer=n, pre_tokenizer=BYTE["cl100k"])
    put(k + "+added", normalizer=n, pre_tokenizer=BYTE["gpt2"], added_tokens=ADDED)
for trim in (False, True):
    for pre in (False, True):
        put(f"trim-{trim}-{pre}", pre_tokenizer=BYTE["prefix-space"] if pre else BYTE["gpt2"], added_tokens=ADDED,
            post_processor={"type": "ByteLevel", "add_prefix_space": pre, "trim_offsets": trim, "use_regex": True})
put("ignore-merges", pre_tokenizer=BYTE["cl100k"], model={**BASE["model"], "ignore_merges": True, "merges": BASE["model"]["merges"][::2] and [m for i, m in enumerate(BASE["model"]["merges"]) if i % 3]})
put("roberta", pre_tokenizer=BYTE["gpt2"], post_processor={"type": "RobertaProcessing", "sep": ["b", 5], "cls": ["a", 6], "trim_offsets": True, "add_prefix_space": False})
put("spm", normalizer=SPM, pre_tokenizer=None, decoder=DEC, post_processor=TP, model=char_model(unk_token="<unk>", fuse_unk=True, byte_fallback=True), added_tokens=ADDED)
for fuse in (False, True):
    put(f"unk-{fuse}", normalizer=SPM, pre_tokenizer=None, decoder=DEC, model=char_model(byte_tokens=False, unk_token="<unk>", fuse_unk=fuse))
put("no-unk", normalizer=SPM, pre_tokenizer=None, decoder=DEC, model=char_model(byte_tokens=False))
part = char_model(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
for i in range(0x90, 0xA0):
    part["vocab"][f"<removed{i}>"] = part["vocab"].pop(f"<0x{i:02X}>")
put("bytes-missing", normalizer=SPM, pre_tokenizer=None, decoder=DEC, model=part)
put("gemma", normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
    decoder={"type": "Sequence", "decoders": DEC["decoders"][:3]}, model=char_model(unk_token="<unk>", fuse_unk=True, byte_fallback=True), post_processor=TP)
for scheme in ("always", "first", "never"):
    for split in (False, True):
        put(f"metaspace-{scheme}-{split}", pre_tokenizer=MS(scheme, split), decoder=MS(scheme, split), model=char_model(unk_token="<unk>"), added_tokens=ADDED)
put("suffix", pre_tokenizer={"type": "WhitespaceSplit"}, decoder={"type": "BPEDecoder", "suffix": "</w>"}, model=char_model(suffix="</w>", unk_token="<unk>"), normalizer=N({"type": "NFC"}, {"type": "Lowercase"}))
put("no-decoder", pre_tokenizer={"type": "Whitespace"}, decoder=None, model=char_model(unk_token="<unk>"))
put("wordpiece-decoder", pre_tokenizer={"type": "Whitespace"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}, model=char_model(unk_token="<unk>"))
put("prefix", pre_tokenizer={"type": "Whitespace"}, model={**char_model(unk_token="<unk>"), "continuing_subword_prefix": "##",
    "vocab": {"<unk>": 0, "a": 1, "##b": 2, "##a": 3, "ab": 4, "##ab": 5, "aba": 6}, "merges": ["a ##b", "##a ##b", "ab ##a"]})
put("strip-tokens", pre_tokenizer=None, decoder={"type": "Strip", "content": "a", "start": 1, "stop": 2}, model=char_model(unk_token="<unk>"))
put("strip-end", pre_tokenizer=None, decoder={"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 2, "stop": 3}]}, model=char_model(unk_token="<unk>"))


def hone(args, rows):
    text = "".join(json.dumps({"id": i, **r}) + "\n" for i, r in enumerate(rows))
    p = subprocess.run([a.hone, "tokenize"] + args, input=text.encode(), stdout=subprocess.PIPE)
    return [json.loads(x) for x in p.stdout.decode().split("\n") if x]


def compare(name, path):
    ref = Tokenizer.from_file(os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path)
    bad, shown = 0, 0
    enc = [ref.encode(t, add_special_tokens=True) for t in TEXTS]
    got = hone(["--model", path, "--add-special", "--offsets"], [{"text": t} for t in TEXTS])
    if len(got) != len(TEXTS):
        print(f"{name}: no answers")
        return 1
    ids = [e.ids for e in enc]
    ids += [[rnd.randrange(ref.get_vocab_size()) for _ in range(rnd.randint(0, 20))] for _ in range(100)]
    dec = hone(["--model", path, "--decode", "--skip-special"], [{"ids": i} for i in ids])
    for t, e, g in zip(TEXTS, enc, got):
        at = [0]
        for c in t:
            at.append(at[-1] + len(c.encode()))
        want = [[at[x], at[y]] for x, y in e.offsets]
        if g.get("ids") != e.ids or g["offsets"] != want:
            bad += 1
            if shown < 2:
                shown += 1
                k = next((i for i in range(len(e.ids)) if i >= len(g.get("ids", [])) or g["ids"][i] != e.ids[i] or g["offsets"][i] != want[i]), len(e.ids))
                print(f"  {name}: {t!r:.150} at {k}: want {e.ids[k:k+6]} {want[k:k+4]} {e.tokens[k:k+4]} got {g.get('ids', g)[k:k+6]} {g.get('offsets', [])[k:k+4]}")
    for i, g in zip(ids, dec):
        try:
            want = ref.decode(i, skip_special_tokens=True)
        except BaseException:  # the reference panics on a Strip of a token that is all content
            continue
        if g.get("text") != want:
            bad += 1
            if shown < 4:
                shown += 1
                print(f"  {name} decode: {i} want {want!r:.100} got {g.get('text', g)!r:.100}")
    return bad


total = wrong = 0
for name, d in ALL.items():
    if a.only not in name:
        continue
    path = f"{tmp}/one.json"
    json.dump(d, open(path, "w"))
    try:
        Tokenizer.from_file(path)
    except Exception as x:
        print(f"  {name}: the reference refuses it: {x}")
        continue
    bad = compare(name, path)
    wrong += bad
    total += 2 * len(TEXTS) + 100
for path in a.model:
    wrong += compare(os.path.basename(path.rstrip("/")), path)
    total += 2 * len(TEXTS) + 100
print(f"{total} comparisons, {wrong} differ")
sys.exit(1 if wrong or not total else 0)
