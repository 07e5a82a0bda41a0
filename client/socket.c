/* socket.c - the system calls on the connection's socket. */
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
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
/* A page that is zero again in a child: madvise(2), MADV_WIPEONFORK.  It holds the
 * process's id.  NULL: there is none. */
static _Atomic pid_t *pid_page;
static pthread_once_t pid_once = PTHREAD_ONCE_INIT;

static void
make_pid_page(void)
{
	size_t n = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, n, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (madvise(page, n, MADV_WIPEONFORK) == 0)
		pid_page = page;
	else
		munmap(page, n);
}

pid_t
socket_get_pid(void)
{
	pid_t pid;

	pthread_once(&pid_once, make_pid_page);
	if (!pid_page)
		return getpid();
	pid = atomic_load_explicit(pid_page, memory_order_relaxed);
	if (pid == 0) {
		pid = getpid();
		atomic_store_explicit(pid_page, pid, memory_order_relaxed);
	}
	return pid;
}

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
