#include "role/crossing_inside.h"

#ifdef CONFIG_DOORSTEP_OUTBOUND

#include <stdlib.h>

#include "role/answer.h"
#include "role/path_class.h"

/* The policy of the public door: federation paths (with old media paths where exposed), nothing else. */
static bool local_path_allowed(const struct domain_settings *d, struct str path)
{
	enum path_class c = path_class_of(path);

	return (c == PATH_FEDERATION && (d->expose & EXPOSE_FEDERATION) != 0) ||
		(c == PATH_MEDIA && (d->expose & EXPOSE_MEDIA) != 0);
}

/* The watch over a transaction that is no longer ours. */
struct local_watch {
	struct device_watch watch;
	struct answers     *answers;
};

static void on_local_changed(void *arg, struct str user)
{
	const struct local_watch *w = arg;

	answers_changed(w->answers, user);
}

static void on_local_took(void *arg, struct str bytes)
{
	struct local_watch *w = arg;

	device_watch_feed(&w->watch, bytes);
}

static void on_local_over(void *arg)
{
	struct local_watch *w = arg;

	device_watch_end(&w->watch);
	free(w);
}

static void local_watch(struct crossing *x)
{
	struct local_watch *w = malloc(sizeof(*w));

	if (w == NULL) {
		answers_changed(x->ob->o.answers, STRL(""));
		return;
	}
	w->answers = x->ob->o.answers;
	device_watch_init(&w->watch, on_local_changed, w);
	http_request_tap(x->request, &(struct http_request_tap){ on_local_took, on_local_over, w });
}

/* It goes on as if it had come to the public door: gate, keeping, holding, relaying. */
void crossing_local(struct crossing *x, const struct domain_settings *d)
{
	struct outbound     *ob = x->ob;
	struct http_request *r = x->request;
	struct str           name = x->name; /* the request's */

	if (d->homeserver == NULL || !local_path_allowed(d, http_request_head(r)->path)) {
		answer_error(r, 404, "M_UNRECOGNIZED", "unrecognized request", false);
		crossing_log(x, 404, NULL);
		crossing_free(x);
		return;
	}
	if (x->watch != NULL)
		local_watch(x);
	free(x->watch); /* it saw nothing, which would count as a change of everybody's */
	x->watch = NULL;
	crossing_free(x);
	ob->o.local(ob->o.arg, r, name);
}

#endif
