/*
 * work.h - a job in the thread pool: for what blocks (flushing a store, big computations).
 */
#ifndef LOOP_WORK_H
#define LOOP_WORK_H

#include "loop/loop.h"

struct work;

/* run: in a pool thread; touches only what arg gives it exclusively. done: in the loop. */
typedef void work_run_fn(void *arg);
typedef void work_done_fn(void *arg);

enum err work_start(struct work **slot, struct loop *l, work_run_fn *run, work_done_fn *done,
                    void *arg);

/*
 * A job that runs cannot be stopped: cancel means done will not be called. `forget` (may be NULL) is
 * called from the loop when the job is over, so that arg can be freed.
 */
void work_cancel(struct work **slot, work_done_fn *forget);

#endif
