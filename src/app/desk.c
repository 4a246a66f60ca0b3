#include "app/desk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/version.h"
#include "base/list.h"
#include "base/log.h"
#include "codec/matrix/base64.h"
#include "role/reception.h"
#include "role/status.h"
#include "role/stranded.h"

enum {
	STATUS_MAX = 256 * 1024,
	BODY_PIECE = 12 * 1024,
	TARGET_MAX = 8 * 1024, /* shown of a head */
	FIELD_MAX = 1024,
	AUTHORIZATIONS_MAX = 8,
};

struct desk {
	struct loop  *loop;
	struct house *house;
	msec          started_at;
	struct link   errands;
};

/* A command that takes more than a moment. */
struct errand {
	struct link           link;
	struct desk          *desk;
	struct control_reply *reply;
	struct queue_read    *read;
	struct queue_settle  *settle;
	uint64_t              sequence, offset;
	bool                  body;
	enum queue_verdict    verdict;
};

/* ---- answers ---- */

static struct tree_node *begin(struct tree **t)
{
	*t = tree_new_object();
	if (*t == NULL)
		return NULL;
	tree_add_unsigned(*t, tree_root(*t), "v", CONTROL_VERSION);
	return tree_root(*t);
}

/* The tree is gone afterwards. ERR_SYNTAX: it holds what is no text; nothing was answered. */
static enum err answer(struct control_reply *r, struct tree *t)
{
	struct buf out;
	enum err   e;

	buf_init(&out, STATUS_MAX);
	e = t == NULL ? ERR_NOMEM : tree_write(t, &out);
	tree_free(t);
	if (e == ERR_OK)
		control_answer(r, buf_str(&out));
	else if (e != ERR_SYNTAX)
		control_refuse(r, e == ERR_NOMEM ? "no memory left" : "the answer is too long");
	buf_fini(&out);
	return e;
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
refuse(struct control_reply *r, const char *format, ...)
{
	char    text[320];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	control_refuse(r, text);
}

/* ---- reading questions ---- */

static bool flag_of(const struct tree_node *question, const char *key)
{
	bool set = false;

	return tree_bool(tree_get(question, key), &set) == ERR_OK && set;
}

/* Absent: otherwise. */
static bool number_of(const struct tree_node *question, const char *key, uint64_t otherwise,
                      uint64_t *out)
{
	const struct tree_node *node = tree_get(question, key);
	int64_t                 n;

	*out = otherwise;
	if (node == NULL)
		return true;
	if (tree_integer(node, &n) != ERR_OK || n < 0)
		return false;
	*out = (uint64_t)n;
	return true;
}

/* ---- status ---- */

static const struct sleeper *sleeper_of(void *arg, const struct homeserver_settings *hs)
{
	const struct reception *r = house_reception(arg, hs);

	return r == NULL ? NULL : r->sleeper;
}

static void run_status(void *arg, const struct tree_node *question, struct control_reply *r)
{
	const struct desk         *d = arg;
	const struct status_source source = {
		.version = version_text(),
		.pid = (uint64_t)getpid(),
		.uptime_ms = loop_now(d->loop) - d->started_at,
		.settings = house_settings(d->house),
		.queue = house_queue(d->house),
		.is_shut = house_is_shut(d->house),
		.tls = house_tls(d->house),
		.sleeper = sleeper_of,
		.arg = d->house,
	};
	struct buf out;

	(void)question;
	buf_init(&out, STATUS_MAX);
	if (status_write(&source, &out) == ERR_OK)
		control_answer(r, buf_str(&out));
	else
		control_refuse(r, "no memory left");
	buf_fini(&out);
}

/* ---- sleep and wake ---- */

static const struct homeserver_settings *homeserver_named(const struct settings *s, struct str name)
{
	for (size_t i = 0; i < s->homeserver_count; i++)
		if (str_is(name, s->homeservers[i].section))
			return &s->homeservers[i];
	return NULL;
}

/* NULL: none or several. */
static const struct homeserver_settings *only_sleeper(const struct settings *s, size_t *count)
{
	const struct homeserver_settings *found = NULL;

	*count = 0;
	for (size_t i = 0; i < s->homeserver_count; i++)
		if (s->homeservers[i].sleeps) {
			found = &s->homeservers[i];
			++*count;
		}
	return *count == 1 ? found : NULL;
}

static const struct homeserver_settings *asked_homeserver(const struct desk      *d,
                                                          const struct tree_node *question,
                                                          struct control_reply   *r)
{
	const struct settings            *s = house_settings(d->house);
	const struct homeserver_settings *hs;
	struct str                        name;
	size_t                            count;

