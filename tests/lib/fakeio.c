/* fakeio.c - socket calls for the fake server. */
#include "tests/lib/fakeio.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

int
fakeio_make_pair(int pair[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0
	    ? -errno
	    : 0;
}

int
fakeio_send(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0) {
		ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		at += sent;
		n -= (size_t)sent;
	}
	return 0;
}

void
fakeio_shutdown(int fd)
{
	(void)shutdown(fd, SHUT_WR);
}
