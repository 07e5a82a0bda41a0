/* stream.c - frames on a Unix stream socket. */
#include "tests/bench/lib/stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/frame.h"

#define READ_BYTES (64 << 10)

int
stream_open(struct stream *s, struct bench_client *client)
{
	const char *path = client->plan->socket_path;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*s = (struct stream){ .fd = -1 };
	if (!path || strlen(path) >= sizeof(addr.sun_path))
		return bench_fail(client, "-s must be the path of a socket");
	memcpy(addr.sun_path, path, strlen(path) + 1);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 ||
	    connect(s->fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		(void)bench_fail(client, "%s: %s", path, strerror(errno));
		stream_close(s);
		return -1;
	}
	client->fd = s->fd;
	return 0;
}

void
stream_close(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	buf_fini(&s->out);
	buf_fini(&s->in);
}

int
stream_flush(struct stream *s, struct bench_client *client)
{
	if (buf_failed(&s->out))
		return bench_fail(client, "out of memory");
	while (s->out_at < s->out.n) {
		ssize_t n = send(s->fd, s->out.p + s->out_at,
		    s->out.n - s->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			return bench_fail(client, "send: %s", strerror(errno));
		s->out_at += n > 0 ? (size_t)n : 0;
	}
	client->want_write = s->out_at < s->out.n;
	if (!client->want_write) {
		s->out_at = 0;
		buf_reset(&s->out);
	}
	return 0;
}

int
stream_read(struct stream *s, struct bench_client *client, bool sleep)
{
	uint8_t *to;
	ssize_t n;

	if (s->in_at > 0 && s->in_at < s->in.n)
		memmove(s->in.p, s->in.p + s->in_at, s->in.n - s->in_at);
	buf_cut(&s->in, s->in.n - s->in_at);
	s->in_at = 0;
	to = buf_reserve(&s->in, READ_BYTES);
	if (!to)
		return bench_fail(client, "out of memory");
	n = recv(s->fd, to, READ_BYTES, sleep ? 0 : MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return bench_fail(client, "recv: %s", strerror(errno));
	if (n == 0)
		return bench_fail(client, "the server closed the connection");
	s->in.n += n > 0 ? (size_t)n : 0;
	return 0;
}

int
stream_take(
    struct stream *s, struct bench_client *client, struct span *ret_content)
{
	size_t n;
	int rc;

	if (s->in_at == s->in.n)
		return 0;
	rc = frame_peek(
	    s->in.p + s->in_at, s->in.n - s->in_at, FRAME_HARD_MAX_BYTES, &n);
	if (rc < 0)
		return bench_fail(client, "the server sent no frame");
	if (rc == FRAME_PARTIAL)
		return 0;
	ret_content->p = s->in.p + s->in_at + FRAME_PREFIX_BYTES;
	ret_content->n = n - FRAME_PREFIX_BYTES;
	s->in_at += n;
	return 1;
}

int
stream_wait(struct stream *s, struct bench_client *client)
{
	if (stream_flush(s, client) < 0)
		return -1;
	while (client->want_write) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN | POLLOUT };

		if (poll(&p, 1, -1) > 0 && p.revents & ~POLLOUT)
			return stream_read(s, client, false);
		if (stream_flush(s, client) < 0)
			return -1;
	}
	return stream_read(s, client, true);
}

int
stream_ask(
    struct stream *s, struct bench_client *client, struct span *ret_content)
{
	int rc;

	while ((rc = stream_take(s, client, ret_content)) == 0)
		if (stream_wait(s, client) < 0)
			return -1;
	return rc < 0 ? -1 : 0;
}