	if (tree_text(tree_get(question, "homeserver"), &name) == ERR_OK) {
		hs = homeserver_named(s, name);
		if (hs == NULL)
			refuse(r, "there is no homeserver '%.64s' in the configuration", name.ptr);
		return hs;
	}
	hs = only_sleeper(s, &count);
	if (count == 0)
		refuse(r,
		       "no homeserver sleeps: none has option sleeps '1', and there is no state_dir");
	else if (count > 1)
		refuse(r, "%zu homeservers sleep: say which one", count);
	return hs;
}

/* NULL: r was answered. */
static struct sleeper *asked_sleeper(const struct desk *d, const struct tree_node *question,
                                     struct control_reply *r, const char **name)
{
	const struct homeserver_settings *hs = asked_homeserver(d, question, r);
	struct reception                 *reception;

	if (hs == NULL)
		return NULL;
	*name = hs->section;
	reception = house_reception(d->house, hs);
	if (reception != NULL)
		return reception->sleeper;
	refuse(r, "homeserver '%s' does not sleep: it has no option sleeps '1'", hs->section);
	return NULL;
}

/* stay: NULL: it is done. */
static void answer_sleeper(struct control_reply *r, const struct sleeper *sleeper, const char *name,
                           const char *stay, msec wait_ms)
{
	struct sleeper_status st;
	struct tree          *t;
	struct tree_node     *root = begin(&t);

	sleeper_status(sleeper, &st);
	tree_add_text(t, root, "homeserver", str_of(name));
	tree_add_bool(t, root, "done", stay == NULL);
	tree_add_text(t, root, "state", str_of(st.state));
	tree_add_text(t, root, "why", str_of(st.why));
	if (stay != NULL) {
		tree_add_text(t, root, "reason", str_of(stay));
		tree_add_unsigned(t, root, "wait_ms", wait_ms);
	}
	(void)answer(r, t);
}

static void run_sleep(void *arg, const struct tree_node *question, struct control_reply *r)
{
	const char     *name, *stay;
	struct sleeper *sleeper = asked_sleeper(arg, question, r, &name);
	msec            wait_ms = 0;

	if (sleeper == NULL)
		return;
	stay = flag_of(question, "force") ? NULL : sleeper_must_stay(sleeper, &wait_ms);
	if (stay == NULL)
		sleeper_sleeps(sleeper);
	answer_sleeper(r, sleeper, name, stay, wait_ms);
}

static void run_wake(void *arg, const struct tree_node *question, struct control_reply *r)
{
	const char     *name;
	struct sleeper *sleeper = asked_sleeper(arg, question, r, &name);

	if (sleeper == NULL)
		return;
	sleeper_order(sleeper);
	answer_sleeper(r, sleeper, name, NULL, 0);
}

/* ---- the queue ---- */

/* NULL: r was answered. */
static struct queue *asked_queue(const struct desk *d, struct control_reply *r)
{
	struct queue *q = house_queue(d->house);

