# Every #include "folder/x.h" points at the same folder or a lower layer; headers other than a
# folder's own name are private to the folder (core's are all public).
FILENAME == "layers.txt" { if (/^#/ || !NF) next; lv++; for (i = 1; i <= NF; i++) L[$i] = lv; next }
FNR == 1 { split(FILENAME, p, "/"); me = p[1] }
/^[ \t]*#[ \t]*include[ \t]+"/ {
    split($0, q, "\""); n = split(q[2], r, "/"); dep = n > 1 ? r[1] : me
    if (dep == me) next
    if (q[2] ~ /^configs\/.*\.def$/) next # lists, which belong to no folder
    if (!(dep in L)) { printf "%s:%d: unknown folder %s\n", FILENAME, FNR, dep; bad = 1; next }
    if (L[dep] >= L[me]) { printf "%s:%d: %s may not include %s\n", FILENAME, FNR, me, dep; bad = 1 }
    if (dep != "core" && me != "tests" && me != "bench" && q[2] != dep "/" dep ".h") { printf "%s:%d: '%s' is private to %s/\n", FILENAME, FNR, q[2], dep; bad = 1 }
}
END { exit bad }
