#include "store/env.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/env_look.h"
#include "store/place.h"

enum { PATH_MAX_BYTES = 1024, READ_TRIES = 100 };

/*
 * LMDB notes its readers in a file that it maps for writing. When UBIFS has no room left, touching that page
 * ends the process with SIGBUS. So it is told to do without (MDB_NOLOCK), and this stands in for it:
 *
 *   A writer may use pages again that no reader can see who began after the commit before. So it waits, before
 *   it begins, until those who read have ended (`reading`).
 *   A reader may meet a root that is just being written. So it believes only the one that was told to be whole
 *   (`committed`); if it finds another, the commit is at its very end, and it waits for that (`committing`).
 */
struct env {
	MDB_env         *mdb;
	MDB_dbi          dbi;
	size_t           page, map_bytes;
	uint32_t         schema;
	bool             durable;
	int              lock; /* the directory: keeps other processes out; -1 */
	pthread_rwlock_t reading;
	pthread_mutex_t  committing;
	atomic_size_t    committed;            /* number of the latest transaction */
	char             path[PATH_MAX_BYTES]; /* of a durable one */
};

static char         schema_key[] = "\0schema";
static const size_t schema_key_len = sizeof(schema_key) - 1;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
say(struct env_notice *notice, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(notice->text, sizeof(notice->text), format, args);
	va_end(args);
}

static enum err err_of(int rc)
{
	switch (rc) {
	case 0:
		return ERR_OK;
	case MDB_NOTFOUND:
		return ERR_NOT_FOUND;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_LIMIT;
	case ENOMEM:
		return ERR_NOMEM;
	case EINVAL: /* a shared writable mapping on JFFS2 and the like */
	case ENODEV:
		return ERR_UNSUPPORTED;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
		return ERR_SYNTAX; /* what is there makes no sense */
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	default:
		return ERR_IO;
	}
}

/* --- the look before opening --- */

/* Out of the way, but kept for whoever wants to know; an earlier one is replaced. */
static bool move_aside(const char *path, bool durable)
{
	char to[PATH_MAX_BYTES + 16];

	snprintf(to, sizeof(to), "%s.damaged", path);
	for (unsigned n = 2; durable && n < 100 && access(to, F_OK) == 0; n++)
		snprintf(to, sizeof(to), "%s.damaged.%u", path, n);
	if (durable)
		return rename(path, to) == 0 && place_sync_parent(path) == ERR_OK;
	return rename(path, to) == 0 || unlink(path) == 0;
}

static enum err look(const char *data, bool durable, struct env_notice *notice)
{
	int         fd = open(data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const char *damage;

	if (fd < 0)
		return errno == ENOENT ? ERR_OK : err_of(errno);
	damage = env_look(fd);
	close(fd);
	if (damage == NULL)
		return ERR_OK;
	if (!move_aside(data, durable)) {
		say(notice, "%s %s and cannot be moved aside: %s", data, damage, strerror(errno));
		return ERR_IO;
	}
	say(notice, "%s %s: moved aside, starting empty", data, damage);
	return ERR_OK;
}

/* --- opening --- */

static enum err make_directory(const char *path, struct env_notice *notice)
{
	char  parent[PATH_MAX_BYTES];
	char *slash;