	if (q == NULL && house_is_shut(d->house))
		control_refuse(r,
		               "state_dir is left alone: doorstep died too often while it "
		               "opened or read it; see 'doorstep queue verify', then restart "
		               "doorstep");
	else if (q == NULL)
		control_refuse(
			r,
			"nothing is kept: no homeserver sleeps, or there is no state_dir that "
			"keeps its word; see the log");
	return q;
}

static const char *state_text(enum queue_state s)
{
	switch (s) {
	case QUEUE_WAITING:
		return "waiting";
	case QUEUE_IN_HAND:
		return "in-hand";
	case QUEUE_PARKED:
		return "parked";
	}
	return "?";
}

/* Of a peer: shown as far as it is printable, at most max bytes. True: that was all. */
static bool add_shown(struct tree *t, struct tree_node *to, const char *key, struct str s,
                      size_t max)
{
	size_t len = s.len < max ? s.len : max;
	char  *copy = malloc(len + 1);

	if (copy == NULL) {
		tree_add_null(t, to, key);
		return false;
	}
	for (size_t i = 0; i < len; i++)
		copy[i] = s.ptr[i] >= 0x20 && s.ptr[i] < 0x7f ? s.ptr[i] : '?';
	tree_add_text(t, to, key, str_span(copy, len));
	free(copy);
	return len == s.len;
}

static void add_item(const struct desk *d, struct tree *t, struct tree_node *to,
                     const struct queue_info *info)
{
	const char *stranded = info->state == QUEUE_PARKED
		? NULL
		: stranded_why(house_settings(d->house), info->server_name);

	tree_add_unsigned(t, to, "sequence", info->sequence);
	tree_add_text(t, to, "state", str_of(state_text(info->state)));
	(void)add_shown(t, to, "origin", info->origin, 255);
	(void)add_shown(t, to, "server_name", info->server_name, 255);
	tree_add_unsigned(t, to, "at_unix_ms", info->at_unix_ms);
	tree_add_unsigned(t, to, "bytes", info->bytes);
	tree_add_unsigned(t, to, "tries", info->tries);
	if (info->first_try_unix_ms == 0)
		tree_add_null(t, to, "first_try_unix_ms");
	else
		tree_add_unsigned(t, to, "first_try_unix_ms", info->first_try_unix_ms);
	if (info->state == QUEUE_PARKED)
		(void)add_shown(t, to, "reason", info->reason, QUEUE_REASON_MAX);
	else
		tree_add_null(t, to, "reason");
	if (stranded != NULL)
		tree_add_text(t, to, "stranded", str_of(stranded));
	else
		tree_add_null(t, to, "stranded");
}

static void run_queue_list(void *arg, const struct tree_node *question, struct control_reply *r)
{
	struct queue       *q = asked_queue(arg, r);
	struct queue_info   found[DESK_PAGE_MAX + 1];
	struct queue_counts counts;
	uint64_t            after, max;
	size_t              n;
	struct tree        *t;
	struct tree_node   *root, *list;

	if (q == NULL)
		return;
	if (!number_of(question, "after", 0, &after) ||
	    !number_of(question, "max", DESK_PAGE_MAX, &max) || max == 0) {
		control_refuse(r, "after and max are numbers, max is not 0");
		return;
	}
	max = max < DESK_PAGE_MAX ? max : DESK_PAGE_MAX;
	queue_counts(q, &counts);
	n = queue_list(q, after, flag_of(question, "parked"), found, (size_t)max + 1);
	root = begin(&t);
	list = tree_add_array(t, root, "items");
	for (size_t i = 0; i < n && i < max; i++)
		add_item(arg, t, tree_add_object(t, list, NULL), &found[i]);
	if (n > max)
		tree_add_unsigned(t, root, "next", found[max - 1].sequence);
	else
		tree_add_null(t, root, "next");
	tree_add_unsigned(t, root, "waiting", counts.waiting);
	tree_add_unsigned(t, root, "parked", counts.parked);
	(void)answer(r, t);
}

/* ---- errands ---- */

static void errand_end(struct errand *e)
{
	list_remove(&e->link);
	free(e);
}

/* NULL: r was answered. */
static struct errand *errand_new(struct desk *d, const struct tree_node *question,
                                 struct control_reply *r, struct queue_info *info)
{
	struct queue  *q = asked_queue(d, r);
	struct errand *e;
	uint64_t       sequence;

