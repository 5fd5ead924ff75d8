/* Tables of text/tmpl_unitab.c (generated). */
#ifndef HONE_TEXT_TMPL_UNITAB_H
#define HONE_TEXT_TMPL_UNITAB_H

#include <stdint.h>

struct uni_range {
    uint32_t lo, hi;
};
struct uni_run { /* lo, lo + step, ..., hi map to themselves + delta */
    uint32_t lo, hi;
    int32_t step, delta;
};
struct uni_multi {
    uint32_t cp, to[3]; /* 0 ends a shorter one */
};
struct uni_table {
    const struct uni_range *at;
    int n;
};
struct uni_maps {
    const struct uni_run *run;
    int n_run;
    const struct uni_multi *multi;
    int n_multi;
};
extern const struct uni_range tmpl_uni_alpha[], tmpl_uni_decimal[], tmpl_uni_digit[], tmpl_uni_numeric[], tmpl_uni_space[],
    tmpl_uni_printable[], tmpl_uni_upper[], tmpl_uni_lower[], tmpl_uni_title[], tmpl_uni_cased[], tmpl_uni_ignorable[],
    tmpl_uni_xid_start[], tmpl_uni_xid_continue[];
extern const struct uni_run tmpl_uni_to_upper[], tmpl_uni_to_lower[], tmpl_uni_to_title[], tmpl_uni_fold[];
extern const struct uni_multi tmpl_uni_to_upper_multi[], tmpl_uni_to_lower_multi[], tmpl_uni_to_title_multi[], tmpl_uni_fold_multi[];
extern const struct uni_table tmpl_uni_tables[];       /* by enum uni_class */
extern const struct uni_maps tmpl_uni_map_tables[];    /* by enum uni_map */

#endif
