/* fixture.c - the inside of the daemon, held by a test. */
#include "tests/lib/fixture.h"

#include <check.h>
#include <dirent.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "daemon/steps.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/walk.h"
#include "tests/lib/msgjson.h"
#include "tests/lib/proc.h"

/* Nothing that a test waits for takes as long; under a sanitizer that is more. */
#define WAIT_US (20000000 * proc_get_slowness())
/* As if a client had taken so much already: no result gets that far ahead. */
#define SENT_ALL (UINT64_C(1) << 40)

/* Check notes every ck_assert in a file, for which this is too busy a place. */
#define REQUIRE_MSG(cond, ...)                     \
	do {                                       \
		if (!(cond))                       \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)
#define REQUIRE(cond) REQUIRE_MSG(cond, "%s", #cond)

/* --- Text ------------------------------------------------------------------ */

static const char *
keep(struct fixture *fx, char *text)
{
	REQUIRE(text != NULL);
	fx->texts = realloc(fx->texts, (fx->texts_n + 1) * sizeof(char *));
	REQUIRE(fx->texts != NULL);
	fx->texts[fx->texts_n++] = text;
	return text;
}

const char *
fixture_format(struct fixture *fx, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, fmt);
	REQUIRE(vasprintf(&text, fmt, args) >= 0);
	va_end(args);
	return keep(fx, text);
}

/* A unit test outlives no power failure: SQLite's syncs, of which there would
 * be thousands, end here.  (tests/proc has programs that keep theirs.) */
__attribute__((visibility("default"))) int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

__attribute__((visibility("default"))) int
fsync(int fd)
{
	(void)fd;
	return 0;
}

/* --- The file -------------------------------------------------------------- */

static void
make_dir(struct fixture *fx)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(fx->dir, sizeof(fx->dir), "%s/fx-XXXXXX", tmp ? tmp : "/tmp");
	REQUIRE(mkdtemp(fx->dir) != NULL);
	snprintf(fx->path, sizeof(fx->path), "%s/app.db", fx->dir);
}

