/*
 * options.h - every option there is, one row each.
 *
 * The row is the truth: parsing, ranges, defaults, `config show` and docs/configuration.md are made
 * from it. Defaults are written as an owner would write them and go through the same parser.
 * Values are first read into the structs below, one for each section of the file; what they mean
 * together is checked in config_check.c, what the roles are told is built in config_build.c.
 */
#ifndef APP_OPTIONS_H
#define APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "role/settings.h"

enum option_section {
	SECTION_DOORSTEP,
	SECTION_DOMAIN,
	SECTION_HOMESERVER,
	SECTION_LISTEN,
	SECTION_OUTBOUND,
	SECTION_LIMITS,
	SECTION_POLICY,
	SECTION_OPENWRT, /* for the init script */
	SECTION_ROUTE,   /* reserved */
	SECTION_COUNT
};

enum option_type {
	OPTION_TEXT,           /* const char * */
	OPTION_FLAG,           /* bool */
	OPTION_CHOICE,         /* unsigned, one of words */
	OPTION_WORDS,          /* unsigned, words (parted by blanks) or-ed */
	OPTION_NUMBER,         /* unsigned or uint64_t */
	OPTION_BYTES,          /* ditto */
	OPTION_TIME,           /* ditto, milliseconds */
	OPTION_PORT,           /* unsigned */
	OPTION_IP,             /* struct address, port 0 */
	OPTION_ADDRESS,        /* struct address */
	OPTION_ENDPOINT,       /* struct endpoint */
	OPTION_RANGE,          /* struct cidr */
	OPTION_MAC,            /* struct wol_mac */
	OPTION_SERVER_NAME,    /* const char * */
	OPTION_PATTERN,        /* const char *, a server name or "*.suffix" */
	OPTION_URL,            /* struct url */
	OPTION_HOMESERVER_URL, /* struct url, unix:/path too */
	OPTION_CONTACT,        /* struct contact */
	OPTION_NOTARY,         /* struct server_keys_notary; "none": of no key */
	OPTION_REFERENCE,      /* const char *, name of another section */
	OPTION_FILE,           /* const char *, path */
	OPTION_CREDENTIAL,     /* ditto; its directory is replaced by --credentials */
	OPTION_TYPE_COUNT
};

enum option_flags {
	OPTION_LIST = 1 << 0, /* struct values of the type (OPTION_WORDS: or-ed) */
	OPTION_REQUIRED = 1 << 1,
};

/* The items of a list option. */
struct values {
	void  *at;
	size_t count;
};

struct url {
	const char    *text; /* as written; NULL: not set */
	bool           tls;
	const char    *host; /* lower case, no brackets; "" for a unix socket */
	bool           is_name;
	struct address address; /* unless is_name: with the port */
	uint16_t       port;
	const char    *unix_path; /* NULL: TCP */
};

struct contact {
	struct str role, matrix_id, email;
};

struct main_options {
	bool           enabled;
	const char    *state_dir, *control, *ca_file;
	unsigned       log_level, memory_class;
	struct address dns; /* port 0: not set */
	struct values  allow_range;
};

struct domain_options {
	const char   *server_name, *homeserver, *delegate, *client_extra;
	struct url    client_url, support_page;
	unsigned      expose;
	struct values certificate, key, support_contact;
};

struct homeserver_options {
	struct url     url;
	unsigned       connection_limit;
	bool           repeat_answers;
	bool           sleeps;
	struct wol_mac wake_mac;     /* see config_is_set() */
	struct address wake_address; /* family 0: not set */
	unsigned       wake_on;
	msec           probe_interval, sleep_grace;
	uint64_t       queue_limit;
};

struct listen_options {
	struct address address; /* family 0: not set */
	unsigned       port;
};

struct outbound_options {
	unsigned        mode;
	struct endpoint listen;
	const char     *homeserver, *secret_file;
	unsigned        connection_limit;
};

struct policy_options {
	struct values deny_server, allow_server, invite_server, notary;
	unsigned      invites_from;
};

/* What the service of OpenWrt does around the process; the process itself does not look at it. */
struct openwrt_options {
	bool          jail, open_firewall;
	struct values interface;
};

struct option_word {
	const char *word;
	unsigned    value;
};

enum { MEMORY_CLASSES = 4 }; /* 64, 128, 256, 512 MB */

struct option {
	enum option_section section;
	const char         *name;
	enum option_type    type;
	size_t              at, size; /* the field of the section's struct */
	uint64_t            min, max; /* in the field's unit; strings: longest in bytes, 0: 1024 */
	unsigned            flags;
	const char         *def;                      /* NULL: none */
	const char         *by_class[MEMORY_CLASSES]; /* instead of def */
	const struct option_word *words;              /* ended by a NULL word */
	const char               *help;
};

struct option_section_row {
	const char *name;
	bool        single; /* at most one, made from defaults when absent */
	size_t      size;   /* of its struct */
	const char *help;
};

extern const struct option             option_table[];
extern const size_t                    option_count;
extern const struct option_section_row option_sections[SECTION_COUNT];

/* NULL when there is none of that name. */
const struct option *option_find(enum option_section section, struct str name);

/* 0 for 64, 1 for 128, 2 for 256, 3 for 512. */
unsigned option_class_index(unsigned memory_class);

/* The class of a machine with so much memory (MemTotal, which is less than what is soldered on). */
unsigned option_class_of(uint64_t memory_kb);

#endif
