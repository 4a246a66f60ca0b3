#include "app/house_inside.h"

#include "base/log.h"
#include "base/metrics.h"
#include "role/stranded.h"

enum {
	KEYS_PER_CLASS_BYTES = 4096,
	QUEUE_FILE_MIN = 4 * 1024 * 1024,
	PENDING_PER_CLASS_MB = 64 * 1024,
	PENDING_PER_SMALL_MB = 32 * 1024 /* in the class of 64 MB */
};

/* Address space: where that is scarce, a file of half a gigabyte is as much as can be mapped for sure. */
static const uint64_t queue_file_max = SIZE_MAX > UINT32_MAX ? UINT64_MAX : 512u << 20;

/* Of all that sleep together; the file is twice that. */
static uint64_t queue_bytes(const struct settings *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->homeserver_count; i++)
		sum += s->homeservers[i].sleeps ? s->homeservers[i].queue_bytes : 0;
	return sum;
}

static void open_queue(struct house *h, const struct settings *s)
{
	uint64_t             twice = 2 * queue_bytes(s);
	uint64_t             map = twice < queue_file_max ? twice : queue_file_max;
	struct queue_options o = { .loop = h->loop,
		                   .state_dir = s->state_dir,
		                   .bytes_max = queue_bytes(s),
		                   .map_bytes = map < QUEUE_FILE_MIN ? QUEUE_FILE_MIN : (size_t)map,
		                   .pending_bytes_max = s->limits.memory_class *
		                           (s->limits.memory_class < 128 ? PENDING_PER_SMALL_MB
		                                                         : PENDING_PER_CLASS_MB) };
	struct queue_fault   fault = { .text = "" };
	enum err             e = ERR_UNSUPPORTED;

	if (s->state_dir != NULL) {
		deaths_opening(h->deaths);
		e = queue_open(&o, &h->queue, &fault);
		deaths_opened(h->deaths);
	}
	if (e != ERR_OK)
		log_say(LOG_ERROR, "serve.queue",
		        "deliveries are not kept while a homeserver is away: %s",
		        fault.text[0] != '\0' ? fault.text : "option state_dir is not set");
	else if (fault.text[0] != '\0')
		log_say(LOG_ERROR, "serve.queue", "%s", fault.text);
	if (fault.cut_bytes > 0)
		log_say(LOG_INFO, "serve.queue",
		        "%llu bytes that a power cut left unfinished were taken off; nothing "
		        "acknowledged was among them",
		        (unsigned long long)fault.cut_bytes);
}

/*
 * Nothing is kept then, as without state_dir: who delivers while the homeserver is away is refused, and tries
 * again. What is in state_dir waits for the owner.
 */
void house_look_back(struct house *h, const struct settings *s)
{
	if (s->state_dir == NULL)
		return;
	h->deaths = deaths_open(s->state_dir);
	h->is_shut = deaths_too_many(h->deaths);
	if (h->is_shut)
		log_say(LOG_ERROR, "serve.shut",
		        "doorstep died %d times while it opened or read %s: the folder is left alone, "
		        "nothing is kept, and deliveries are refused while a homeserver is away; see "
		        "'doorstep queue verify' and 'doorstep queue export', then restart doorstep",
		        DEATHS_MAX, s->state_dir);
}

/* What was acknowledged is never given up in silence. */
void house_say_stranded(const struct house *h, const struct settings *s)
{
	struct stranded st;

	if (h->queue == NULL)
		return;
	stranded_look(h->queue, s, &st);
	if (st.items > 0)
		log_say(LOG_WARN, "serve.stranded",
		        "%zu deliveries are kept and handed over to nobody: %s %s; put that back, or "
		        "see 'doorstep queue list' and drop them",
		        st.items, st.server_name, st.why);
}

/* It cannot move under requests: what is in it would be there twice, or not at all. */
static void follow_queue_options(struct house *h, const struct settings *s)
{
	queue_set_bytes_max(h->queue, queue_bytes(s));
	if (s->state_dir == NULL || !queue_is_in(h->queue, s->state_dir))
		log_say(LOG_WARN, "serve.queue",
		        "state_dir: taken over at the next start only; what is kept stays in the "
		        "earlier one and does not move by itself: empty it before, or carry it with "
		        "'doorstep queue export' and 'import'");
}

/* Also what nobody sleeps for any more, unless nothing is left in it. */
void house_follow_queue(struct house *h, const struct settings *s)
{
	struct queue_counts c;

	if (h->queue != NULL)
		follow_queue_options(h, s);
	else if (!h->is_shut &&
	         (house_has_sleeper(s) || (s->state_dir != NULL && queue_is_there(s->state_dir))))
		open_queue(h, s);
	if (h->queue == NULL || house_has_sleeper(s))
		return;
	queue_counts(h->queue, &c);
	if (c.waiting == 0 && c.parked == 0 && list_empty(&h->neighbours)) { /* nobody has it yet */
		queue_close(h->queue);
		h->queue = NULL;
	}
}

/* The homeserver of a name that is served here. */
static struct upstream *local_upstream(void *arg, struct str name)
{
	struct house                 *h = arg;
	const struct domain_settings *d = settings_domain(h->settings, name);

	return d == NULL || d->homeserver == NULL ? NULL : house_upstream(h, d->homeserver);
}

/*
 * Names that strangers claim to have are looked up apart from those that our homeservers ask for: slow name
 * servers and slow web servers of a forged origin take no place of theirs. What is known is shared through
 * the cache, but claims alone are not written to it.
 */
static enum err open_key_resolver(struct house *h, const struct settings *s)
{
	struct resolver_options o = {
		.loop = h->loop,
		.tls = h->tls_client,
		.handshakes = &h->key_handshakes,
		.policy = &h->policy,
		.store = { house_load_resolution, NULL, h },
		.names_max = s->limits.memory_class / 2, /* the keys are what is remembered */
		.deadline_ms = s->limits.resolve_connect_ms,
	};
	enum err e = house_new_dns(h, s, house_keys_share(s->limits.dns_queries), &h->key_dns);

	limit_init(&h->key_handshakes, GAUGE_key_handshakes_open,
	           house_keys_share(s->limits.handshakes));
	o.dns = h->key_dns;
	return e == ERR_OK ? resolver_new(&o, &h->key_resolver) : e;
}

enum err house_open_keys(struct house *h, const struct settings *s)
{
	struct key_fetcher_options fetcher = {
		.loop = h->loop, .tls = h->tls_client, .local = local_upstream, .arg = h
	};
	struct keyring_options keyring = {
		.loop = h->loop,
		.cache = h->cache,
		.bytes_max = s->limits.memory_class * KEYS_PER_CLASS_BYTES,
		.notaries = s->notaries,
		.notary_count = s->notary_count,
	};
	enum err e = open_key_resolver(h, s);

	fetcher.resolver = h->key_resolver;
	if (e == ERR_OK)
		e = key_fetcher_new(&fetcher, &h->key_fetcher);
	keyring.fetcher = h->key_fetcher;
	if (e == ERR_OK)
		e = keyring_new(&keyring, &h->keyring);
	if (e == ERR_OK)
		e = verifier_new(h->loop, h->keyring, &h->verifier);
	if (e == ERR_OK) {
		house_follow_queue(h, s);
		house_say_stranded(h, s);
	}
	return e;
}
