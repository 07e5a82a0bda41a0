/* fakeserver.c - scripted replies over a socketpair. */
#include "tests/lib/fakeserver.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/frame.h"
#include "proto/walk.h"

static void *
run(void *arg)
{
	struct fakeserver *fs = arg;
	sigset_t all;

	/* the test's signals are the test's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	fs->play(fs);
	if (fs->fd >= 0)
		shutdown(fs->fd, SHUT_WR);
	return NULL;
}

void
fakeserver_start(
    struct fakeserver *fs, void (*play)(struct fakeserver *), void *arg)
{
	int pair[2];
	int rc;

	*fs = (struct fakeserver){ .play = play, .arg = arg };
	rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	assert(rc == 0);
	fs->fd = pair[0];
	fs->client_fd = pair[1];
	rc = pthread_create(&fs->thread, NULL, run, fs);
	assert(rc == 0);
	(void)rc;
}

void
fakeserver_stop(struct fakeserver *fs)
{
	pthread_join(fs->thread, NULL);
	if (fs->fd >= 0)
		close(fs->fd);
	buf_fini(&fs->in);
	buf_fini(&fs->out);
}

bool
fake_take(struct fakeserver *fs, struct fake_request *ret)
{
	struct span content, head, body;
	struct msg_fault fault;
	static const size_t step = 65536;
	size_t bytes;
	int rc;

	if (fs->taken > 0)
		memmove(fs->in.p, fs->in.p + fs->taken, fs->in.n - fs->taken);
	fs->in.n -= fs->taken;
	fs->taken = 0;
	for (;;) {
		ssize_t n;

		rc = frame_peek(
		    fs->in.p, fs->in.n, FRAME_HARD_MAX_BYTES, &bytes);
		assert(rc >= 0);
		if (rc == 0)
			break;
		n = read(fs->fd, buf_reserve(&fs->in, step), step);
		if (n <= 0)
			return false;
		fs->in.n += (size_t)n;
	}
	fs->taken = bytes;
	content.p = fs->in.p + FRAME_PREFIX_BYTES;
	content.n = bytes - FRAME_PREFIX_BYTES;
	rc = walk_frame(content, &head, &body);
	assert(rc == 0);
	rc = msg_read_head(head, &ret->head, &fault);
	assert(rc == 0);
	rc = msg_read_ask(body, &ret->ask, &fault);
	assert(rc == 0);
	return true;
}

uint64_t
fake_take_type(struct fakeserver *fs, uint64_t type)
{
	struct fake_request r;

	while (fake_take(fs, &r))
		if (r.head.type == type)
			return r.head.id;
	return 0;
}

void
fake_take_hello(
    struct fakeserver *fs, uint64_t in_flight_n, uint64_t window_bytes)
{
	fake_take_bound_hello(fs, in_flight_n, INT64_MAX, window_bytes);
}

void
fake_take_bound_hello(struct fakeserver *fs, uint64_t in_flight_n,
    uint64_t in_flight_bytes, uint64_t window_bytes)
{
	uint64_t id = fake_take_type(fs, TYPE_HELLO);

	fake_begin(fs, TYPE_OK, id);
	msg_put_uint(&fs->m, TELL_version, MSG_VERSION);
	msg_put_str(&fs->m, TELL_server, "sqlpoold 9.9");
	msg_put_str(&fs->m, TELL_sqlite, "3.40.1");
	msg_put_str(&fs->m, TELL_database, "app");
	msg_put_uint(&fs->m, TELL_max_frame, FRAME_DEFAULT_MAX_BYTES);
	msg_put_uint(&fs->m, TELL_window_bytes, window_bytes);
	msg_put_uint(&fs->m, TELL_in_flight_n, in_flight_n);
	msg_put_uint(&fs->m, TELL_in_flight_bytes, in_flight_bytes);
	msg_put_uint(&fs->m, TELL_epoch, 77);
	fake_end(fs);
	fake_send(fs);
}

void
fake_begin(struct fakeserver *fs, enum msg_type type, uint64_t id)
{
	msg_begin_body(&fs->m, &fs->out, type, id, 0);
}

void
fake_end(struct fakeserver *fs)
{
	int rc = msg_end(&fs->m, FRAME_HARD_MAX_BYTES);

	assert(rc == 0);
	(void)rc;
}

void
fake_send(struct fakeserver *fs)
{
	fake_send_cut(fs, fs->out.n);
}

void
fake_send_cut(struct fakeserver *fs, size_t n)
{
	const uint8_t *at = fs->out.p;

	/* a client that has gone away is the test's own business */
	while (n > 0) {
		ssize_t sent = send(fs->fd, at, n, MSG_NOSIGNAL);

		if (sent <= 0)
			break;
		at += sent;
		n -= (size_t)sent;
	}
	buf_reset(&fs->out);
}

void
fake_ok(struct fakeserver *fs, uint64_t id)
{
	fake_begin(fs, TYPE_OK, id);
	fake_end(fs);
}

void
fake_done(struct fakeserver *fs, uint64_t id)
{
	fake_begin(fs, TYPE_DONE, id);
	msg_put_int(&fs->m, TELL_changes, 1);
	msg_put_int(&fs->m, TELL_rowid, 42);
	msg_put_uint(&fs->m, TELL_seq, 7);
	fake_end(fs);
}

void
fake_error(struct fakeserver *fs, uint64_t id, int code, const char *message)
{
	fake_begin(fs, TYPE_ERROR, id);
	msg_put_uint(&fs->m, TELL_code, (uint64_t)code);
	msg_put_str(&fs->m, TELL_message, message);
	fake_end(fs);
}

void
fake_ints(struct fakeserver *fs, enum msg_type type, uint64_t id, bool first,
    uint32_t n)
{
	fake_begin(fs, type, id);
	if (first) {
		msg_key(&fs->m, TELL_columns);
		value_put_array(fs->m.b, 1);
		value_put_str(fs->m.b, "x", 1);
	}
	msg_key(&fs->m, TELL_rows);
	value_put_array(fs->m.b, n);
	for (uint32_t i = 0; i < n; i++) {
		value_put_array(fs->m.b, 1);
		value_put_int(fs->m.b, i);
	}
	fake_end(fs);
}