	if (q == NULL)
		return NULL;
	if (!number_of(question, "sequence", 0, &sequence) || sequence == 0) {
		control_refuse(r, "sequence: the number of an item is missing");
		return NULL;
	}
	if (queue_find(q, sequence, info) != ERR_OK) {
		refuse(r, "there is no item %llu", (unsigned long long)sequence);
		return NULL;
	}
	e = calloc(1, sizeof(*e));
	if (e == NULL) {
		control_refuse(r, "no memory left");
		return NULL;
	}
	*e = (struct errand){ .desk = d, .reply = r, .sequence = sequence };
	list_push_back(&d->errands, &e->link);
	return e;
}

static void errand_fail(struct errand *e, enum err why)
{
	struct control_reply *r = e->reply;
	unsigned long long    n = e->sequence;

	errand_end(e);
	if (why == ERR_NOT_FOUND)
		refuse(r, "there is no item %llu", n);
	else if (why == ERR_BUSY)
		refuse(r, "item %llu is being handed over, or decided about: try again", n);
	else if (why == ERR_SYNTAX)
		refuse(r, "item %llu is damaged", n);
	else
		refuse(r, "item %llu: %s", n, err_slug(why));
}

/* Back to the beginning of a character, if a text is cut there. */
static size_t piece_end(struct str body, size_t from)
{
	size_t end = body.len - from < BODY_PIECE ? body.len : from + BODY_PIECE;

	for (unsigned i = 0; i < 3 && end < body.len && end > from + 4; i++) {
		if (((unsigned char)body.ptr[end] & 0xc0) != 0x80)
			break;
		end--;
	}
	return end;
}

static void add_base64(struct tree *t, struct tree_node *to, struct str piece)
{
	size_t        size = BASE64_TEXT(piece.len) + 1;
	char         *text = malloc(size);
	struct writer w = writer_over(text, text == NULL ? 0 : size);

	base64_write(&w, piece);
	if (w.failed)
		tree_add_null(t, to, "body_base64");
	else
		tree_add_text(t, to, "body_base64", writer_done(&w));
	free(text);
}

static void add_body(struct tree *t, struct tree_node *to, struct str body, uint64_t offset,
                     bool text)
{
	size_t     from = offset < body.len ? (size_t)offset : body.len;
	size_t     end = piece_end(body, from);
	struct str piece = str_span(body.ptr + from, end - from);

	if (text)
		tree_add_text(t, to, "body", piece);
	else
		add_base64(t, to, piece);
	if (end < body.len)
		tree_add_unsigned(t, to, "next_offset", end);
	else
		tree_add_null(t, to, "next_offset");
}

/* True: all of them. */
static bool add_authorizations(struct tree *t, struct tree_node *to, struct str lines)
{
	struct tree_node *list = tree_add_array(t, to, "authorization");
	bool              whole = true;

	for (unsigned i = 0; lines.len > 0 && i < AUTHORIZATIONS_MAX; i++) {
		size_t end = str_find(lines, '\n');

		whole = add_shown(t, list, NULL, str_head(lines, end), FIELD_MAX) && whole;
		lines = str_from(lines, end + 1);
	}
	return whole && lines.len == 0;
}

static enum err show(const struct errand *e, const struct queue_info *info,
                     const struct queue_item *item, bool text)
{
	char              peer[ADDRESS_TEXT_SIZE];
	struct tree      *t;
	struct tree_node *root = begin(&t);
	bool              whole;

	add_item(e->desk, t, tree_add_object(t, root, "item"), info);
	whole = add_shown(t, root, "method", item->method, FIELD_MAX);
	whole = add_shown(t, root, "target", item->target, TARGET_MAX) && whole;
	whole = add_shown(t, root, "content_type", item->content_type, FIELD_MAX) && whole;
	whole = add_shown(t, root, "transaction_id", item->transaction_id, FIELD_MAX) && whole;
	tree_add_text(t, root, "peer", str_of(address_text(&item->peer, peer)));
	whole = add_authorizations(t, root, item->authorization) && whole;
	tree_add_bool(t, root, "head_cut", !whole);
	tree_add_unsigned(t, root, "body_bytes", item->body.len);
	if (e->body)
		add_body(t, root, item->body, e->offset, text);
	return answer(e->reply, t);
}

static void on_shown(void *arg, enum err err, const struct queue_info *info,
                     struct queue_item *item)
{
	struct errand *e = arg;

