#include "loop/work.h"

#include <stdlib.h>

#include "loop/inside.h"

struct work {
	uv_work_t     request;
	struct work **slot; /* the owner's pointer to us; NULL once cancelled */
	work_run_fn  *run;
	work_done_fn *done; /* or what `cancel` asked for instead, maybe NULL */
	void         *arg;
};

static void on_run(uv_work_t *request)
{
	struct work *w = request->data;

	w->run(w->arg);
}

static void on_done(uv_work_t *request, int status)
{
	struct work  *w = request->data;
	work_done_fn *done = w->done;
	void         *arg = w->arg;

	(void)status; /* UV_ECANCELED: then `done` is already the owner's `forget` */
	if (w->slot != NULL)
		*w->slot = NULL;
	free(w);
	if (done != NULL)
		done(arg);
}

enum err work_start(struct work **slot, struct loop *l, work_run_fn *run, work_done_fn *done,
                    void *arg)
{
	struct work *w = malloc(sizeof(*w));
	int          status;

	if (w == NULL)
		return ERR_NOMEM;
	w->slot = slot;
	w->run = run;
	w->done = done;
	w->arg = arg;
	w->request.data = w;
	status = uv_queue_work(&l->uv, &w->request, on_run, on_done);
	if (status != 0) {
		free(w);
		return loop_err(status);
	}
	*slot = w;
	return ERR_OK;
}

void work_cancel(struct work **slot, work_done_fn *forget)
{
	struct work *w = *slot;

	if (w == NULL)
		return;
	*slot = NULL;
	w->slot = NULL;
	w->done = forget;
	uv_cancel((uv_req_t *)&w->request); /* if it has not begun; on_done follows in any case */
}
