/* echo_server.c - answer frames, and do nothing else: the floor under every
 * server on this kind of socket.
 *
 *	echo_server -s SOCKET [-w LOOPS | -b]
 *
 * -w: threads, each with an epoll loop that reads what a socket has, answers all
 * whole frames in it with one write, and sleeps in epoll_wait when there is
 * nothing to do: no polling before sleep.  -b: a thread for each connection,
 * which sleeps in read.  It writes a line when it listens, and ends by a signal
 * (servers.py).
 *
 * Thread: a connection belongs to one thread for life; the main thread
 * accepts. */
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/buf.h"
#include "proto/frame.h"
#include "tests/bench/lib/echo.h"

#define LOOPS_MAX   64
#define EVENTS_N    64
#define READ_BYTES  (64 << 10)
#define BACKLOG_N   1024
#define STACK_BYTES ((size_t)256 << 10) /* of a thread; -b has many */

struct conn {
	int fd;
	int loop; /* epoll's descriptor; -1: blocking */
	struct buf in;
	struct buf out;
	size_t out_at; /* bytes of out that are written */
};

/* Answer the whole frames that have arrived.  false: they are not frames. */
static bool
answer(struct conn *c)
{
	uint8_t prefix[FRAME_PREFIX_BYTES];
	size_t at = 0, n;
	uint32_t reply_n;
	int rc;

	while ((rc = frame_peek(
		    c->in.p + at, c->in.n - at, ECHO_MAX_BYTES, &n)) == 0) {
		const uint8_t *p = c->in.p + at + FRAME_PREFIX_BYTES;
		uint8_t *to;

		if (n < FRAME_PREFIX_BYTES + ECHO_REQUEST_LEAST_BYTES)
			return false;
		memcpy(&reply_n, p + 4, 4);
		reply_n = be32toh(reply_n);
		if (reply_n < ECHO_REPLY_LEAST_BYTES ||
		    reply_n > ECHO_MAX_BYTES)
			return false;
		frame_put_prefix(prefix, reply_n);
		buf_put(&c->out, prefix, sizeof(prefix));
		to = buf_reserve(&c->out, reply_n);
		if (!to)
			return false;
		memcpy(to, p, 4);
		memset(to + 4, ECHO_FILLER, reply_n - 4);
		c->out.n += reply_n;
		at += n;
	}
	if (at > 0 && at < c->in.n)
		memmove(c->in.p, c->in.p + at, c->in.n - at);
	buf_cut(&c->in, c->in.n - at);
	return rc == FRAME_PARTIAL;
}

/* Write what is there.  false: the peer is gone. */
static bool
send_out(struct conn *c)
{
	while (c->out_at < c->out.n) {
		ssize_t n = send(c->fd, c->out.p + c->out_at,
		    c->out.n - c->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
		c->out_at += n > 0 ? (size_t)n : 0;
	}
	c->out_at = 0;
	buf_reset(&c->out);
	return true;
}

/* Read once, and answer.  false: the peer is gone, or sends nonsense. */
static bool
take(struct conn *c)
{
	uint8_t *to = buf_reserve(&c->in, READ_BYTES);
	ssize_t n;

	if (!to)
		return false;
	n = read(c->fd, to, READ_BYTES);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	c->in.n += (size_t)n;
	return answer(c) && send_out(c);
}

static void
conn_free(struct conn *c)
{
	close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

/* A client that does not take its answers is not read until it does. */
static void
turn(struct conn *c)
{
	bool waited = c->out.n > 0, alive, waits;
	struct epoll_event e = { .data.ptr = c };

	alive = waited ? send_out(c) : take(c);
	waits = c->out.n > 0;
	if (!alive) {
		conn_free(c);
	} else if (waits != waited) {
		e.events = waits ? EPOLLOUT : EPOLLIN;
		if (epoll_ctl(c->loop, EPOLL_CTL_MOD, c->fd, &e) < 0)
			err(1, "epoll_ctl");
	}
}

__attribute__((noreturn)) static void *
run_loop(void *arg)
{
	int loop = *(const int *)arg;

	for (;;) {
		struct epoll_event events[EVENTS_N];
		int n = epoll_wait(loop, events, EVENTS_N, -1);

		if (n < 0 && errno != EINTR)
			err(1, "epoll_wait");
		for (int i = 0; i < n; i++)
			turn(events[i].data.ptr);
	}
}

static void *
run_blocking(void *arg)
{
	struct conn *c = arg;

	bool alive;

	do
		alive = take(c);
	while (alive);
	conn_free(c);
	return NULL;
}

static void
start_thread(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	if (rc != 0) {
		errno = rc;
		err(1, "a thread");
	}
}

static int
listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		errx(1, "%s: the path is too long for a socket", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, BACKLOG_N) < 0)
		err(1, "%s", path);
	return fd;
}

/* Take a connection, for this loop, or for a thread of its own when -1. */
static void
accept_one(int listener, int loop)
{
	int fd = accept4(listener, NULL, NULL,
	    SOCK_CLOEXEC | (loop >= 0 ? SOCK_NONBLOCK : 0));
	struct conn *c;
	struct epoll_event e = { .events = EPOLLIN };

	if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
		return;
	if (fd < 0)
		err(1, "accept");
	c = calloc(1, sizeof(*c));
	if (!c)
		err(1, "memory for a connection");
	c->fd = fd;
	c->loop = loop;
	e.data.ptr = c;
	if (loop < 0)
		start_thread(run_blocking, c);
	else if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e) < 0)
		err(1, "epoll_ctl");
}

__attribute__((noreturn)) static void
serve(int listener, unsigned loops_n)
{
	static int loops[LOOPS_MAX]; /* for the threads' life */
	unsigned next = 0;

	for (unsigned i = 0; i < loops_n; i++) {
		loops[i] = epoll_create1(EPOLL_CLOEXEC);
		if (loops[i] < 0)
			err(1, "epoll_create1");
		start_thread(run_loop, &loops[i]);
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		accept_one(listener, loops_n ? loops[next++ % loops_n] : -1);
}

__attribute__((noreturn)) static void
usage(void)
{
	errx(2, "usage: echo_server -s SOCKET [-w LOOPS | -b]");
}

int
main(int argc, char **argv)
{
	const char *path = NULL;
	unsigned long loops_n = 1;
	int opt;

	while ((opt = getopt(argc, argv, "s:w:b")) != -1) {
		switch (opt) {
		case 's':
			path = optarg;
			break;
		case 'w':
			loops_n = strtoul(optarg, NULL, 10);
			if (loops_n < 1 || loops_n > LOOPS_MAX)
				errx(2, "-w: 1 to %d loops", LOOPS_MAX);
			break;
		case 'b':
			loops_n = 0;
			break;
		default:
			usage();
		}
	}
	if (!path || optind != argc)
		usage();
	serve(listen_at(path), (unsigned)loops_n);
}
