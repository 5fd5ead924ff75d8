# The failure to catch: a run that does not say which commit its recipe came from, or says "unchanged" of a changed one.
. tests/e2e_lib.sh
command -v git >/dev/null || { echo "skip: no git program here"; exit 77; }
small_world
import_all hone.db
export GIT_CEILING_DIRECTORIES=/tmp
git init -q . && git add sft.lua && git -c user.name=t -c user.email=t@t commit -qm one || fail "git"
head=$(git rev-parse HEAD)
"$hone" sft sft.lua data.store=hone.db train.dir=a train.steps=3 2>log || { cat log; fail "sft"; }
echo "-- changed" >>sft.lua
"$hone" sft sft.lua data.store=hone.db train.dir=b train.steps=3 2>log || { cat log; fail "sft"; }
[ "$(sqlite3 hone.db 'SELECT provenance FROM runs ORDER BY id')" = "$head
$head with changes" ] || { sqlite3 hone.db 'SELECT id, provenance FROM runs'; fail "the runs' commits"; }
echo "provenance: ok"
