#include "role/crossing_inside.h"

#ifdef CONFIG_DOORSTEP_OUTBOUND

static struct sleeper *sleeper_of(const struct outbound *ob)
{
	struct reception *r = crossing_reception(ob);

	return r == NULL ? NULL : r->sleeper;
}

static void crossing_order_done(struct crossing *x, int status, struct str json)
{
	http_respond_with(x->request, status, "application/json", STRL(""), json);
	crossing_log(x, status, NULL);
	crossing_free(x);
}

static void crossing_order_sleep(struct crossing *x, struct sleeper *s, bool force)
{
	char          json[192];
	struct writer w = writer_over(json, sizeof(json));
	msec          wait_ms = 0;
	const char   *stay = force ? NULL : sleeper_must_stay(s, &wait_ms);

	if (stay == NULL) {
		sleeper_sleeps(s);
		crossing_order_done(x, 200, STRL("{\"done\":true,\"state\":\"asleep\"}"));
		return;
	}
	write_text(&w, "{\"done\":false,\"reason\":");
	write_json_string(&w, str_of(stay));
	write_text(&w, ",\"wait_ms\":");
	write_u64(&w, wait_ms);
	write_text(&w, "}");
	check(!w.failed);
	crossing_order_done(x, 409, writer_done(&w));
}

static void crossing_order_wake(struct crossing *x, struct sleeper *s)
{
	char          json[96];
	struct writer w = writer_over(json, sizeof(json));

	sleeper_wakes(s);
	write_text(&w, "{\"done\":true,\"state\":");
	write_json_string(&w, str_of(awake_state_slug(sleeper_state(s))));
	write_text(&w, "}");
	check(!w.failed);
	crossing_order_done(x, 200, writer_done(&w));
}

/* Sleep and wake are about the homeserver that has this listener. */
void crossing_order(struct crossing *x, struct str path)
{
	struct sleeper *s = sleeper_of(x->ob);

	if (s == NULL)
		crossing_refuse(
			x, 404, "M_NOT_FOUND", "name",
			"this listener's homeserver does not sleep: see option homeserver of "
			"the outbound section and option sleeps of the homeserver");
	else if (str_is(path, "/_doorstep/wake"))
		crossing_order_wake(x, s);
	else
		crossing_order_sleep(x, s, str_is(path, "/_doorstep/sleep?force=1"));
}

bool crossing_is_order(const struct head *h)
{
	return h->scheme.len == 0 &&
		(str_is(h->path, "/_doorstep/sleep") || str_is(h->path, "/_doorstep/wake") ||
	         str_is(h->path, "/_doorstep/sleep?force=1"));
}

#endif
