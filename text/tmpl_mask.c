#include "text/tmpl.h"
void tmpl_mask_release(struct tmpl_run *r) { (void)r; }
