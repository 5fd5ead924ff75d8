# The failures to catch: a hook that is not asked, sees other figures than the store has, cannot end a run, is forgotten by a resume, loses the
# run when it fails, or hangs it.
. tests/e2e_lib.sh
small_world
import_all hone.db
value() { sqlite3 hone.db "SELECT $1"; }

# a running mean carried through the hook's own metrics; the run ends when it has fallen far enough
cat >stop.lua <<'LUA'
function step(now, before)
    local last = before[#before]
    local mean = last and 0.5 * last["hook.mean"] + 0.5 * now.loss or now.loss
    local answer = { metrics = { mean = mean, seen = #before }, save = now.step == 3 }
    if now.step == 7 then answer.stop = "mean " .. string.format("%.3f", mean) end
    return answer
end
LUA
"$hone" sft sft.lua data.store=hone.db train.dir=run hook.lua=stop.lua hook.history=4 2>err || { cat err; fail "sft with a hook"; }
grep -q "step 7: the run ends here: mean " err || fail "no line says why the run ended"
[ "$(value "count(*) FROM steps")" = 7 ] || fail "the run did not end behind step 7"
[ "$(value "status FROM runs")" = "done" ] || fail "a run that its hook ended is not done"
[ "$(value "detail FROM events WHERE name = 'hook_stop'")" != "" ] || fail "the store has no event for the end"
[ "$(value "group_concat(CAST(value AS INT)) FROM (SELECT value FROM metrics WHERE name = 'hook.seen' ORDER BY step)")" = "0,1,2,3,4,4,4" ] || fail "wrong history"
awk_mean=$(sqlite3 hone.db "SELECT value FROM metrics WHERE name = 'loss' ORDER BY step" | awk '{ m = NR == 1 ? $1 : 0.5 * m + 0.5 * $1 } END { printf "%.9f", m }')
[ "$(value "printf('%.9f', value) FROM metrics WHERE name = 'hook.mean' AND step = 7")" = "$awk_mean" ] || fail "the hook saw another loss than the store"
ls run | grep -q 7 || fail "no checkpoint behind the last step"
ls run | grep -q 4 || fail "no checkpoint of train.save_every"

# it stays ended, and goes on without the hook
before=$(digest run)
"$hone" sft sft.lua data.store=hone.db train.dir=run hook.lua=stop.lua hook.history=4 --resume 2>err || { cat err; fail "resume"; }
[ "$(digest run)" = "$before" ] || fail "a resume went on behind the hook's end"
[ "$(value "count(*) FROM metrics WHERE name = 'hook.seen' AND step = 7")" = 1 ] || fail "the resume stored the hook's figures again"
"$hone" sft sft.lua data.store=hone.db train.dir=run --resume 2>err || { cat err; fail "resume without the hook"; }
[ "$(value "max(step) FROM steps")" = 24 ] || fail "the run did not go on without the hook"

# a hook that fails, hangs or eats memory: one line, and the run goes on from its checkpoint
fails() { # words, exit code
    rm -rf run2
    rc=0
    timeout 60 "$hone" sft sft.lua data.store=hone.db train.dir=run2 hook.lua=bad.lua hook.instructions=1000000 hook.memory_mb=2 2>err || rc=$?
    [ $rc -eq "$2" ] || { cat err; fail "'$1': exit code $rc, not $2"; }
    grep '^hone: ' err | grep -q "$1" || { cat err; fail "no line says '$1'"; }
}
echo 'function step(now) if now.step == 2 then local x = now.none.x end end' >bad.lua
fails "bad.lua:1" 3
ls run2 | grep -q 2 || fail "the failed hook cost the step's checkpoint"
"$hone" sft sft.lua data.store=hone.db train.dir=run2 train.steps=24 --resume 2>err || { cat err; fail "resume behind a failed hook"; }
[ "$(digest run2)" = "$(digest run)" ] || fail "the run behind a failed hook is not the same run"
echo 'function step(now) while true do end end' >bad.lua
fails "instruction" 9
echo 'function step(now) local t = {} for i = 1, 1e9 do t[i] = i .. "" end end' >bad.lua
fails "memory" 9
echo 'function step(now) return { stopp = true } end' >bad.lua
fails "stopp" 3
echo 'function stepp(now) end' >bad.lua
fails "defines no global function step" 2

# GRPO: the evaluation of the step is in its row, and the last one is made when the hook ends the run
mkdir a && cp -r run a/sft
cat >grpo_stop.lua <<'LUA'
function step(now, before)
    if now.step == 4 and not (now.eval and now.eval["pass@1"]) then error("no evaluation at step 4") end
    return { stop = now.step == 5 and "enough" }
end
LUA
"$hone" grpo grpo.lua data.store=hone.db train.dir=a/grpo hook.lua=grpo_stop.lua 2>err || { cat err; fail "grpo with a hook"; }
[ "$(value "max(step) FROM evals")" = 5 ] || fail "no evaluation behind the last step"
echo "hook: ends a run, survives a resume, costs nothing when it fails"
