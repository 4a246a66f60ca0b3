/*
 * place.h - what a directory is worth for data that must not be lost.
 */
#ifndef STORE_PLACE_H
#define STORE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { PLACE_PATH_MAX = 1024 };

/* ERR_OK, ERR_LIMIT (no space), ERR_DENIED (not permitted, read-only), ERR_NOMEM, ERR_IO. */
enum err place_err(int number); /* of an errno */

/*
 * Makes path with mode 0700 when it is absent, its parent too, and flushes the directories that changed.
 * errno tells more.
 */
enum err place_make(const char *path);

/* Flushes a directory, so that names made, moved or removed in it stay so. */
enum err place_sync_directory(const char *path);
enum err place_sync_file(const char *path);

/* Flushes the directory that path is in. */
enum err place_sync_parent(const char *path);

/* Replaces path by text, all or nothing, durable. At most 256 bytes. */
enum err place_write(const char *path, const char *text);

/* All of the disk; 0 when the system does not say. */
uint64_t place_size_bytes(const char *path);

/* Space left for us; UINT64_MAX when the system does not say. */
uint64_t place_free_bytes(const char *path);

/*
 * Is it in memory only: tmpfs or ramfs, or an overlay whose upper layer is? (OpenWrt runs on such
 * an overlay while its flash is not usable.) False when it cannot be found out.
 */
bool place_is_volatile(const char *path);

/*
 * What the bytes of path end up on, an overlay's upper layer in its place: "jffs2", "ubifs", "ext4". NULL: something
 * else, or it cannot be found out.
 */
const char *place_file_system(const char *path);

/* ditto, of f_type of statfs(2) */
const char *place_file_system_name(unsigned long magic);

#endif
