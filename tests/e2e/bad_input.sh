# The failures to catch: bad input that is taken silently, stops without a clear line, ends with an undefined exit code or loses what was done.
. tests/e2e_lib.sh
small_world
import_all hone.db

expect() { # exit code, words of the message, command...
    want=$1 words=$2
    shift 2
    rc=0
    timeout 60 "$@" >out 2>err </dev/null || rc=$?
    [ $rc -eq "$want" ] || { cat err; fail "'$*' ended with $rc, not $want"; }
    line=$(grep '^hone: ' err | tail -1)
    echo "$line" | grep -qi -- "$words" || fail "'$*' says '$line', not '$words'"
}
sft() { echo "$hone sft sft.lua data.store=hone.db train.dir=run $*"; }

# configuration
# shellcheck disable=SC2046
expect 2 "did you mean 'train.lr'" $(sft train.lrr=1)
expect 2 "must be in" $(sft train.beta1=2)
expect 2 "power of two" $(sft train.leaves=3)
expect 2 "beta2 0.999 with train.moments=bf16" $(sft train.beta2=0.999 train.moments=bf16)
echo 'train = { lr = "fast" }' >bad.lua
expect 2 "bad.lua:1" "$hone" sft bad.lua
expect 2 "model.path" "$hone" sft train.dir=run
expect 4 "nowhere" "$hone" sft nowhere.lua

# the model folder
cp -r init broken
head -c 3000 init/model.safetensors >broken/model.safetensors
expect 3 "model.safetensors" $(sft model.path=broken)
rm -rf broken && cp -r init broken && sed -i 's/"intermediate_size": *64/"intermediate_size": 48/' broken/config.json
expect 3 "shape" $(sft model.path=broken)
rm -rf broken && cp -r init broken
python3 - <<'END'
import struct
b = bytearray(open("broken/model.safetensors", "rb").read())
n = struct.unpack("<Q", b[:8])[0]
b[8 + n + 400:8 + n + 404] = struct.pack("<f", float("nan"))
open("broken/model.safetensors", "wb").write(b)
END
expect 7 "nan" $(sft model.path=broken)
rm -rf broken && cp -r init broken && rm -f broken/chat_template.jinja
python3 - <<'END'
import json
c = json.load(open("broken/tokenizer_config.json"))
c.pop("chat_template", None)
json.dump(c, open("broken/tokenizer_config.json", "w"))
END
expect 3 "template" $(sft model.path=broken)
expect 4 "nowhere" $(sft model.path=nowhere)

# data
printf '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n{"messages":[{]\n' >bad.jsonl
expect 3 "bad.jsonl:2" "$hone" data import bad.jsonl --store hone.db --source bad
[ "$(sqlite3 hone.db "SELECT count(*) FROM rows WHERE source = 'bad'")" = 1 ] || fail "the good line of a bad file was lost"
expect 3 "did you mean 'sft'" $(sft data.sources=sftt)

# disk full, at a write of the checkpoint: the run says which one is good, and goes on from it
rm -rf run
expect 4 "no space" env HONE_FAULT=write:9+ $(sft)
"$hone" sft sft.lua data.store=hone.db train.dir=run --resume 2>err || { cat err; fail "no resume after a full disk"; }
"$hone" sft sft.lua data.store=hone.db train.dir=other 2>/dev/null
[ "$(digest run)" = "$(digest other)" ] || fail "the run after a full disk ends elsewhere"
expect 2 "holds a checkpoint already" $(sft)
expect 2 "train.lr" "$hone" sft sft.lua data.store=hone.db train.dir=run train.lr=1e-4 --resume

# two processes on one store, one on a run folder
"$hone" sft sft.lua data.store=hone.db train.dir=long train.steps=100000 2>/dev/null &
pid=$!
sleep 1
expect 8 "in use\|busy\|locked\|process" "$hone" sft sft.lua data.store=hone.db train.dir=second
sqlite3 hone.db 'SELECT count(*) FROM steps' >/dev/null || fail "a reader is blocked"

# Ctrl-C: the step is finished and saved; then the run goes on
kill -INT $pid
rc=0
wait $pid || rc=$?
[ $rc -eq 130 ] || fail "Ctrl-C ended with $rc"
"$hone" ckpt show long >/dev/null || fail "no checkpoint after Ctrl-C"
[ "$(sqlite3 hone.db "SELECT status FROM runs WHERE name = 'long'")" = stopped ] || fail "the run is not marked as stopped"
# twice: at once
"$hone" sft sft.lua data.store=hone.db train.dir=long train.steps=100000 --resume 2>/dev/null &
pid=$!
sleep 1
kill -INT $pid
kill -INT $pid 2>/dev/null || true
rc=0
wait $pid || rc=$?
[ $rc -eq 130 ] || fail "Ctrl-C twice ended with $rc"

# a store that cannot be written
if [ "$(id -u)" -ne 0 ]; then
    chmod 444 hone.db
    expect 4 "hone.db" $(sft train.dir=third)
    chmod 644 hone.db
fi
head -c 100 /dev/urandom >junk.db
expect 10 "junk.db" "$hone" sft sft.lua data.store=junk.db train.dir=fourth
echo "every failure is named"
