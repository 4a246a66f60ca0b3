/*
 * env_look.h - a look at a data file of LMDB 0.9 before it is opened.
 *
 * LMDB trusts its file: a wrong number in it makes the process read or write anywhere, or die of SIGBUS
 * or an assertion. So everything that LMDB will follow is followed here first, by reading, not mapping: both
 * heads, every page of both trees (what is stored, what is free), the order of keys, the number of entries,
 * that no page is used twice or used and free. Values are the caller's to check.
 *
 * The layout is that of the machine's word size and byte order; a file of another machine has no
 * valid head.
 */
#ifndef STORE_ENV_LOOK_H
#define STORE_ENV_LOOK_H

/* NULL: fine, or nothing there yet (empty). Otherwise what is wrong: "has no valid head". */
const char *env_look(int fd);

#endif
