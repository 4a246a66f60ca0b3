#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "loop/inside.h"

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	setenv("UV_THREADPOOL_SIZE", "2", 1); /* read when the first job is queued */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a full quota is an error of write(), not the end */
	if (uv_loop_init(&l->uv) != 0) {
		free(l);
		return NULL;
	}
	deadline_open(l);
	return l;
}

static void on_left(uv_handle_t *handle, void *arg)
{
	(void)arg;
	check(uv_is_closing(handle));
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	loop_unwatch_signals(l);
	deadline_close(l);
	uv_walk(&l->uv, on_left, NULL);
	while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0) {
		/* closing handles and forgotten jobs come home */
	}
	check(uv_loop_close(&l->uv) == 0);
	deadline_release(l);
	free(l);
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
	deadline_soon(l); /* while those who wait for it are alive */
}

void loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
}

msec loop_now(const struct loop *l)
{
	return uv_now(&l->uv);
}

msec loop_unix_ms(const struct loop *l)
{
	struct timespec t;

	(void)l;
	clock_gettime(CLOCK_REALTIME, &t);
	return (msec)t.tv_sec * SECOND_MS + (msec)t.tv_nsec / 1000000;
}

void loop_random(void *p, size_t n)
{
	check(uv_random(NULL, NULL, p, n, 0, NULL) == 0);
}

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct loop *l = handle->data;
	deadline_fn *fn = number == SIGHUP ? l->on_signal.reload : l->on_signal.terminate;

	if (fn != NULL)
		fn(l->on_signal.arg);
}

enum err loop_watch_signals(struct loop *l, const struct loop_signals *s)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
	int              status = 0;

	check(!l->watching);
	l->watching = true;
	l->on_signal = *s;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uv_signal_init(&l->uv, &l->signals[i]);
		l->signals[i].data = l;
		uv_unref((uv_handle_t *)&l->signals[i]);
		if (status == 0)
			status = uv_signal_start(&l->signals[i], on_signal, numbers[i]);
	}
	if (status == 0)
		return ERR_OK;
	loop_unwatch_signals(l);
	return loop_err(status);
}

void loop_unwatch_signals(struct loop *l)
{
	if (!l->watching)
		return;
	for (size_t i = 0; i < sizeof(l->signals) / sizeof(l->signals[0]); i++)
		uv_close((uv_handle_t *)&l->signals[i], NULL);
	l->watching = false;
}
