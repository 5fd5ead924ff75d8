#!/bin/bash
# hone template: catches answers out of order, lost ids, a bad row or template that stops the run, wrong exit codes.
set -eu
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
printf '%s' "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{{ strftime_now('%Y') }}" > "$d/t.jinja"
cat > "$d/rows" <<'EOF'
{"id":7,"messages":[{"role":"user","content":"é\u2028"},{"role":"assistant","content":"b"}]}
not json

{"id":{"a":"x"},"messages":[{"role":"user"}],"tools":[1]}
EOF
rc=0
"$HONE" template --template "$d/t.jinja" --now 2024-09-17T12:34:56 --mask all < "$d/rows" > "$d/out" || rc=$?
[ $rc -eq 1 ] || { echo "exit code $rc, want 1"; exit 1; }
cat > "$d/want" <<'EOF'
{"id":7,"text":"<user>é\u2028</s><assistant>b</s>2024","mask":[[0,1,0,"template",0,0],[1,5,0,"input",0,1],[5,6,0,"template",0,0],[6,11,0,"input",0,1],[11,15,0,"template",0,0],[15,16,0,"template",1,0],[16,25,0,"template",1,1],[25,26,0,"template",1,0],[26,27,1,"content",1,1],[27,31,1,"eot",1,0],[31,35,0,"template",-1,0]],"supervised":5}
{"id":null,"error":"row is not JSON at byte 0: a row is an object"}
{"id":{"a":"x"},"text":"<user></s>2024","mask":[[0,1,0,"template",0,0],[1,5,0,"input",0,1],[5,10,0,"template",0,0],[10,14,0,"template",-1,0]],"supervised":0}
EOF
diff "$d/want" "$d/out"
printf '{{ raise_exception("no") }}' > "$d/t.jinja"
echo '{"id":1,"messages":[]}' | "$HONE" template --template "$d/t.jinja" > "$d/out" && exit 1
grep -qx '{"id":1,"error":"t.jinja:1: no"}' "$d/out"
rc=0
"$HONE" template --template "$d/absent.jinja" < "$d/rows" 2> "$d/err" || rc=$?
[ $rc -eq 4 ] || { echo "exit code $rc for a missing file, want 4"; exit 1; }
rc=0
"$HONE" template < "$d/rows" 2> "$d/err" || rc=$?
[ $rc -eq 2 ] || { echo "exit code $rc without a template, want 2"; exit 1; }
