#!/bin/bash
# hone tokenize: train, encode, decode, explain, bad lines. Fails when answers lose their order or id, a bad line stops the run or goes
# unanswered, the exit code hides one, training depends on the order of its input, the shared cases differ.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HONE_CACHE=$tmp/cache
fail() { echo "FAILED: $*"; exit 1; }
for i in $(seq 1 300); do echo "{\"id\":$i,\"text\":\"Row $i says: naïve café №$((i * 7919 % 1000)), it's fine.\\n\"}"; done > "$tmp/rows.jsonl"
"$HONE" tokenize train --out "$tmp/a" --vocab 500 "$tmp/rows.jsonl" 2>/dev/null
sort -r "$tmp/rows.jsonl" | "$HONE" tokenize train --out "$tmp/b" --vocab 500 2>/dev/null
cmp "$tmp/a/tokenizer.json" "$tmp/b/tokenizer.json" || fail "training depends on the order of texts"
for threads in 1 3; do HONE_THREADS=$threads "$HONE" tokenize --model "$tmp/a" < "$tmp/rows.jsonl" > "$tmp/ids.$threads"; done
cmp "$tmp/ids.1" "$tmp/ids.3" || fail "threads change answers"
"$HONE" tokenize --model "$tmp/a" --decode < "$tmp/ids.1" > "$tmp/back"
python3 - "$tmp" <<'P' || fail "texts do not come back, or out of order"
import json, sys
a = [json.loads(x) for x in open(sys.argv[1] + "/rows.jsonl")]
b = [json.loads(x) for x in open(sys.argv[1] + "/back")]
sys.exit(a != b)
P
printf '%s\n' '{"id":1,"text":"a"}' 'not json' '{"id":2}' '{"id":3,"bytes_b64":"/w=="}' '{"id":4,"text":"\ud800"}' '' '{"id":5,"text":""}' > "$tmp/bad"
rc=0
"$HONE" tokenize --model "$tmp/a" < "$tmp/bad" > "$tmp/out" || rc=$?
[ $rc -eq 1 ] || fail "exit code $rc, not 1"
[ "$(wc -l < "$tmp/out")" -eq 6 ] || fail "not every line was answered"
[ "$(grep -c '"error":"stdin:[2-5]: ' "$tmp/out")" -eq 4 ] || fail "errors do not name their lines: $(cat "$tmp/out")"
grep -q '^{"id":5,"ids":\[\]}$' "$tmp/out" || fail "the line behind the bad ones"
printf 'a\xffb' | "$HONE" tokenize --model "$tmp/a" --explain > /dev/null 2>&1 && fail "invalid UTF-8 was explained"
printf 'one <|im_end|>' | "$HONE" tokenize --model "$tmp/a" --explain | grep -q 'added' || fail "explain"
"$HONE" tokenize --model "$tmp/none" < /dev/null 2> "$tmp/err" && fail "a missing folder was loaded"
grep -q "cannot open '$tmp/none" "$tmp/err" || fail "$(cat "$tmp/err")"
# a damaged cache is made anew
for f in "$tmp"/cache/*.bin; do printf 'xxxx' | dd of="$f" bs=1 seek=5000 conv=notrunc 2>/dev/null; done
"$HONE" tokenize --model "$tmp/a" < "$tmp/rows.jsonl" | cmp - "$tmp/ids.1" || fail "a damaged cache changed ids"
check=$HONE_CASES/../checks/check_tokens.py
[ -e "$check" ] || { echo "skip: no shared cases"; exit 0; }
c=$HONE_CASES
python3 "$check" --hone "$HONE" --tokenizers "$c/tokenizers" "$c/tok_decode_shared.jsonl" "$c/tok_offsets_shared.jsonl" "$c/tok_invalid_utf8_shared.jsonl" "$c/tok_shared.jsonl"
