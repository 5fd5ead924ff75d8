# Functions over F lines and files over L lines. Needs a function's closing brace alone at column 0.
# tools/size-exceptions.txt: "file:function reason" lines allow one function up to 200.
BEGIN { while ((getline line < "tools/size-exceptions.txt") > 0) { split(line, w, " "); if (w[2] != "") allow[w[1]] = 1 } }
function file_end() { if (prev && n > L) { printf "%s: %d lines (limit %d)\n", prev, n, L; bad = 1 } }
FNR == 1 { file_end(); prev = FILENAME; start = 0; sig = 0 }
{ n = FNR }
/^[A-Za-z_].*[(]/ { sig = FNR; name = $0; sub(/[ \t]*[(].*/, "", name); sub(/.*[ *]/, "", name) }
/^[{]/ { if (!start) start = sig ? sig : FNR }
/^[A-Za-z_ \t].*[)][^;]*[{][ \t]*$/ { if (sig && FNR - sig < 12 && !start) start = sig }
/^[}]/ {
    lines = FNR - start + 1
    if (start && lines > F && !((FILENAME ":" name) in allow && lines <= 200)) { printf "%s:%d: %s is %d lines (limit %d)\n", FILENAME, start, name, lines, F; bad = 1 }
    start = 0; sig = 0
}
END { file_end(); exit bad }
