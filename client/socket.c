/* socket.c - the system calls on the connection's socket. */
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int64_t
socket_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* A Unix socket connects at once or, when the listener's queue is full, fails
 * with EAGAIN: unix(7), connect(2). */
int
socket_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return -errno;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	do {
		rc = connect(
		    fd, (const struct sockaddr *)&address, sizeof(address));
	} while (rc < 0 && errno == EINTR);
	if (rc < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

void
socket_end(int fd)
{
	(void)shutdown(fd, SHUT_RDWR);
}

void
socket_adopt(int fd)
{
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

ssize_t
socket_send(int fd, const void *p, size_t n)
{
	ssize_t rc;

	do {
		rc = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

ssize_t
socket_recv(int fd, struct iovec *iov, size_t n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t rc;

	do {
		rc = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

short
socket_get_events(bool write)
{
	return write ? POLLIN | POLLOUT : POLLIN;
}

int
socket_wait(int fd, bool write, int64_t deadline_us)
{
	struct pollfd p = { .fd = fd, .events = socket_get_events(write) };
	int64_t left_us = deadline_us - socket_now_us();
	int64_t left_ms = left_us <= 0 ? 0 : (left_us + 999) / 1000;
	int n;

	n = poll(&p, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}
