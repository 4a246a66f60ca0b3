"""Builds the store with one thing forgotten at a time: the suite must notice each of them.

A mutant is a text in a source and what stands there instead. A text that is not found exactly once is an
error: then the source has moved on and the mutant has to follow.
"""

import json
import os
import shlex
import subprocess

BOTH = ("lmdb", "journal")

MUTANTS = [
    # name, backends that must notice, file, text, instead
    ("lmdb flushes nothing (MDB_NOSYNC)", ("lmdb",), "env.c",
     "(e->durable ? 0 : MDB_NOMETASYNC)", "MDB_NOSYNC"),
    ("lmdb does not flush its root (MDB_NOMETASYNC)", ("lmdb",), "env.c",
     "(e->durable ? 0 : MDB_NOMETASYNC)", "MDB_NOMETASYNC"),
    ("lmdb's new files are not flushed", ("lmdb",), "env.c",
     "return err == ERR_OK && o->durable ? settle_down(o->path, data, notice) : err;",
     "return err;"),
    ("directories are never flushed", BOTH, "place.c",
     "return sync_path(path, O_DIRECTORY);", "return path == NULL ? ERR_IO : ERR_OK;"),
    ("acknowledged before the commit", BOTH, "queue.c",
     "	*slot = p;\n	soon_call(&q->kick);\n	return ERR_OK;",
     "	p->slot = NULL;\n	*slot = NULL;\n	soon_call(&q->kick);\n	done(arg, ERR_OK);\n	return ERR_OK;"),
    ("a failed commit is acknowledged", BOTH, "queue_group.c",
     "	if (q->job.put_result == ERR_OK)\n		publish(q, p);\n	queue_finish(&p->op, to_be_told(q->job.put_result));",
     "	publish(q, p);\n	queue_finish(&p->op, ERR_OK);"),
    ("deleted when it is read, not when it is delivered", BOTH, "queue_read.c",
     "	r->op.kind = OP_READ;\n",
     "	r->op.kind = OP_READ;\n	static struct queue_settle *gone;\n"
     "	queue_settle_start(&gone, q, en->sequence, QUEUE_DELIVERED, STRL(\"\"), NULL, NULL);\n"),
    ("a verdict is acknowledged, not written", BOTH, "queue_group.c",
     "	remove_record(&q->job, QUEUE_RECORD_ITEM, en->sequence);\n", ""),
    ("an item is published before its body", BOTH, "queue_group.c",
     "all = take_parts(&q->job, p) && take_item(q, p);",
     "all = take_item(q, p) && take_parts(&q->job, p);"),
    ("what was replaced loses its body too early", BOTH, "queue_group.c",
     "	if (p->parts > 0) {\n		p->body = q->store.next_sequence++;",
     "	struct queue_entry *old;\n	(void)find_same(q, p, &old);\n"
     "	if (old != NULL && nobody_was_given(old))\n"
     "		remove_parts(&q->job, old->body, queue_record_parts(old->body_len));\n"
     "	if (p->parts > 0) {\n		p->body = q->store.next_sequence++;"),
    ("the journal does not flush", ("journal",), "queue_journal.c",
     "if (e == ERR_OK && fdatasync(j->fd) != 0)", "if (e == ERR_OK && j->fd < 0)"),
    ("a flush that failed is taken for a success", ("journal",), "queue_journal.c",
     "	if (e == ERR_OK && fdatasync(j->fd) != 0)\n		e = place_err(errno);",
     "	if (e == ERR_OK && fdatasync(j->fd) != 0)\n		e = ERR_OK;"),
    ("a new segment's head is not flushed", ("journal",), "queue_journal.c",
     "return e == ERR_OK && fsync(fd) != 0 ? place_err(errno) : e;", "return e;"),
    ("a new segment's name is not flushed", ("journal",), "queue_journal.c",
     "	if (e == ERR_OK)\n		e = place_sync_directory(j->path);\n	if (e == ERR_OK)\n		return ERR_OK;",
     "	if (e == ERR_OK)\n		return ERR_OK;"),
    ("the oldest segment goes before its records have moved", ("journal",), "queue_journal.c",
     "if (j->segments[0].live > 0 && move_oldest(j) != ERR_OK)",
     "if (j->segments[0].live > 0)\n		journal_places_give_up(j, &j->segments[0]);\n	if (false && move_oldest(j) != ERR_OK)"),
    ("writing goes on where a write failed", ("journal",), "queue_journal.c",
     "	stop_writing(j);\n	return e;\n}\n\n/* Its places", "	return e;\n}\n\n/* Its places"),
    ("the torn end is taken for data", ("journal",), "queue_segment.c",
     "return is_whole && is_complete ? end : before;", "return end;"),
    ("checksums are not looked at", ("journal",), "queue_segment.c",
     "sum != sum_of(scan->salt, scan->bytes.ptr + at, rest_len)", "sum == sum + 1"),
]


def commands(build, target):
    out = subprocess.run(["ninja", "-C", build, "-t", "commands", target], check=True,
                         capture_output=True, text=True).stdout
    return out.splitlines()


def build_mutant(root, build, where, mutant):
    """The path of a driver with the mutation in it."""
    name, _, file, text, instead = mutant
    source = os.path.join(root, "src/store", file)
    with open(source, encoding="utf-8") as f:
        code = f.read()
    if code.count(text) != 1:
        raise SystemExit(f"mutant '{name}': its text is {code.count(text)} times in {file}")
    mutated = os.path.join(where, file)
    with open(mutated, "w", encoding="utf-8") as f:
        f.write(code.replace(text, instead))
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        command = next(c["command"] for c in json.load(f) if c["file"] == source)
    words = shlex.split(command)
    words[words.index("-o") + 1] = mutated + ".o"
    words[words.index("-c") + 1] = mutated
    words = [w for w in words if w != "-Werror"] + ["-w"]
    subprocess.run(words, cwd=build, check=True)
    link = shlex.split(next(c for c in reversed(commands(build, "tests/queue_driver"))
                            if "-o tests/queue_driver" in c))
    link = link[link.index("&&") + 1:] if "&&" in link[:3] else link
    link = link[:link.index("&&")] if "&&" in link else link
    at = link.index("-o")
    driver = os.path.join(where, "queue_driver")
    link[at + 1] = driver
    link.insert(at, mutated + ".o")
    subprocess.run(link, cwd=build, check=True)
    return driver
