#include "store/queue_backend.h"

enum err queue_journal_open(const struct queue_backend_options *o, struct queue_backend **out,
                            struct queue_fault *fault)
{
	(void)o;
	(void)out;
	(void)fault;
	return ERR_UNSUPPORTED;
}

bool queue_journal_exists(const char *path)
{
	(void)path;
	return false;
}