static void
remove_dir(struct fixture *fx)
{
	DIR *dir = opendir(fx->dir);
	const struct dirent *each;

	while (dir && (each = readdir(dir)))
		if (each->d_name[0] != '.')
			unlinkat(dirfd(dir), each->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(fx->dir);
}

static int
add_row(void *arg, int n, char **values, char **names)
{
	struct buf *b = arg;

	(void)names;
	for (int i = 0; i < n; i++) {
		const char *v = values[i] ? values[i] : "NULL";

		buf_put(b, "|", i > 0);
		buf_put(b, v, strlen(v));
	}
	buf_put(b, "\n", 1);
	return 0;
}

static const char *
run_sql(struct fixture *fx, const char *vfs, const char *sql)
{
	sqlite3 *db = NULL;
	char *err = NULL;
	struct buf b;
	int rc = sqlite3_open_v2(
	    fx->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);

	REQUIRE(rc == SQLITE_OK);
	buf_init(&b);
	rc = sqlite3_exec(db, sql, add_row, &b, &err);
	REQUIRE_MSG(rc == SQLITE_OK, "%s: %s", sql, err ? err : "?");
	REQUIRE(sqlite3_close(db) == SQLITE_OK);
	buf_put(&b, "", 1);
	return keep(fx, (char *)b.p);
}

const char *
fixture_query(struct fixture *fx, const char *sql)
{
	bool shared = fx->conf->dbs[0].access == CONF_ACCESS_SHARED;

	return run_sql(fx, shared ? "unix" : "unix-excl", sql);
}

/* --- Begin and end --------------------------------------------------------- */

static void
set_up_library(void)
{
	static bool done;

	if (!done)
		REQUIRE(dbconn_setup_library() == 0);
	done = true;
	stats_attach();
	log_set_level(CONF_LOG_ERROR);
}

static void
set_options(struct conf *conf, const char *options)
{
	char copy[512], err[CONF_ERR_MAX];
	char *rest = NULL;

	snprintf(copy, sizeof(copy), "%s", options ? options : "");
	for (char *word = strtok_r(copy, " ", &rest); word;
	     word = strtok_r(NULL, " ", &rest)) {
		char *value = strchr(word, '=');

		REQUIRE(value != NULL);
		*value = '\0';
		REQUIRE_MSG(
		    conf_set(conf, word, value + 1, err) == 0, "%s", err);
	}
}

void
fixture_init(struct fixture *fx, const char *options, const char *schema)
{
	char err[CONF_ERR_MAX], spec[200];

	*fx = (struct fixture){
		.owner = { .pid = 4711, .uid = 1234, .app = "the test" },
	};
	set_up_library();
	make_dir(fx);
	fx->conf = conf_new();
	REQUIRE(fx->conf != NULL);
	/* however slow the machine is, a group ends for want of members */
	set_options(fx->conf,
	    "writer_threads=1 reader_threads=1 keeper_threads=1 synchronous=normal"
	    " group_time=10s");
	set_options(fx->conf, options);
	snprintf(spec, sizeof(spec), "app=%s", fx->path);
	REQUIRE_MSG(conf_add_db(fx->conf, spec, err) == 0, "%s", err);
	fx->vars = vars_new();
	REQUIRE(fx->vars != NULL);
	REQUIRE(mailbox_open(&fx->mailbox) == 0);
	for (int i = 0; i < 3; i++) {
		sem_init(&fx->gates[i].entered, 0, 0);
		sem_init(&fx->gates[i].leave, 0, 0);
	}
	if (schema)
		run_sql(fx, "unix",
		    fixture_format(fx,
			"PRAGMA synchronous=OFF; BEGIN; %s; COMMIT", schema));
}

static void
run_gate(struct squeue *q)
{
	struct fixture_gate *g = (struct fixture_gate *)q;

	sem_post(&g->entered);
	while (sem_wait(&g->leave) < 0)
		continue;
}

const char *
fixture_start(struct fixture *fx)
{
	const char *text = NULL;
	struct failure f;
	int rc;

	failure_init(&f);
	rc = dbs_open(fx->conf, &fx->dbs, &f);
	if (rc == 0) {
		rc = dbs_find(&fx->dbs,
		    (struct span){ (const uint8_t *)"app", 3 }, &fx->db, &f);
		REQUIRE(rc == 0);
		squeue_init(&fx->gates[0].q, fx->dbs.writers, run_gate);
		squeue_init(&fx->gates[1].q, fx->dbs.readers, run_gate);
		squeue_init(&fx->gates[2].q, fx->dbs.keepers, run_gate);
		rc = dbconn_open(fx->db->conf, DBCONN_HOT, &fx->hot, &f);
	}
	if (rc < 0)
		text = fixture_format(
		    fx, "%s", f.text ? f.text : error_get_name(f.code));
	failure_fini(&f);
	return text;
}

void
fixture_open(struct fixture *fx, const char *options, const char *schema)
{
	const char *why;

	fixture_init(fx, options, schema);
	why = fixture_start(fx);
	REQUIRE_MSG(!why, "%s", why);
}

void
fixture_stop(struct fixture *fx)
{
	dbs_stop(&fx->dbs);
}

void
fixture_close(struct fixture *fx)
{
	if (fx->db) {
		fixture_stop(fx);
		dbconn_close(fx->hot);
		dbs_close(&fx->dbs);
	}
	mailbox_close(&fx->mailbox);
	vars_unref(fx->vars);
	conf_free(fx->conf);
	for (int i = 0; i < 3; i++) {
		sem_destroy(&fx->gates[i].entered);
		sem_destroy(&fx->gates[i].leave);
	}
	for (size_t i = 0; i < fx->texts_n; i++)
		free(fx->texts[i]);
	free(fx->texts);
	remove_dir(fx);
}

/* --- Requests -------------------------------------------------------------- */

/* What collect.c takes from a frame. */
static void
fill_in(struct fixture *fx, struct request *r, const struct msg_head *head)
{
	r->home = &fx->mailbox;
	r->type = (enum msg_type)head->type;
	r->id = head->id;
	r->stream = head->stream;
	r->db = fx->db;
	r->sql = r->ask.sql;
	r->params = r->ask.params;
	r->max_rows = r->ask.max_rows;
	r->commit = r->ask.commit;
	r->max_frame_bytes = FRAME_DEFAULT_MAX_BYTES;
	r->arrived_us = clock_now_us();
	r->vars = vars_ref(fx->vars);
	r->place = &fx->place;
	r->owner = &fx->owner;
	atomic_store(&r->sent, SENT_ALL);
}

static struct span
find_no_statement(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	return (struct span){ NULL, 0 };
}

struct request *
fixture_ask(struct fixture *fx, json_t *form)
{
	struct request *r = request_new();
	struct span head_map, body_map;
	struct msg_fault fault;
	struct msg_head head;
	struct buf b;

	REQUIRE(r != NULL);
	REQUIRE(form != NULL);
	buf_init(&b);
	msgjson_encode(form, false, &b);
	json_decref(form);
	r->frame = b.p;
	r->bytes_n = b.n - FRAME_PREFIX_BYTES;
	r->content = (struct span){ b.p + FRAME_PREFIX_BYTES, r->bytes_n };
	REQUIRE(walk_frame(r->content, &head_map, &body_map) == 0);
	REQUIRE(msg_read_head(head_map, &head, &fault) == 0);
	REQUIRE(msg_read_ask(body_map, &r->ask, &fault) == 0);
	fill_in(fx, r, &head);
	r->atomic = !MSG_HAS(&r->ask, ASK_atomic) || r->ask.atomic;
	if (r->type == TYPE_BATCH)
		REQUIRE(steps_read(r, find_no_statement, NULL) == 0);
	REQUIRE(request_own(r) == 0);
	return r;
}

static json_t *
parse(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	REQUIRE_MSG(j != NULL, "%s is no JSON", text);
	return j;
}

static json_t *
make_form(struct fixture *fx, const char *type, json_t *body)
{
	return json_pack("{s:{s:s, s:I}, s:o}", "head", "type", type, "id",
	    (json_int_t)++fx->last_id, "body", body);
}

static enum msg_kind
find_kind(struct fixture *fx, struct span sql)
{
	enum msg_kind kind = KIND_WRITE;
	struct stmt *st = NULL;
	struct failure f;

	failure_init(&f);
	if (fx->hot && stmt_prepare(fx->hot, sql, &st, &f) == 0)
		kind = stmt_get_kind(st);
	failure_fini(&f);
	return kind;
}

struct request *
fixture_exec(struct fixture *fx, const char *sql, const char *params)
{
	json_t *body = json_pack("{s:s}", "sql", sql);
	struct request *r;

	if (params)
		json_object_set_new(body, "params", parse(params));
	r = fixture_ask(fx, make_form(fx, "EXEC", body));
	r->kind = find_kind(fx, r->sql);
	return r;
}

struct request *
fixture_batch(struct fixture *fx, const struct fixture_step *steps)
{
	json_t *list = json_array();

	for (; steps->sql; steps++) {
		json_t *step = json_pack("{s:s}", "sql", steps->sql);

		if (steps->params)
			json_object_set_new(
			    step, "params", parse(steps->params));
		if (steps->cond)
			json_object_set_new(step, "cond", parse(steps->cond));
		json_array_append_new(list, step);
	}
	return fixture_ask(
	    fx, make_form(fx, "BATCH", json_pack("{s:o}", "steps", list)));
}

struct request *
fixture_script(struct fixture *fx, const char *sql, bool atomic)
{
	return fixture_ask(fx,
	    make_form(fx, "SCRIPT",
		json_pack("{s:s, s:b}", "sql", sql, "atomic", atomic)));
}

struct request *
fixture_end(struct fixture *fx, bool commit)
{
	return fixture_ask(
	    fx, make_form(fx, "TX_END", json_pack("{s:b}", "commit", commit)));
}

struct request *
fixture_in(struct tx *tx, struct request *r)
{
	r->tx = tx_ref(tx);
	return r;
}

struct tx *
fixture_begin(struct fixture *fx, enum msg_tx_mode mode)
{
	struct tx *tx = tx_new(mode, &fx->owner);

	REQUIRE(tx != NULL);
	return tx;
}

struct request *
fixture_write(struct fixture *fx, struct request *r)
{
	REQUIRE(writer_submit(fx->db->writer, r) == 0);
	return r;
}

struct request *
fixture_read(struct fixture *fx, struct request *r)
{
	REQUIRE(readers_submit(fx->db->readers, r) == 0);
	return r;
}

/* --- Coming home ----------------------------------------------------------- */

/* Wait for mail, and take it: the requests know what is theirs. */
static void
take_mail(struct fixture *fx, int64_t end_us)
{
	struct pollfd p = { .fd = fx->mailbox.fd, .events = POLLIN };
	int64_t left_ms = (end_us - clock_now_us()) / 1000;

	REQUIRE_MSG(left_ms > 0, "nothing came home in %lld s",
	    (long long)WAIT_US / 1000000);
	if (mailbox_sleep(&fx->mailbox) && poll(&p, 1, (int)left_ms) == 1)
		mailbox_hear(&fx->mailbox);
	mailbox_awake(&fx->mailbox);
	mailbox_take(&fx->mailbox);
}

void
fixture_wait(struct fixture *fx, struct request *r)
{
	int64_t end_us = clock_now_us() + WAIT_US;

	while (!r->home_again)
		take_mail(fx, end_us);
}

static size_t
count_bytes(const struct request *r)
{
	size_t n = 0;

	for (const struct piece *p = r->unsent; p; p = p->next)
		n += p->bytes.n;
	return n;
}

size_t
fixture_wait_bytes(struct fixture *fx, struct request *r, size_t n)
{
	int64_t end_us = clock_now_us() + WAIT_US;

	while (count_bytes(r) < n && !r->home_again)
		take_mail(fx, end_us);
	return count_bytes(r);
}

static void
kick_runner(struct request *r)
{
	struct squeue *runner = atomic_load(&r->runner);

	if (runner)
		squeue_kick(runner);
}

void
fixture_fetch(struct request *r, uint64_t bytes)
{
	atomic_fetch_add(&r->sent, bytes);
	kick_runner(r);
}

void
fixture_cancel(struct fixture *fx, struct request *r, int code)
{
	request_stop(r, code);
	kick_runner(r);
	db_reap(fx->db);
}

struct request *
fixture_reroute(struct request *r)
{
	r->home_again = r->final = false;
	r->reroute = REROUTE_NOT;
	r->rerouted = true;
	atomic_store(&r->runner, NULL);
	return r;
}

/* --- Replies as text ------------------------------------------------------- */

static bool
is_left_out(const char *name, json_t *v)
{
	static const char *const names[] = { "seq", "queue_us", "exec_us",
		"code", "class", "epoch" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return strcmp(name, "outcome") == 0 && json_integer_value(v) == 0;
}

static void put_fields(struct buf *b, json_t *fields, const char *between);

static void
put_json(struct buf *b, const char *name, json_t *v)
{
	char *text;

	if (strcmp(name, "steps") == 0 && json_is_array(v)) {
		buf_put(b, "[", 1);
		for (size_t i = 0; i < json_array_size(v); i++) {
			buf_put(b, "; ", i ? 2 : 0);
			put_json(b, "step", json_array_get(v, i));
		}
		buf_put(b, "]", 1);
		return;
	}
	if (json_is_object(v) &&
	    (strcmp(name, "step") == 0 || strcmp(name, "error") == 0)) {
		put_fields(b, v, name[0] == 'e' ? "{" : "");
		buf_put(b, "}", name[0] == 'e');
		return;
	}
	text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	if (json_is_string(v) && strcmp(name, "name") == 0)
		buf_put(b, json_string_value(v), json_string_length(v));
	else
		buf_put(b, text, strlen(text));
	free(text);
}

static void
put_fields(struct buf *b, json_t *fields, const char *between)
{
	for (void *it = json_object_iter(fields); it;
	     it = json_object_iter_next(fields, it)) {
		const char *name = json_object_iter_key(it);
		json_t *v = json_object_iter_value(it);

		if (is_left_out(name, v))
			continue;
		buf_put(b, between, strlen(between));
		buf_put(b, name, strlen(name));
		buf_put(b, "=", 1);
		put_json(b, name, v);
		between = " ";
	}
}

/* Append the frames' text.  Tests are easier to read with single quotes. */
static void
put_frames(struct buf *b, const uint8_t *p, size_t n)
{
	size_t begin = b->n;

	while (n > 0) {
		struct msg_fault fault;
		json_t *form = NULL;
		const char *type;
		size_t bytes;
		int rc = msgjson_decode(
		    (struct span){ p, n }, true, &form, &fault);

		REQUIRE(rc == 0);
		REQUIRE(frame_peek(p, n, FRAME_HARD_MAX_BYTES, &bytes) == 0);
		type = json_string_value(
		    json_object_get(json_object_get(form, "head"), "type"));
		buf_put(b, "\n", b->n > 0);
		buf_put(b, type, strlen(type));
		put_fields(b, json_object_get(form, "body"), " ");
		json_decref(form);
		p += bytes;
		n -= bytes;
	}
	for (size_t i = begin; i < b->n; i++)
		if (b->p[i] == '"')
			b->p[i] = '\'';
}

static const char *
keep_buf(struct fixture *fx, struct buf *b)
{
	buf_put(b, "", 1);
	REQUIRE(!buf_failed(b));
	return keep(fx, (char *)b->p);
}

const char *
fixture_say(struct fixture *fx, const uint8_t *p, size_t n)
{
	struct buf b;

	buf_init(&b);
	put_frames(&b, p, n);
	return keep_buf(fx, &b);
}

const char *
fixture_take(struct fixture *fx, struct request *r)
{
	struct buf b;

	fixture_wait(fx, r);
	buf_init(&b);
	for (const struct piece *p = r->unsent; p; p = p->next)
		put_frames(&b, p->bytes.p, p->bytes.n);
	request_free(r);
	return keep_buf(fx, &b);
}

/* --- Threads --------------------------------------------------------------- */

static void
enter(struct fixture_gate *g)
{
	squeue_kick(&g->q);
	while (sem_wait(&g->entered) < 0)
		continue;
}

void
fixture_hold(struct fixture *fx)
{
	enter(&fx->gates[0]);
}

void
fixture_release(struct fixture *fx)
{
	sem_post(&fx->gates[0].leave);
}

void
fixture_hold_readers(struct fixture *fx)
{
	enter(&fx->gates[1]);
}

void
fixture_release_readers(struct fixture *fx)
{
	sem_post(&fx->gates[1].leave);
}

void
fixture_settle(struct fixture *fx)
{
	/* a queue that ran may have kicked itself, or one of another crew */
	for (int i = 0; i < 12; i++) {
		enter(&fx->gates[i % 3]);
		sem_post(&fx->gates[i % 3].leave);
	}
}

int
fixture_run(Suite *suite)
{
	SRunner *sr = srunner_create(suite);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
