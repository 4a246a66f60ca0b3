/*
 * queue_fill STATE_DIR BYTES...: puts a delivery with a body of so many bytes for each number into the queue.
 * queue_fill --hold MS STATE_DIR: has the queue open for so long; STATE_DIR/held is there meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/matrix/signing.h"
#include "store/queue.h"

static struct loop  *loop;
static struct queue *q;

static void on_put(void *arg, enum err e)
{
	*(enum err *)arg = e;
	loop_stop(loop);
}

static enum err put(unsigned number, size_t size)
{
	char             *body = malloc(size + 1), id[16];
	struct queue_put *slot = NULL;
	enum err          e = ERR_BUSY;
	struct queue_item item = { .server_name = STR("example.org"),
		                   .origin = STR("remote.example"),
		                   .method = STR("PUT"),
		                   .target = STR("/_matrix/federation/v1/send/1"),
		                   .authorization = STR("X-Matrix origin=\"remote.example\"\n"),
		                   .content_type = STR("application/json"),
		                   .peer = address_v4(192, 0, 2, 7, 41234),
		                   .at_unix_ms = loop_unix_ms(loop) };

	if (body == NULL)
		return ERR_NOMEM;
	snprintf(id, sizeof(id), "%u", number);
	item.transaction_id = str_of(id);
	memset(body, 'x', size);
	item.body = str_span(body, size);
	signing_sha256(item.body, item.body_hash);
	if (queue_put_start(&slot, q, &item, true, on_put, &e) == ERR_OK)
		loop_run(loop);
	free(body);
	return e;
}

static int hold(const char *ms, const char *dir)
{
	char  path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/held", dir);
	f = fopen(path, "w");
	if (f == NULL)
		return 1;
	fclose(f);
	usleep((useconds_t)atoi(ms) * 1000);
	return unlink(path);
}

int main(int argc, char **argv)
{
	bool                 holds = argc == 4 && strcmp(argv[1], "--hold") == 0;
	struct queue_fault   fault = { .text = "" };
	struct queue_options o = { .state_dir = argv[holds ? 3 : 1],
		                   .map_bytes = 64 << 20,
		                   .allow_volatile = true };
	int                  status = 0;

	if (argc < 2)
		return 2;
	loop = loop_new();
	o.loop = loop;
	if (loop == NULL || queue_open(&o, &q, &fault) != ERR_OK) {
		fprintf(stderr, "queue_fill: %s\n", fault.text);
		return 1;
	}
	if (holds)
		status = hold(argv[2], argv[3]);
	for (int i = 2; !holds && status == 0 && i < argc; i++)
		status = put((unsigned)i, (size_t)atol(argv[i])) != ERR_OK;
	queue_close(q);
	loop_run(loop);
	loop_free(loop);
	return status;
}
