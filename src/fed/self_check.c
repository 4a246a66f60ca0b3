#include "fed/self_check.h"

static const struct {
	const char *range;
	enum reach  reach;
} rows[] = {
	/* the first one that fits */
	{ "0.0.0.0/8", REACH_NOBODY },      { "127.0.0.0/8", REACH_NOBODY },
	{ "169.254.0.0/16", REACH_NOBODY }, { "10.0.0.0/8", REACH_PRIVATE },
	{ "172.16.0.0/12", REACH_PRIVATE }, { "192.168.0.0/16", REACH_PRIVATE },
	{ "100.64.0.0/10", REACH_SHARED },  { "192.0.0.0/29", REACH_DSLITE },
	{ "224.0.0.0/4", REACH_NOBODY },    { "240.0.0.0/4", REACH_NOBODY },
	{ "0.0.0.0/0", REACH_PUBLIC },      { "fc00::/7", REACH_PRIVATE },
	{ "2000::/3", REACH_PUBLIC },
};

enum reach self_check_reach(const struct address *a)
{
	struct cidr r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (address_parse_cidr(str_of(rows[i].range), &r) == ERR_OK &&
		    r.base.family == a->family && address_in_cidr(a, &r))
			return rows[i].reach;
	return REACH_NOBODY;
}

/* The first address of that family and reach. */
static const struct address *find(const struct address *list, size_t count,
                                  enum address_family family, enum reach reach)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].family == family && self_check_reach(&list[i]) == reach)
			return &list[i];
	return NULL;
}

struct line self_check_line(const struct address *wan, size_t wan_count, const struct address *own,
                            size_t own_count)
{
	static const struct {
		enum reach     reach;
		enum line_kind kind;
	} order[] = {
		{ REACH_PUBLIC, LINE_PUBLIC },
		{ REACH_SHARED, LINE_SHARED },
		{ REACH_DSLITE, LINE_DSLITE },
		{ REACH_PRIVATE, LINE_NAT },
	};
	struct line line = { .kind = LINE_NONE };

	line.has_public_v6 = find(own, own_count, ADDRESS_V6, REACH_PUBLIC) != NULL;
	if (line.has_public_v6)
		line.kind = LINE_V6_ONLY;
	if (wan_count == 0) {
		wan = own;
		wan_count = own_count;
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const struct address *a = find(wan, wan_count, ADDRESS_V4, order[i].reach);

		if (a == NULL)
			continue;
		line.kind = order[i].kind;
		line.v4 = *a;
		break;
	}
	return line;
}

static bool is_own(const struct address *a, const struct address *own, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (address_same_ip(a, &own[i]))
			return true;
	return false;
}

struct name_look self_check_name(const struct address *answers, size_t count,
                                 const struct address *own, size_t own_count)
{
	struct name_look look = { .kind = NAME_ABSENT };
	size_t           here = 0, hidden = 0;

	for (size_t i = 0; i < count; i++) {
		if (is_own(&answers[i], own, own_count)) {
			here++;
			continue;
		}
		hidden += self_check_reach(&answers[i]) != REACH_PUBLIC;
		if (look.stray.family == 0)
			look.stray = answers[i];
	}
	if (count == 0)
		return look;
	look.kind = here == count ? NAME_HERE
		: here > 0        ? NAME_MIXED
		: hidden == count ? NAME_PRIVATE
				  : NAME_ELSEWHERE;
	return look;
}

bool self_check_clock_is_set(uint64_t unix_ms)
{
	return unix_ms >= 1735689600000u;
}
