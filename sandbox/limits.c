/* The usual limits. Apart from limits_json.c: the inner program needs them and has no JSON. */
#include "sandbox/inner.h"

struct sandbox_limits sandbox_limits_default(void)
{
    return (struct sandbox_limits){
#define X(name, def, lo, hi, text) .name = def,
        SANDBOX_LIMITS(X)
#undef X
    };
}