	if (strlen(path) >= PATH_MAX_BYTES - 16) {
		say(notice, "path too long: %.200s", path);
		return ERR_IO;
	}
	strcpy(parent, path);
	slash = strrchr(parent, '/');
	if (slash != NULL && slash != parent) {
		*slash = '\0';
		(void)mkdir(parent, 0700); /* fails when it is there: the next one tells */
	}
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return ERR_OK;
	say(notice, "cannot make %s: %s", path, strerror(errno));
	return err_of(errno);
}

/* Not more than half of what is left on the disk, beside what the file has already. */
static size_t fit_to_disk(const char *path, const char *data, size_t wanted, size_t page)
{
	struct statvfs fs;
	struct stat    st;
	uint64_t       have, bytes;

	if (statvfs(path, &fs) != 0)
		return wanted;
	have = stat(data, &st) == 0 ? (uint64_t)st.st_size : 0;
	bytes = have + (uint64_t)fs.f_bavail * fs.f_frsize / 2;
	if (bytes > wanted)
		bytes = wanted;
	if (bytes < have)
		bytes = have; /* LMDB would raise it anyway */
	return (size_t)(bytes / page * page);
}

/* Only for who writes. */
static int publish(struct env *e)
{
	MDB_txn *txn;
	int      rc = mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	atomic_store(&e->committed, mdb_txn_id(txn));
	mdb_txn_abort(txn);
	return 0;
}

static enum err start(struct env *e, const char *path)
{
	MDB_txn *txn = NULL;
	unsigned flags = MDB_NOTLS | MDB_NOLOCK | MDB_NORDAHEAD | (e->durable ? 0 : MDB_NOMETASYNC);
	int      rc = mdb_env_create(&e->mdb);

