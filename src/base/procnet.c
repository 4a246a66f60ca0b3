#include "base/procnet.h"

#include <string.h>

enum { STATE_LISTEN = 0x0a, ROUTE_UP = 1 };

/* The next word, parted by blanks and tabs. */
static struct str next_word(struct str *rest)
{
	struct str word;

	while (rest->len > 0 && (rest->ptr[0] == ' ' || rest->ptr[0] == '\t'))
		*rest = str_from(*rest, 1);
	word = *rest;
	for (size_t i = 0; i < rest->len; i++)
		if (rest->ptr[i] == ' ' || rest->ptr[i] == '\t' || rest->ptr[i] == '\n') {
			word = str_head(*rest, i);
			break;
		}
	*rest = str_from(*rest, word.len);
	return word;
}

/* At most eight digits, all of the text. */
static bool hex_word(struct str s, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < s.len; i++) {
		int d = str_hex_digit(s.ptr[i]);

		if (d < 0)
			return false;
		*out = *out << 4 | (uint32_t)d;
	}
	return s.len > 0 && s.len <= 8;
}

static bool read_local(struct str word, struct address *out)
{
	size_t   colon = str_find(word, ':'), words = colon / 8;
	uint32_t part, port;

	if (colon == word.len || (colon != 8 && colon != 32) ||
	    !hex_word(str_from(word, colon + 1), &port) || port > 65535)
		return false;
	*out = (struct address){ colon == 8 ? ADDRESS_V4 : ADDRESS_V6, { 0 }, (uint16_t)port };
	for (size_t i = 0; i < words; i++) {
		if (!hex_word(str_head(str_from(word, i * 8), 8), &part))
			return false;
		memcpy(out->ip + 4 * i, &part, 4); /* printed as a word of this machine */
	}
	return true;
}

bool procnet_listener(struct str line, struct procnet_listener *out)
{
	struct str rest = line, local;
	uint32_t   state;

	(void)next_word(&rest); /* sl */
	local = next_word(&rest);
	(void)next_word(&rest); /* remote */
	if (!hex_word(next_word(&rest), &state) || state != STATE_LISTEN ||
	    !read_local(local, &out->at))
		return false;
	for (int i = 0; i < 5; i++) /* queues, timer, retransmits, user, timeout */
		(void)next_word(&rest);
	return str_to_u64(next_word(&rest), UINT64_MAX, &out->inode);
}

bool procnet_default_route(struct str line, struct procnet_route *out)
{
	struct str rest = line, name = next_word(&rest), to = next_word(&rest), mask, metric;
	uint32_t   destination, flags, bits;
	uint64_t   n;

	(void)next_word(&rest); /* gateway */
	if (!hex_word(next_word(&rest), &flags) || (flags & ROUTE_UP) == 0)
		return false;
	(void)next_word(&rest); /* references */
	(void)next_word(&rest); /* use */
	metric = next_word(&rest);
	mask = next_word(&rest);
	if (!hex_word(to, &destination) || destination != 0 || !hex_word(mask, &bits) ||
	    bits != 0 || !str_to_u64(metric, UINT32_MAX, &n))
		return false;
	out->metric = (uint32_t)n;
	return str_copy(name, out->interface, sizeof(out->interface));
}
