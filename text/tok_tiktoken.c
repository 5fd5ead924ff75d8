#include "text/tok.h"
err_code tok_load_tiktoken(const char *path, const char *scheme, struct tok **out, struct err *e)
{
    (void)out; (void)scheme;
    return err_set(e, ERR_UNSUPPORTED, "'%s'", path);
}
