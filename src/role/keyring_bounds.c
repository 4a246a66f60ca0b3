#include "role/keyring_inside.h"

#include <stdlib.h>

#include "fed/address.h"

#define PAUSE_MIN_MS         MINUTE_MS
#define PAUSE_MAX_MS         HOUR_MS
#define PAUSE_MAX_VOUCHED_MS (5 * MINUTE_MS)

/* ---- what failed ---- */

struct failed *keyring_failed_find(struct keyring *k, struct str name)
{
	uint32_t hash = str_hash(name);

	for (struct link *l = k->failed.prev; l != &k->failed; l = l->prev) {
		struct failed *f = LIST_ENTRY(l, struct failed, link);

		if (f->hash == hash && str_eq(str_span(f->name, f->name_len), name))
			return f;
	}
	return NULL;
}

void keyring_failed_drop(struct keyring *k, struct failed *f)
{
	list_remove(&f->link);
	k->failed_count--;
	k->failed_bytes -= sizeof(*f) + f->name_len;
	free(f);
}

static struct failed *failed_add(struct keyring *k, struct str name)
{
	struct failed *f;

	if (k->failed_count == KEYRING_FAILED_MAX)
		keyring_failed_drop(k, LIST_ENTRY(k->failed.next, struct failed, link));
	f = malloc(sizeof(*f) + name.len);
	if (f == NULL)
		return NULL;
	*f = (struct failed){ .hash = str_hash(name), .name_len = name.len };
	memcpy(f->name, name.ptr, name.len);
	list_push_back(&k->failed, &f->link);
	k->failed_count++;
	k->failed_bytes += sizeof(*f) + name.len;
	return f;
}

/* Each failure in a row doubles the pause. */
void keyring_failed_note(struct keyring *k, struct str name, enum err why)
{
	const struct known *kn = keyring_known_find(k, name);
	bool                vouched = kn != NULL && kn->vouched_unix_ms != 0;
	msec                most = vouched ? PAUSE_MAX_VOUCHED_MS : PAUSE_MAX_MS;
	struct failed      *f = keyring_failed_find(k, name);

	if (f == NULL)
		f = failed_add(k, name);
	if (f == NULL)
		return;
	list_remove(&f->link);
	list_push_back(&k->failed, &f->link);
	f->why = why;
	f->pause_ms = f->pause_ms == 0 ? PAUSE_MIN_MS : f->pause_ms * 2;
	f->pause_ms = f->pause_ms < most ? f->pause_ms : most;
	f->until_at = keyring_now(k) + f->pause_ms;
}

/* ---- clients ---- */

bool keyring_client_prefix(const struct address *client, struct address *out)
{
	if (client == NULL || (client->family != ADDRESS_V4 && client->family != ADDRESS_V6) ||
	    address_check_ip(NULL, client, NULL) != ERR_OK)
		return false;
	*out = *client;
	out->port = 0;
	if (out->family == ADDRESS_V6)
		memset(out->ip + 8, 0, 8);
	return true;
}

static struct client *client_of(struct keyring *k, const struct address *prefix)
{
	struct client *oldest = &k->clients[0], *c;

	for (size_t i = 0; i < k->client_count; i++) {
		c = &k->clients[i];
		if (address_equal(&c->prefix, prefix))
			return c;
		if (c->used_at < oldest->used_at)
			oldest = c;
	}
	c = k->client_count < KEYRING_CLIENTS_MAX ? &k->clients[k->client_count++] : oldest;
	*c = (struct client){ *prefix, 0, keyring_now(k), KEYRING_CLIENT_BURST };
	return c;
}

static void client_fill(struct client *c, msec now)
{
	msec due = (now - c->filled_at) / KEYRING_CLIENT_PACE_MS;

	if (due >= KEYRING_CLIENT_BURST - c->left) {
		c->left = KEYRING_CLIENT_BURST;
		c->filled_at = now;
		return;
	}
	c->left += (unsigned)due;
	c->filled_at += due * KEYRING_CLIENT_PACE_MS;
}

/* One more fetch for this client? */
bool keyring_client_take(struct keyring *k, const struct address *prefix)
{
	struct client *c = client_of(k, prefix);

	c->used_at = keyring_now(k);
	client_fill(c, c->used_at);
	if (c->left == 0)
		return false;
	c->left--;
	return true;
}