	if (rc == 0)
		rc = mdb_env_set_mapsize(e->mdb, e->map_bytes);
	if (rc == 0)
		rc = mdb_env_open(e->mdb, path, flags, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &txn);
	if (rc == 0)
		rc = mdb_dbi_open(txn, NULL, 0, &e->dbi);
	if (rc == 0)
		rc = mdb_txn_commit(txn); /* keeps the handle */
	else if (txn != NULL)
		mdb_txn_abort(txn);
	if (rc == 0)
		rc = publish(e);
	return err_of(rc);
}

static void stop(struct env *e)
{
	if (e->mdb != NULL)
		mdb_env_close(e->mdb);
	e->mdb = NULL;
}

/*
 * LMDB refuses everything once it could not write a root: it does not know any more which one is on the disk.
 * Opening anew finds out. (A cache is read by others meanwhile; it does without until the next start.)
 */
static int begin(struct env *e, unsigned flags, MDB_txn **txn)
{
	int rc = e->mdb == NULL ? MDB_PANIC : mdb_txn_begin(e->mdb, NULL, flags, txn);

	if (rc != MDB_PANIC || !e->durable)
		return rc;
	stop(e);
	if (start(e, e->path) != ERR_OK) {
		stop(e);
		return MDB_PANIC;
	}
	return mdb_txn_begin(e->mdb, NULL, flags, txn);
}

static int begin_writing(struct env *e, MDB_txn **txn)
{
	pthread_rwlock_wrlock(&e->reading); /* those who read have ended */
	pthread_rwlock_unlock(&e->reading);
	return begin(e, 0, txn);
}

static int commit(struct env *e, MDB_txn *txn)
{
	int rc, published;

	pthread_mutex_lock(&e->committing);
	rc = mdb_txn_commit(txn);
	published = publish(e);
	pthread_mutex_unlock(&e->committing);
	return rc != 0 || published == MDB_PANIC ? rc : published;
}

static int begin_reading(struct env *e, MDB_txn **txn)
{
	int rc;

	pthread_rwlock_rdlock(&e->reading);
	for (unsigned tries = 0; (rc = begin(e, MDB_RDONLY, txn)) == 0; tries++) {
		if (mdb_txn_id(*txn) == atomic_load(&e->committed))
			return 0;
		mdb_txn_abort(*txn);
		if (tries == READ_TRIES) {
			rc = EAGAIN;
			break;
		}
		pthread_mutex_lock(&e->committing);
		pthread_mutex_unlock(&e->committing);
	}
	pthread_rwlock_unlock(&e->reading);
	return rc;
}

static void end_reading(struct env *e, MDB_txn *txn)
{
	mdb_txn_abort(txn);
	pthread_rwlock_unlock(&e->reading);
}

static uint32_t schema_of(const char bytes[4])
{
	const unsigned char *b = (const unsigned char *)bytes;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static enum err put_schema(struct env *e)
{
	uint32_t s = e->schema;
	char     bytes[4] = { (char)(s >> 24), (char)(s >> 16), (char)(s >> 8), (char)s };
	MDB_val  key = { schema_key_len, schema_key }, value = { sizeof(bytes), bytes };
	MDB_txn *txn;
	int      rc = begin_writing(e, &txn);

	if (rc != 0)
		return err_of(rc);
	rc = mdb_put(txn, e->dbi, &key, &value, 0);
	if (rc == 0)
		return err_of(commit(e, txn));
	mdb_txn_abort(txn);
	return err_of(rc);
}

static enum err check_schema(struct env *e, const struct env_options *o, struct env_notice *notice)
{
	char     bytes[4];
	size_t   len;
	uint32_t found;
	enum err err = env_get(e, str_span(schema_key, schema_key_len), bytes, sizeof(bytes), &len);

	if (err == ERR_NOT_FOUND)
		return put_schema(e);
	if (err != ERR_OK || len != sizeof(bytes))
		return err == ERR_OK ? ERR_SYNTAX : err;
	found = schema_of(bytes);
	if (found == o->schema)
		return ERR_OK;
	if (found < o->schema && o->durable) {
		say(notice,
		    "%s was written by an older doorstep (schema %u, this one knows %u); it is left alone",
		    o->path, (unsigned)found, (unsigned)o->schema);
		return ERR_UNSUPPORTED;
	}
	if (found > o->schema) {
		say(notice,
		    "%s was written by a newer doorstep (schema %u, this one knows %u); it is left alone",
		    o->path, (unsigned)found, (unsigned)o->schema);
		return ERR_UNSUPPORTED;
	}
	say(notice, "%s is of an older doorstep (schema %u): emptied", o->path, (unsigned)found);
	return env_empty(e);
}

/* What is wrong in a file that looked well: once aside, once more from the start. */
static enum err start_afresh(struct env *e, const struct env_options *o, const char *data,
                             enum err why, struct env_notice *notice)
{
	enum err err;

	stop(e);
	if ((why != ERR_SYNTAX && (why != ERR_IO || e->durable)) || access(data, F_OK) != 0 ||
	    !move_aside(data, e->durable))
		return why;
	say(notice, "%s cannot be used (%s): moved aside, starting empty", data, err_slug(why));
	err = start(e, o->path);
	return err == ERR_OK ? put_schema(e) : err;
}

static void explain(const struct env_options *o, enum err err, struct env_notice *notice)
{
	if (notice->text[0] != '\0')
		return;
	if (err == ERR_UNSUPPORTED)
		say(notice, "%s: this file system has no shared writable mappings (JFFS2 has none)",
		    o->path);
	else
		say(notice, "%s cannot be opened: %s", o->path, err_slug(err));
}

/* LMDB flushes neither the first pages of a new file nor its name. */
static enum err settle_down(const char *path, const char *data, struct env_notice *notice)
{
	enum err err = place_sync_file(data);

	if (err == ERR_OK)
		err = place_sync_directory(path);
	if (err == ERR_OK)
		err = place_sync_parent(path);
	if (err != ERR_OK)
		say(notice, "%s cannot be flushed: %s", path, strerror(errno));
	return err;
}

static enum err lock_directory(struct env *e, const char *path, struct env_notice *notice)
{
	e->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (e->lock >= 0 && flock(e->lock, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	say(notice, "%s %s", path,
	    errno == EWOULDBLOCK ? "is used by another doorstep" : strerror(errno));
	return errno == EWOULDBLOCK ? ERR_BUSY : err_of(errno);
}

static enum err open_in(struct env *e, const struct env_options *o, struct env_notice *notice)
{
	char     data[PATH_MAX_BYTES];
	enum err err = make_directory(o->path, notice);

	if (err == ERR_OK)
		err = lock_directory(e, o->path, notice);
	if (err != ERR_OK)
		return err;
	snprintf(data, sizeof(data), "%s/data.mdb", o->path);
	err = look(data, o->durable, notice);
	if (err != ERR_OK)
		return err;
	e->map_bytes = fit_to_disk(o->path, data, o->bytes, e->page);
	if (e->map_bytes < ENV_BYTES_MIN) {
		say(notice, "%s: not enough space left on the device", o->path);
		return ERR_LIMIT;
	}
	err = start(e, o->path);
	if (err == ERR_OK)
		err = check_schema(e, o, notice);
	if (err != ERR_OK)
		err = start_afresh(e, o, data, err, notice);
	return err == ERR_OK && o->durable ? settle_down(o->path, data, notice) : err;
}

enum err env_open(const struct env_options *o, struct env **out, struct env_notice *notice)
{
	struct env *e = calloc(1, sizeof(*e));
	long        page = sysconf(_SC_PAGESIZE);
	enum err    err = ERR_NOMEM;

	notice->text[0] = '\0';
	if (e != NULL) {
		e->schema = o->schema;
		e->durable = o->durable;
		e->lock = -1;
		pthread_rwlock_init(&e->reading, NULL);
		pthread_mutex_init(&e->committing, NULL);
		snprintf(e->path, sizeof(e->path), "%s", o->path);
		e->page = page > 0 ? (size_t)page : 4096;
		err = open_in(e, o, notice);
	}
	if (err == ERR_OK) {
		*out = e;
		return ERR_OK;
	}
	explain(o, err, notice);
	env_close(e);
	return err;
}

void env_close(struct env *e)
{
	if (e == NULL)
		return;
	if (e->mdb != NULL)
		mdb_env_sync(e->mdb, 1);
	stop(e);
	if (e->lock >= 0)
		close(e->lock);
	pthread_rwlock_destroy(&e->reading);
	pthread_mutex_destroy(&e->committing);
	free(e);
}

/* --- reading --- */

static MDB_val val_of(struct str s)
{
	return (MDB_val){ s.len, (void *)(uintptr_t)s.ptr }; /* LMDB only reads it */
}

enum err env_get(struct env *e, struct str key, void *room, size_t size, size_t *len)
{
	MDB_val  k = val_of(key), v;
	MDB_txn *txn;
	int      rc = begin_reading(e, &txn);

	if (rc != 0)
		return err_of(rc);
	rc = mdb_get(txn, e->dbi, &k, &v);
	if (rc == 0) {
		*len = v.mv_size;
		if (v.mv_size <= size)
			memcpy(room, v.mv_data, v.mv_size);
	}
	end_reading(e, txn);
	if (rc == 0 && *len > size)
		return ERR_TOO_LARGE;
	return err_of(rc);
}

/* Places the cursor at the first entry behind `after` that is the caller's, not ours. */
static int first_behind(MDB_cursor *c, struct str after, MDB_val *k, MDB_val *v)
{
	static char ours_end[] = "\1";
	int         rc;

	*k = after.len == 0 ? (MDB_val){ 1, ours_end } : val_of(after);
	rc = mdb_cursor_get(c, k, v, MDB_SET_RANGE);
	if (rc == 0 && after.len > 0 && str_eq(str_span(k->mv_data, k->mv_size), after))
		rc = mdb_cursor_get(c, k, v, MDB_NEXT);
	return rc;
}

enum err env_walk(struct env *e, struct str after, env_entry_fn *fn, void *arg)
{
	MDB_cursor *c;
	MDB_txn    *txn;
	MDB_val     k, v;
	int         rc = begin_reading(e, &txn);

	if (rc != 0)
		return err_of(rc);
	rc = mdb_cursor_open(txn, e->dbi, &c);
	if (rc == 0) {
		rc = first_behind(c, after, &k, &v);
		while (rc == 0 &&
		       fn(arg, str_span(k.mv_data, k.mv_size), str_span(v.mv_data, v.mv_size)))
			rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
		mdb_cursor_close(c);
	}
	end_reading(e, txn);
	return rc == MDB_NOTFOUND ? ERR_OK : err_of(rc);
}

/* Pages that LMDB holds for reuse: its own list is database 0, each value begins with a count. */
static int count_free_pages(MDB_txn *txn, size_t *free_pages)
{
	MDB_cursor *c;
	MDB_val     k, v;
	size_t      n;
	int         rc = mdb_cursor_open(txn, 0, &c);

	if (rc != 0)
		return rc;
	*free_pages = 0;
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0)
		if (v.mv_size >= sizeof(n)) {
			memcpy(&n, v.mv_data, sizeof(n));
			*free_pages += n;
		}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

enum err env_usage(struct env *e, struct env_usage *out)
{
	MDB_envinfo info;
	MDB_stat    stat;
	MDB_txn    *txn;
	size_t      free_pages = 0;
	int         rc = begin_reading(e, &txn);

	if (rc != 0)
		return err_of(rc);
	rc = mdb_stat(txn, e->dbi, &stat);
	if (rc == 0)
		rc = count_free_pages(txn, &free_pages);
	end_reading(e, txn);
	if (rc != 0)
		return err_of(rc);
	mdb_env_info(e->mdb, &info);
	*out = (struct env_usage){
		.entries = stat.ms_entries > 0 ? stat.ms_entries - 1 : 0, /* the schema is ours */
		.used_bytes = ((uint64_t)info.me_last_pgno + 1 - free_pages) * stat.ms_psize,
		.limit_bytes = (uint64_t)e->map_bytes / 5 * 4,
	};
	return ERR_OK;
}

/* --- writing --- */

static enum err has_room(struct env *e, const struct env_change *changes, size_t count)
{
	struct env_usage usage;
	uint64_t         more = 0;
	enum err         err = env_usage(e, &usage);

	for (size_t i = 0; i < count; i++)
		more += changes[i].remove ? 0 : changes[i].key.len + changes[i].value.len;
	if (err == ERR_OK && more > 0 && usage.used_bytes + more > usage.limit_bytes)
		return ERR_LIMIT;
	return err;
}

static int apply_one(struct env *e, MDB_txn *txn, const struct env_change *change)
{
	MDB_val k = val_of(change->key), v = val_of(change->value);
	int     rc;

	if (!change->remove)
		return mdb_put(txn, e->dbi, &k, &v, 0);
	rc = mdb_del(txn, e->dbi, &k, NULL);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static enum err apply(struct env *e, const struct env_change *changes, size_t count)
{
	MDB_txn *txn;
	int      rc = begin_writing(e, &txn);

	if (rc != 0)
		return err_of(rc);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = apply_one(e, txn, &changes[i]);
	if (rc == 0)
		return err_of(commit(e, txn));
	mdb_txn_abort(txn);
	return err_of(rc);
}

enum err env_apply(struct env *e, const struct env_change *changes, size_t count)
{
	enum err err = has_room(e, changes, count);

	return err == ERR_OK ? env_apply_settling(e, changes, count) : err;
}

enum err env_apply_settling(struct env *e, const struct env_change *changes, size_t count)
{
	enum err err = apply(e, changes, count);

	if (err != ERR_LIMIT)
		return err;
	/* pages that the latest commit set free can be used after one more: so make one */
	err = put_schema(e);
	return err == ERR_OK ? apply(e, changes, count) : err;
}

enum err env_empty(struct env *e)
{
	MDB_txn *txn;
	int      rc = begin_writing(e, &txn);

	if (rc != 0)
		return err_of(rc);
	rc = mdb_drop(txn, e->dbi, 0);
	if (rc == 0)
		rc = commit(e, txn);
	else
		mdb_txn_abort(txn);
	return rc == 0 ? put_schema(e) : err_of(rc);
}
