/*
 * env_none.c - env.h in a doorstep that was built without LMDB: nothing can be opened. So the cache is
 * in memory only and the queue is a journal wherever it lies.
 */
#include "store/env.h"

#include <stdio.h>

enum err env_open(const struct env_options *o, struct env **out, struct env_notice *notice)
{
	*out = NULL;
	snprintf(notice->text, sizeof(notice->text),
	         "%s: this doorstep was built without LMDB (CONFIG_DOORSTEP_STORE)", o->path);
	return ERR_UNSUPPORTED;
}

void env_close(struct env *e)
{
	(void)e;
}

enum err env_get(struct env *e, struct str key, void *room, size_t size, size_t *len)
{
	(void)e, (void)key, (void)room, (void)size, (void)len;
	return ERR_UNSUPPORTED;
}

enum err env_apply(struct env *e, const struct env_change *changes, size_t count)
{
	(void)e, (void)changes, (void)count;
	return ERR_UNSUPPORTED;
}

enum err env_apply_settling(struct env *e, const struct env_change *changes, size_t count)
{
	return env_apply(e, changes, count);
}

enum err env_empty(struct env *e)
{
	(void)e;
	return ERR_UNSUPPORTED;
}

enum err env_walk(struct env *e, struct str after, env_entry_fn *fn, void *arg)
{
	(void)e, (void)after, (void)fn, (void)arg;
	return ERR_UNSUPPORTED;
}

enum err env_usage(struct env *e, struct env_usage *out)
{
	(void)e, (void)out;
	return ERR_UNSUPPORTED;
}
