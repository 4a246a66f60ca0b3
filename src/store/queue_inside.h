/*
 * queue_inside.h - what queue.c (operations and their order), queue_group.c (what goes into a
 * commit and what comes of it), queue_read.c (reading items back) and queue_look.c (what there is,
 * without the disk) share.
 *
 * An operation is on one list: puts, settles or reads while it waits, the job's list while the job works
 * on it, finished until its owner was told. A put whose body takes several commits stays in puts.
 */
#ifndef STORE_QUEUE_INSIDE_H
#define STORE_QUEUE_INSIDE_H

#include "base/list.h"
#include "loop/work.h"
#include "store/queue_store.h"

enum op_kind { OP_PUT, OP_READ, OP_SETTLE };
enum op_state { OP_WAITING, OP_IN_JOB, OP_FINISHED };

struct op {
	struct link   link;
	enum op_kind  kind;
	enum op_state state;
	enum err      result;
	struct queue *q;
};

struct queue_put {
	struct op           op;
	struct queue_put  **slot; /* NULL: nobody wants to know */
	queue_put_done_fn  *done;
	void               *arg;
	struct queue_lane  *lane; /* held; counts us as pending */
	bool                known;
	bool                abandoned; /* cancelled between its commits */
	bool                publishes; /* the job makes it an item */
	struct queue_entry *entry;     /* to be, charged; NULL: not looked at yet */
	struct queue_entry *replaces;  /* while the job runs */
	struct queue_mark   id_mark, body_mark;
	uint64_t            at_unix_ms, body;
	size_t              record_len, body_len, block_len;
	size_t              parts, parts_written, parts_in_job;
	char               *block; /* the record, then the parts, each with room in front */
};

struct queue_read {
	struct op            op;
	struct queue_read  **slot;
	queue_read_done_fn  *done;
	void                *arg;
	bool                 shows; /* only for showing */
	uint64_t             sequence;
	struct queue_address at; /* the job's */
	struct queue_item   *item;
};

struct queue_settle {
	struct op             op;
	struct queue_settle **slot;
	queue_settle_done_fn *done;
	void                 *arg;
	uint64_t              sequence;
	enum queue_verdict    verdict;
	char                  reason[QUEUE_REASON_MAX];
	size_t                reason_len;
	char                  record[QUEUE_RECORD_SEEN_MAX];
};

/* Parts of a body that will not become an item. */
struct leftover {
	struct link link;
	uint64_t    body;
	size_t      parts;
};

enum { STATES_MAX = 16, FORGET_MAX = 16 };

enum job_kind { JOB_COMMIT, JOB_READ, JOB_TIDY };

/* There is one at a time. The job's thread reads all of it and writes the results. */
struct job {
	enum job_kind       kind;
	struct link         ops; /* settles and puts that end with it, or reads */
	struct link         leftovers;
	struct queue_change changes[QUEUE_CHANGES_MAX];
	size_t count, settling; /* the first ones make room; the others are new items */
	size_t bytes;
	struct queue_entry *states[STATES_MAX], *forgotten[FORGET_MAX];
	size_t              state_count, forgotten_count;
	char                state_records[STATES_MAX][QUEUE_RECORD_STATE_MAX];
	char                meta[QUEUE_RECORD_META_BYTES];
	enum err            settle_result, put_result;
	bool                more; /* of housekeeping */
	uint64_t            disk_used, disk_max;
};

struct queue {
	struct loop         *loop;
	struct queue_options o; /* with numbers instead of zeros; state_dir is not kept */
	struct queue_store   store;
	struct soon          kick;
	struct link          puts, settles, reads, finished, leftovers;
	struct work         *work;
	struct job           job;
	uint64_t             group; /* number of the commit that is put together */
	enum job_kind        last;
	unsigned             commits_since_tidy;
	bool                 tidy_due;
	size_t               due_count; /* entries with state_due */
	size_t               pending_bytes;
	unsigned             delivering;
	bool                 running; /* the job */
	bool                 closing, failing;
	msec                 complained_at; /* 0: never */
	struct queue_counts  counts;        /* what cannot be counted anew */
};

/* Puts together what waits. True: there is something to commit. Some operations may be finished. */
bool queue_group_build(struct queue *q);
void queue_group_run(struct queue *q);  /* in the job */
void queue_group_done(struct queue *q); /* results into memory; operations are finished */

/* Only what nobody waits for, at the end: verdicts, tries, pieces of no use. */
bool queue_group_build_last(struct queue *q);

/* Which items to read, as they are now; those that are gone are told so. True: there is a job. */
bool queue_reads_gather(struct queue *q);
void queue_reads_run(struct queue *q);  /* in the job */
void queue_reads_done(struct queue *q); /* finished, or to be read again */
void queue_read_deliver(struct queue_read *r);

void queue_info_of(const struct queue_entry *en, struct queue_info *out);

void queue_finish(struct op *op, enum err result); /* from any list to finished */
void queue_set_due(struct queue *q, struct queue_entry *en, bool due);
void queue_put_free(struct queue_put *p); /* charge and all; off its list */

#endif
