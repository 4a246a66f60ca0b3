#include "fed/device_watch.h"

/* Whose value comes next, or of what it is a part. */
enum {
	ELSEWHERE,
	IN_EDUS,
	EDU_TYPE,
	EDU_CONTENT,
	EDU_USER,
};

/* Depths, from json_token.depth: the EDUs are objects in an array in the top object. */
enum { DEPTH_TOP = 1, DEPTH_EDU = 2, DEPTH_EDU_MEMBER = 3, DEPTH_CONTENT_MEMBER = 4 };

static const char *const updates[] = {
	"m.device_list_update",
	"m.signing_key_update",
	"org.matrix.signing_key_update",
};

void device_watch_init(struct device_watch *d, device_watch_fn *changed, void *arg)
{
	*d = (struct device_watch){ .changed = changed, .arg = arg, .place = ELSEWHERE };
	json_scan_init(&d->scan, NULL, d->hold, sizeof(d->hold));
}

static void go_blind(struct device_watch *d)
{
	if (!d->blind)
		d->changed(d->arg, STRL(""));
	d->blind = true;
}

static bool is_update(const struct json_token *t)
{
	for (size_t i = 0; i < sizeof(updates) / sizeof(updates[0]) && !t->cut; i++)
		if (json_text_eq(t->text, str_of(updates[i])))
			return true;
	return false;
}

static void take_user(struct device_watch *d, const struct json_token *t)
{
	struct writer w = writer_over(d->user, sizeof(d->user));

	json_unescape(t->text, &w);
	d->has_user = t->kind == JSON_STRING && !t->cut && !w.failed;
	d->user_len = d->has_user ? writer_done(&w).len : 0;
}

static void begin_edu(struct device_watch *d)
{
	d->is_update = d->has_type = d->has_user = false;
	d->user_len = 0;
}

static void end_edu(struct device_watch *d)
{
	if (d->is_update)
		d->changed(d->arg, str_span(d->user, d->has_user ? d->user_len : 0));
}

static void take_key(struct device_watch *d, const struct json_token *t)
{
	bool in_edu = d->place != ELSEWHERE;

	if (t->depth == DEPTH_TOP) {
		d->place = !t->cut && json_text_eq(t->text, STRL("edus")) ? IN_EDUS : ELSEWHERE;
	} else if (in_edu && t->depth == DEPTH_EDU_MEMBER) {
		d->place = t->cut                                 ? IN_EDUS
			: json_text_eq(t->text, STRL("edu_type")) ? EDU_TYPE
			: json_text_eq(t->text, STRL("content"))  ? EDU_CONTENT
								  : IN_EDUS;
	} else if (d->place >= EDU_CONTENT && t->depth == DEPTH_CONTENT_MEMBER) {
		d->place = !t->cut && json_text_eq(t->text, STRL("user_id")) ? EDU_USER
									     : EDU_CONTENT;
	}
}

/* Of two members with one name either might count for others. */
static void take_value(struct device_watch *d, const struct json_token *t)
{
	if (d->place == EDU_TYPE && t->depth == DEPTH_EDU_MEMBER) {
		if (d->has_type && is_update(t) != d->is_update)
			go_blind(d);
		d->has_type = true;
		d->is_update = d->is_update || is_update(t);
	} else if (d->place == EDU_USER && t->depth == DEPTH_CONTENT_MEMBER) {
		if (d->has_user)
			go_blind(d);
		take_user(d, t);
	}
}

static void take_token(struct device_watch *d, const struct json_token *t)
{
	if (t->kind == JSON_KEY)
		take_key(d, t);
	else if (d->place == ELSEWHERE)
		return;
	else if (t->depth == DEPTH_EDU && t->kind == JSON_OBJECT)
		begin_edu(d);
	else if (t->depth == DEPTH_EDU && t->kind == JSON_OBJECT_END)
		end_edu(d);
	else
		take_value(d, t);
}

static void scan(struct device_watch *d, struct str piece, bool last)
{
	struct json_token t = { .kind = JSON_KEY };

	while (!d->blind && !d->ended && t.kind != JSON_NONE) {
		if (json_scan_next(&d->scan, &piece, last, &t) != ERR_OK)
			go_blind(d);
		else if (t.kind == JSON_END)
			d->ended = true;
		else
			take_token(d, &t);
	}
}

void device_watch_feed(struct device_watch *d, struct str piece)
{
	scan(d, piece, false);
}

void device_watch_end(struct device_watch *d)
{
	scan(d, STRL(""), true);
}
