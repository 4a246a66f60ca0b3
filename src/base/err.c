#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *slug;
	bool        retry;
	int         status;
} table[] = {
#define X(sym, slug, retry, status) { slug, retry, status },
	ERR_TABLE(X)
#undef X
};

const char *err_slug(enum err e)
{
	return table[e].slug;
}

bool err_retryable(enum err e)
{
	return table[e].retry;
}

int err_status(enum err e)
{
	return table[e].status;
}

_Noreturn void err_check_failed(const char *file, int line, const char *cond)
{
	fprintf(stderr, "doorstep: broken invariant at %s:%d: %s\n", file, line, cond);
	abort();
}
