#!/bin/bash
# hone data from the outside. Fails when: an import, plan or export that worked from the library does not work from
# the command line; exit codes or messages lie; a real kill -9 leaves other rows than an undisturbed import; a second
# writer gets in; a full disk loses rows; the documented queries do not run.
set -u
H=${HONE:-$PWD/hone} docs=$PWD/docs
dir=$(mktemp -d /tmp/hone-e2e-XXXXXX)
trap 'rm -rf "$dir"' EXIT
export HONE_CACHE=$dir/cache
cd "$dir" || exit 1
fail() { echo "FAILED: $*"; exit 1; }
want() { # code, pattern, command...: exit code and a line of the output
    local code=$1 pattern=$2 got
    shift 2
    "$@" >out 2>&1 </dev/null
    got=$?
    [ "$got" = "$code" ] || { cat out; fail "exit code $got, not $code: $*"; }
    grep -qE -- "$pattern" out || { cat out; fail "no '$pattern' from: $*"; }
}
dump() { sqlite3 "$1" "SELECT * FROM sources; SELECT id, hex(hash), kind, prompt FROM items; SELECT item, hex(body) FROM bodies; SELECT * FROM source_rows;
    SELECT file, line, reason FROM bad_lines; SELECT id, rows, added, bad, done, bytes_done, lines_done FROM files"; }

cat >chat.jsonl <<'END'
{"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"hello\nwhat is 5 + 7?"},{"role":"assistant","content":"the answer is 12"}]}
{"instruction":"say hello","input":"","output":"hello"}
this is no row
{"prompt":"what is 1 + 1?","completion":"2"}
END
cat >gsm.jsonl <<'END'
{"question":"what is 5 + 7?","answer":"#### 12"}
{"question":"what is 2 + 2?","answer":"#### 4"}
END
printf '[{"text":"one"},\n {"text":"two"}]\n' >text.json

want 3 'chat.jsonl:3: not JSON' "$H" data import chat.jsonl gsm.jsonl text.json
want 0 'gsm.jsonl: source gsm: already imported' "$H" data import gsm.jsonl
want 0 'chat.*3.*chat.*1.*whole' "$H" data list
want 0 '^gsm.prompt.2.2.2' "$H" data stats
want 2 'unknown' "$H" data import chat.jsonl --fromat openai
want 2 "did you mean" "$H" data imprt
want 4 'cannot open' "$H" data import nowhere.jsonl
want 4 'cannot open store' "$H" data list --store nowhere.db
want 3 "did you mean 'gsm'" "$H" data export --sources gsn --kinds prompt

# a small vocabulary, then tokens and masks
want 0 "m: " "$H" tokenize train --out m --vocab 300 gsm.jsonl
want 0 '14 tokens|supervised' "$H" data show --row 1 --model m
grep -qE '^ +[0-9]+ +1 +answer +the answer is' out || { cat out; fail "the answer is not supervised"; }
grep -qE '^ +[0-9]+ +1 +end +<\|im_end\|>' out || { cat out; fail "the end of the turn is not supervised"; }
grep -qE '^ +[0-9]+ +\. +input +You are' out || { cat out; fail "the system message is not masked"; }
want 3 'no supervised token' "$H" data show --source gsm --row 1 --model m
want 0 'gold answer: #### 12' "$H" data show --source gsm --row 1 --model m --prompt
want 0 'epoch 1: .*digest' "$H" data plan --model m --sources chat,text --kinds chat,text --cap 128 --leaves 2 --epochs 2 --seed 3
first=$(grep epoch out)
want 0 '5 rows rendered before' "$H" data plan --model m --sources chat,text --kinds chat,text --cap 128 --leaves 2 --epochs 2 --seed 3
[ "$first" = "$(grep epoch out)" ] || fail "the same plan twice, two digests"
want 3 'chat.jsonl:1 .* has [0-9]+ tokens, more than 16' "$H" data plan --model m --sources chat --cap 16
want 0 '1 rows too long and dropped|rows too long' "$H" data plan --model m --sources chat --cap 32 --over-long drop
want 3 'gsm.jsonl:1 .*no supervised token' "$H" data plan --model m --sources gsm --kinds prompt --cap 128

# out and in again: the same items
want 0 'rows written' "$H" data export --sources chat,gsm --kinds chat,prompt --out all.jsonl
want 0 '0 new items, 5 known' "$H" data import all.jsonl
want 0 '"conversations":\[.*"from":"human"' "$H" data export --sources chat --format sharegpt
want 12 'is a chat; the format text holds text items' "$H" data export --sources chat --format text

# what docs/store.md shows runs
awk '/^```sql/ {on = 1; next} /^```/ {on = 0} on' "$docs/store.md" >queries.sql
[ "$(grep -c ';$' queries.sql)" -ge 8 ] || fail "no queries in docs/store.md"
sqlite3 -bail hone.db <queries.sql >/dev/null || fail "a query of docs/store.md does not run"

# kill -9 at real moments, then the same command again
awk 'BEGIN { srand(7); for (i = 0; i < 60000; i++) { if (i % 5000 == 77) print "{\"text\": broken"; s = ""; n = 5 + int(rand() * 40);
    for (k = 0; k < n; k++) s = s " word" int(rand() * 1000); printf "{\"prompt\":\"question %d\",\"completion\":\"%s\"}\n", i % 50000, s } }' >big.jsonl
"$H" data import big.jsonl --store whole.db --quiet >/dev/null 2>&1
dump whole.db >whole.txt
kills=0
for delay in 0.01 0.05 0.1 0.2 0.3 0.5; do
    rm -f killed.db*
    for again in 1 2 3; do
        "$H" data import big.jsonl --store killed.db --quiet >/dev/null 2>&1 &
        pid=$!
        sleep "$delay"
        kill -9 $pid 2>/dev/null && kills=$((kills + 1))
        wait $pid 2>/dev/null
    done
    "$H" data import big.jsonl --store killed.db --quiet >/dev/null 2>&1
    dump killed.db >killed.txt
    cmp -s whole.txt killed.txt || fail "killed after $delay s: other rows than an undisturbed import"
done
[ "$kills" -gt 3 ] || echo "skip: the import is too fast here to be killed"

# one writer; readers are welcome
rm -f busy.db*
"$H" data import big.jsonl --store busy.db --quiet >/dev/null 2>&1 &
pid=$!
while [ ! -e busy.db-wal ] && kill -0 $pid 2>/dev/null; do :; done
if kill -STOP $pid 2>/dev/null; then
    want 8 "'hone data import' \(process $pid" "$H" data import chat.jsonl --store busy.db
    kill -CONT $pid
fi
wait $pid
want 0 'big' "$H" data list --store busy.db

# a full disk: said, nothing lost, the same command goes on
want 4 'disk is full' env HONE_FAULT=sqlite:300+ "$H" data import big.jsonl --store full.db --quiet
"$H" data import big.jsonl --store full.db --quiet >/dev/null 2>&1
dump full.db >full.txt
cmp -s whole.txt full.txt || fail "other rows after a full disk"

# a store that cannot be written to: writing is refused, reading goes on
as_user=
if [ "$(id -u)" = 0 ]; then
    as_user="setpriv --reuid=65534 --regid=65534 --clear-groups"
    chmod 755 "$dir"
fi
cp "$H" hone
chmod 444 full.db
if $as_user true 2>/dev/null; then
    want 4 'for writing' $as_user ./hone data import chat.jsonl --store full.db
    want 0 'big' $as_user ./hone data list --store full.db
else
    echo "skip: cannot become another user"
fi
echo "data: ok, $kills kills"