	if (err != ERR_OK) {
		errand_fail(e, err);
		return;
	}
	if (show(e, info, item, true) == ERR_SYNTAX && show(e, info, item, false) == ERR_SYNTAX)
		control_refuse(e->reply, "the item is no text");
	queue_item_free(item);
	errand_end(e);
}

static void run_queue_show(void *arg, const struct tree_node *question, struct control_reply *r)
{
	struct queue_info info;
	struct desk      *d = arg;
	struct errand    *e = errand_new(d, question, r, &info);
	enum err          err = ERR_OK;

	if (e == NULL)
		return;
	e->body = flag_of(question, "body");
	if (!number_of(question, "offset", 0, &e->offset)) {
		errand_end(e);
		control_refuse(r, "offset is no number");
		return;
	}
	err = queue_show_start(&e->read, house_queue(d->house), e->sequence, on_shown, e);
	if (err != ERR_OK)
		errand_fail(e, err);
}

/* Whoever hands over looks at the lanes again. */
static void look_again(const struct desk *d)
{
	const struct settings *s = house_settings(d->house);

	for (size_t i = 0; i < s->homeserver_count; i++) {
		struct reception *r = house_reception(d->house, &s->homeservers[i]);

		if (r != NULL)
			reception_lane_left(r);
	}
}

static void on_settled(void *arg, enum err err)
{
	struct errand        *e = arg;
	struct desk          *d = e->desk;
	struct control_reply *r = e->reply;
	struct tree          *t;
	struct tree_node     *root;

	if (err != ERR_OK) {
		errand_fail(e, err);
		return;
	}
	log_say(LOG_INFO, e->verdict == QUEUE_DROP ? "queue.drop" : "queue.retry",
	        "item %llu, as the owner wishes", (unsigned long long)e->sequence);
	root = begin(&t);
	tree_add_unsigned(t, root, "sequence", e->sequence);
	tree_add_bool(t, root, "done", true);
	errand_end(e);
	(void)answer(r, t);
	look_again(d);
}

static void run_settle(struct errand *e, enum queue_verdict verdict)
{
	enum err err;

	e->verdict = verdict;
	err = queue_settle_start(&e->settle, house_queue(e->desk->house), e->sequence, verdict,
	                         STRL(""), on_settled, e);
	if (err != ERR_OK)
		errand_fail(e, err);
}

static void run_queue_retry(void *arg, const struct tree_node *question, struct control_reply *r)
{
	struct queue_info info;
	struct errand    *e = errand_new(arg, question, r, &info);

	if (e == NULL)
		return;
	if (info.state == QUEUE_PARKED) {
		run_settle(e, QUEUE_UNPARK);
		return;
	}
	refuse(r, "item %llu is not parked: it is handed over by itself",
	       (unsigned long long)e->sequence);
	errand_end(e);
}

static void run_queue_drop(void *arg, const struct tree_node *question, struct control_reply *r)
{
	struct queue_info info;
	struct errand    *e = errand_new(arg, question, r, &info);

	if (e == NULL)
		return;
	if (info.state == QUEUE_IN_HAND)
		errand_fail(e, ERR_BUSY);
	else
		run_settle(e, QUEUE_DROP);
}

const struct control_command desk_commands[] = {
	{ "status", run_status },
	{ "sleep", run_sleep },
	{ "wake", run_wake },
	{ "queue-list", run_queue_list },
	{ "queue-show", run_queue_show },
	{ "queue-retry", run_queue_retry },
	{ "queue-drop", run_queue_drop },
	{ NULL, NULL },
};

enum err desk_new(struct loop *l, struct house *h, msec started_at, struct desk **out)
{
	struct desk *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return ERR_NOMEM;
	*d = (struct desk){ .loop = l, .house = h, .started_at = started_at };
	list_init(&d->errands);
	*out = d;
	return ERR_OK;
}

void desk_free(struct desk *d)
{
	if (d == NULL)
		return;
	while (!list_empty(&d->errands)) {
		struct errand *e = LIST_ENTRY(d->errands.next, struct errand, link);

		queue_read_cancel(&e->read);
		queue_settle_cancel(&e->settle);
		control_refuse(e->reply, "doorstep ends");
		errand_end(e);
	}
	free(d);
}
