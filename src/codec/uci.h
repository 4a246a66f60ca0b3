/*
 * uci.h - the text form of OpenWrt's Unified Configuration Interface, as libuci reads it.
 *
 * Source: the file back end of libuci (git.openwrt.org/project/uci.git, file.c); there is no other
 * specification. What libuci accepts is read the same here, oddities included: `;` behind a bare
 * word swallows the rest of the line, a keyword ends at a blank or a TAB only, an option with an
 * empty value changes nothing. One difference: a NUL byte is refused, libuci glues lines there.
 *
 * Pure. The result lives in the caller's arena; names and values are slices of a copy of the text
 * and therefore not terminated. Lines and columns count from 1, columns in bytes.
 */
#ifndef CODEC_UCI_H
#define CODEC_UCI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct uci_place {
	unsigned line, column;
};

struct uci_value {
	struct uci_value *next;
	struct str        text;
	struct uci_place  place; /* where the text begins, its quote included */
};

struct uci_option {
	struct uci_option *next;
	struct str         name;
	struct uci_place   place;
	bool               is_list;
	struct uci_value  *first, *last; /* at least one; exactly one unless is_list */
};

struct uci_section {
	struct uci_section *next;
	struct str          type;
	struct str          name;  /* empty: anonymous */
	size_t              index; /* among all sections of this type: `@type[index]` */
	struct uci_place    place; /* of the type, where it was first met */
	struct uci_option  *first, *last;
};

struct uci {
	struct uci_section *first, *last;
};

enum uci_mode {
	UCI_STRICT,  /* the first error ends reading: libuci's default */
	UCI_LENIENT, /* `uci -S`: lines in error are left out, surplus words ignored */
};

struct uci_fault {
	struct uci_place place;
	const char      *reason; /* static text, libuci's words */
};

/*
 * Reads a file or what `uci export` prints for one package.
 *   arena  takes a copy of text and a node for each section, option and value
 *   out    set on ERR_OK; sections and options in the order of their first mention
 *   fault  set on ERR_SYNTAX (and cleared otherwise): the first error
 * ERR_SYNTAX: strict mode only.  ERR_NOMEM: the arena's budget is spent.
 */
enum err uci_parse(struct str text, enum uci_mode mode, struct arena *arena, struct uci *out,
                   struct uci_fault *fault);

/* NULL when there is none. */
const struct uci_option *uci_option(const struct uci_section *s, const char *name);

#endif
