/* The patterns that nearly every byte-level tokenizer uses, character by character as tokenizer.json has them. The trainer
 * writes them, rank files need them, and the hand-written scanners are chosen by them. */
#ifndef HONE_TEXT_TOK_PATTERNS_H
#define HONE_TEXT_TOK_PATTERNS_H

#define TOK_RE_SUFFIX "'s|'t|'re|'ve|'m|'ll|'d"
#define TOK_RE_SPACE "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TOK_RE_UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define TOK_RE_LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define TOK_RE_WORDS(upper, lower, end)                                  \
    "[^\\r\\n\\p{L}\\p{N}]?[" upper "]*[" lower "]+" end "|"             \
    "[^\\r\\n\\p{L}\\p{N}]?[" upper "]+[" lower "]*" end

#define TOK_RE_GPT2 TOK_RE_SUFFIX "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define TOK_RE_LLAMA3 "(?i:" TOK_RE_SUFFIX ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TOK_RE_SPACE
#define TOK_RE_QWEN2 "(?i:" TOK_RE_SUFFIX ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TOK_RE_SPACE
#define TOK_RE_QWEN35 \
    "(?i:" TOK_RE_SUFFIX ")|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TOK_RE_SPACE
#define TOK_RE_O200K TOK_RE_WORDS(TOK_RE_UPPER, TOK_RE_LOWER, "(?i:" TOK_RE_SUFFIX ")?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TOK_RE_SPACE
#define TOK_RE_TEKKEN TOK_RE_WORDS(TOK_RE_UPPER, TOK_RE_LOWER, "") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TOK_RE_SPACE
#define TOK_RE_KIMI                                                                                                                        \
    "[\\p{Han}]+|" TOK_RE_WORDS(TOK_RE_UPPER "&&[^\\p{Han}]", TOK_RE_LOWER "&&[^\\p{Han}]", "(?i:" TOK_RE_SUFFIX ")?")                     \
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TOK_RE_SPACE
/* DeepSeek-V3: three splits, one after the other. */
#define TOK_RE_DS3_DIGITS "\\p{N}{1,3}"
#define TOK_RE_DS3_CJK "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"
#define TOK_RE_DS3_TEXT                                                                                                   \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|" \
    "\\s*[\r\n]+|\\s+(?!\\S)|\\s+"

#endif
