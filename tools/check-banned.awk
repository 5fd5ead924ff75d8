# Calls listed in tools/banned.txt, outside cmd/, tests/ and bench/.
FILENAME == "tools/banned.txt" { if (NF) { name = $1; sub(/^[^ \t]+[ \t]+/, ""); why[name] = $0 } next }
{
    line = $0
    sub(/\/\/.*/, "", line); gsub(/"([^"\\]|\\.)*"/, "\"\"", line); sub(/^[ \t]*\*.*/, "", line); sub(/\/\*.*/, "", line)
    while (match(line, /[A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
        word = substr(line, RSTART, RLENGTH); sub(/[ \t]*\($/, "", word)
        if (word in why) { printf "%s:%d: %s(): %s\n", FILENAME, FNR, word, why[word]; bad = 1 }
        line = substr(line, RSTART + RLENGTH)
    }
}
END { exit bad }
